import { retryDelay } from '../backoff.ts'
import { DowellChatError } from '../error.ts'
import type { ConnectionState } from './events.ts'
import { isOffline, onOnline } from './online.ts'

/** Clients reconnect within this after the server ends a stream (ms), spread so that they do not come all at once. */
const RECONNECT_JITTER_MS = 1_000

/** Waits between the attempts of one task, longer after each failure. */
export class RetryPolicy {
  readonly #onState: (state: ConnectionState) => void
  readonly #signal: AbortSignal
  #failures = 0

  constructor(onState: (state: ConnectionState) => void, signal: AbortSignal) {
    this.#onState = onState
    this.#signal = signal
  }

  /** Restarts the count of failures, after a success. */
  reset(): void {
    this.#failures = 0
  }

  /**
   * Waits until the next attempt is due or the browser comes online.
   *
   * @param error failure of the last attempt; undefined if the server ended it normally
   * @throws the error itself if a retry cannot succeed; the signal's reason if it aborts
   */
  async wait(error?: unknown): Promise<void> {
    this.#signal.throwIfAborted()
    if (error !== undefined && !(error instanceof DowellChatError && error.isPassing)) throw error
    const delay =
      error === undefined
        ? Math.random() * RECONNECT_JITTER_MS
        : retryDelay(++this.#failures, (error as DowellChatError).retryAfter)
    const retryAt = new Date(Date.now() + delay)
    if (error !== undefined) this.#onState({ status: isOffline() ? 'offline' : 'waiting', retryAt })
    // The callback may have closed the feed.
    this.#signal.throwIfAborted()
    await this.#sleep(delay)
    this.#signal.throwIfAborted()
  }

  #sleep(delay: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        removeListener()
        this.#signal.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, delay)
      const removeListener = onOnline(wake)
      this.#signal.addEventListener('abort', wake)
    })
  }
}
