/** The browser features that tabs coordinate with. */
export interface Browser {
  readonly locks: Locks
  openChannel(name: string): Channel
  /** True while this tab is in the foreground. */
  isVisible(): boolean
}

/** Subset of the Web Locks API. */
interface Locks {
  request<T>(name: string, options: { signal: AbortSignal }, hold: () => T): Promise<unknown>
}

/** Subset of BroadcastChannel. */
interface Channel {
  onmessage: ((message: { data: unknown }) => void) | null
  postMessage(message: unknown): void
  close(): void
}

/** Returns the current browser; undefined outside of one, and on pages without locks (neither HTTPS nor localhost). */
export function detectBrowser(): Browser | undefined {
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
