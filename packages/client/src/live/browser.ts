/** What the tabs of a browser share. */
export interface Browser {
  readonly locks: Locks
  openChannel(name: string): Channel
  /** Whether somebody looks at this tab. */
  isVisible(): boolean
}

/** The part of the Web Locks API that is needed here. */
interface Locks {
  request<T>(name: string, options: { signal: AbortSignal }, hold: () => T): Promise<unknown>
}

/** The part of BroadcastChannel that is needed here. */
interface Channel {
  onmessage: ((message: { data: unknown }) => void) | null
  postMessage(message: unknown): void
  close(): void
}

/** The browser that this runs in, if it has tabs and they can share. Pages have locks over https and on localhost only. */
export function thisBrowser(): Browser | undefined {
  const { document } = globalThis as { document?: { readonly visibilityState: string } }
  if (!document || typeof BroadcastChannel !== 'function') return undefined
  const { locks } = navigator as { locks?: Locks }
  return (
    locks && {
      locks,
      openChannel: (name) => new BroadcastChannel(name) as unknown as Channel,
      isVisible: () => document.visibilityState === 'visible',
    }
  )
}
