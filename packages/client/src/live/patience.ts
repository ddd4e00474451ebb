import { retryDelay } from '../backoff.ts'
import { DowellChatError } from '../error.ts'
import type { ConnectionState } from './events.ts'

/** A server that ended a stream in good order is asked again within this, in milliseconds: not by everybody at once. */
const JITTER = 1_000

/** Waits between the tries of one thing, longer after each failure. */
export class Patience {
  readonly #tell: (state: ConnectionState) => void
  readonly #signal: AbortSignal
  #failures = 0

  constructor(tell: (state: ConnectionState) => void, signal: AbortSignal) {
    this.#tell = tell
    this.#signal = signal
  }

  /** It worked. */
  succeeded(): void {
    this.#failures = 0
  }

  /**
   * Waits until it is time to try again, or the browser comes online.
   *
   * @param error why the last try failed; undefined when the server ended it in good order
   * @throws the error itself, when trying again is no use; the reason of the signal
   */
  async wait(error?: unknown): Promise<void> {
    this.#signal.throwIfAborted()
    if (error !== undefined && !(error instanceof DowellChatError && error.isPassing)) throw error
    const delay =
      error === undefined
        ? Math.random() * JITTER
        : retryDelay(++this.#failures, (error as DowellChatError).retryAfter)
    const retryAt = new Date(Date.now() + delay)
    if (error !== undefined) this.#tell({ status: isOffline() ? 'offline' : 'waiting', retryAt })
    // Whoever was told may have had enough.
    this.#signal.throwIfAborted()
    await this.#pause(delay)
    this.#signal.throwIfAborted()
  }

  #pause(delay: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        stopListening()
        this.#signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, delay)
      const stopListening = whenOnline(done)
      this.#signal.addEventListener('abort', done)
    })
  }
}

function isOffline(): boolean {
  return 'navigator' in globalThis && 'onLine' in navigator && navigator.onLine === false
}

/** Calls back when the browser comes online; never where there is no browser. @returns how to stop listening */
export function whenOnline(listener: () => void): () => void {
  const target = globalThis as Partial<
    Pick<EventTarget, 'addEventListener' | 'removeEventListener'>
  >
  target.addEventListener?.('online', listener)
  return () => target.removeEventListener?.('online', listener)
}
