import type { ConnectionState, LiveEvent, Place, ResetEvent } from './events.ts'
import type { FeedManager, Reader } from './feedManager.ts'
import { advance, type LogUpdate } from './logUpdate.ts'
import { RetryPolicy } from './retryPolicy.ts'
import type { Target } from './streamRequest.ts'

/** Start of a subscription. */
export interface FeedStart<Event> {
  readonly target: Target
  /** Starts after this place; undefined: now. */
  readonly place?: Place | undefined
  /** First event of the feed. */
  readonly event?: Event
}

/** Defines how a kind of feed starts. */
export interface FeedSource<Event> {
  /** @param place place to start after; undefined: now */
  readonly start: (signal: AbortSignal, place: Place | undefined) => Promise<FeedStart<Event>>
  /** Returns the event for a reset; undefined: the feed starts again. */
  readonly onReset: (event: ResetEvent) => Event | undefined
}

export interface FeedHandlers<Event> {
  readonly onEvent: (event: Event | LiveEvent) => void
  readonly onState: (state: ConnectionState) => void
  readonly onError: (error: unknown) => void
}

/** One reader of a feed. Delivers each stored event once and in order. */
export class Subscription<Event> implements Reader {
  /** Set before the manager knows this reader. */
  target!: Target
  /** Everything up to here was delivered. */
  place: Place | undefined
  isNew = true
  readonly #manager: FeedManager
  readonly #source: FeedSource<Event>
  readonly #handlers: FeedHandlers<Event>
  readonly #closing = new AbortController()
  readonly #retries: RetryPolicy
  #isStarting = false
  #isPaused = false
  #hasRequestedMissing = false
  #state = JSON.stringify({ status: 'connecting' })

  constructor(
    manager: FeedManager,
    source: FeedSource<Event>,
    handlers: FeedHandlers<Event>,
    after: Place | undefined,
  ) {
    this.#manager = manager
    this.#source = source
    this.#handlers = handlers
    this.#retries = new RetryPolicy((state) => this.#setState(state), this.#closing.signal)
    this.#start(after)
  }

  close(): void {
    this.#closing.abort()
    this.#manager.remove(this)
  }

  fail(error: unknown): void {
    if (this.#closing.signal.aborted) return
    this.close()
    this.#setState({ status: 'closed' })
    try {
      this.#handlers.onError(error)
    } catch (thrown) {
      // Report it as uncaught, without disturbing other readers.
      setTimeout(() => {
        throw thrown
      })
    }
  }

  /** Stops delivery until {@link resume}, which requests the events again. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#manager.scheduleSync()
  }

  handleUpdate(update: LogUpdate): void {
    if (this.#isStarting || this.#closing.signal.aborted) return
    if (update.type === 'state') {
      this.isNew = false
      // Requested events arrive before `live`. If some are still missing, request them again.
      if (update.state.status === 'live') this.#hasRequestedMissing = false
      this.#setState(update.state)
    } else if (this.#isPaused) return
    else if (update.type === 'reset') this.#handleReset(update.event)
    else if (update.type === 'range') this.#handleRange(update)
    else if (this.place && this.#isRelevant(update.event)) this.#emit(update.event)
  }

  async #start(after?: Place): Promise<void> {
    const { signal } = this.#closing
    this.#isStarting = true
    try {
      const { target, place, event } = await this.#retry(() => this.#source.start(signal, after))
      signal.throwIfAborted()
      this.target = target
      this.place = place
      this.isNew = true
      this.#isStarting = false
      if (event) this.#emit(event)
      if (!signal.aborted) this.#manager.add(this)
    } catch (error) {
      this.fail(error)
    }
  }

  async #retry<T>(attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const result = await attempt()
        this.#retries.reset()
        return result
      } catch (error) {
        await this.#retries.wait(error)
        this.#setState({ status: 'connecting' })
      }
    }
  }

  #handleReset(reset: ResetEvent): void {
    this.place = { position: reset.position, cursor: reset.cursor }
    const event = this.#source.onReset(reset)
    if (event) this.#emit(event)
    else this.#start()
  }

  #handleRange(update: Extract<LogUpdate, { type: 'range' }>): void {
    const place = advance(this.place, update)
    if (!place) {
      // Request the missing events once.
      if (!this.#hasRequestedMissing) this.#manager.scheduleSync()
      this.#hasRequestedMissing = true
      return
    }
    this.#hasRequestedMissing = false
    if (!this.place) this.#handleReset({ type: 'reset', reason: 'start', ...place })
    else if (place !== this.place) {
      if (update.event && this.#isRelevant(update.event)) this.#emit(update.event)
      this.place = place
    }
  }

  #setState(state: ConnectionState): void {
    if (JSON.stringify(state) === this.#state) return
    this.#state = JSON.stringify(state)
    try {
      this.#handlers.onState(state)
    } catch (error) {
      this.fail(error)
    }
  }

  #isRelevant({ roomId }: LiveEvent): boolean {
    return this.target.kind !== 'room' || this.target.roomId === roomId
  }

  #emit(event: Event | LiveEvent): void {
    try {
      this.#handlers.onEvent(event)
    } catch (error) {
      this.fail(error)
    }
  }
}
