import type { ConnectionState, LiveEvent, Place, ResetEvent } from './events.ts'
import type { Hub, Reader } from './hub.ts'
import { Patience } from './patience.ts'
import type { News } from './stream.ts'
import { advance } from './streams.ts'
import type { Target } from './target.ts'

/** What a subscription begins with. */
export interface Beginning<Event> {
  readonly target: Target
  /** Left out: with what happens now. */
  readonly place?: Place | undefined
  readonly event?: Event
}

export interface Origin<Event> {
  /** @param place where to begin, in place of now */
  readonly begin: (signal: AbortSignal, place: Place | undefined) => Promise<Beginning<Event>>
  /** What tells the reader to read anew; undefined: what it begins with does. */
  readonly onReset: (event: ResetEvent) => Event | undefined
}

export interface Handlers<Event> {
  readonly onEvent: (event: Event | LiveEvent) => void
  readonly onState: (state: ConnectionState) => void
  readonly onError: (error: unknown) => void
}

/** One reader of a feed: each event that is kept once, and in order. */
export class Subscription<Event> implements Reader {
  /** Undefined until it has begun; before that nobody reads it. */
  target!: Target
  /** Everything up to here was handed over. */
  place: Place | undefined
  isNew = true
  readonly #hub: Hub
  readonly #origin: Origin<Event>
  readonly #handlers: Handlers<Event>
  readonly #closing = new AbortController()
  readonly #patience: Patience
  #isBeginning = false
  #isPaused = false
  #isMissing = false
  #state = JSON.stringify({ status: 'connecting' })

  constructor(
    hub: Hub,
    origin: Origin<Event>,
    handlers: Handlers<Event>,
    after: Place | undefined,
  ) {
    this.#hub = hub
    this.#origin = origin
    this.#handlers = handlers
    this.#patience = new Patience((state) => this.#tell(state), this.#closing.signal)
    this.#begin(after)
  }

  close(): void {
    this.#closing.abort()
    this.#hub.remove(this)
  }

  fail(error: unknown): void {
    if (this.#closing.signal.aborted) return
    this.close()
    this.#tell({ status: 'closed' })
    try {
      this.#handlers.onError(error)
    } catch (thrown) {
      // Nobody else is to be told of it, and other readers must not suffer by it.
      setTimeout(() => {
        throw thrown
      })
    }
  }

  /** Takes no events until it is resumed; it gets them then. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#hub.announce()
  }

  take(news: News): void {
    if (this.#isBeginning || this.#closing.signal.aborted) return
    if (news.type === 'state') {
      this.isNew = false
      // What was asked for came before this. Whoever still misses something did not hear it.
      if (news.state.status === 'live') this.#isMissing = false
      this.#tell(news.state)
    } else if (this.#isPaused) return
    else if (news.type === 'reset') this.#reset(news.event)
    else if (news.type === 'covered') this.#cover(news)
    else if (this.place && this.#isFor(news.event)) this.#hand(news.event)
  }

  async #begin(after?: Place): Promise<void> {
    const { signal } = this.#closing
    this.#isBeginning = true
    try {
      const { target, place, event } = await this.#try(() => this.#origin.begin(signal, after))
      signal.throwIfAborted()
      this.target = target
      this.place = place
      this.isNew = true
      this.#isBeginning = false
      if (event) this.#hand(event)
      if (!signal.aborted) this.#hub.add(this)
    } catch (error) {
      this.fail(error)
    }
  }

  async #try<T>(attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const result = await attempt()
        this.#patience.succeeded()
        return result
      } catch (error) {
        await this.#patience.wait(error)
        this.#tell({ status: 'connecting' })
      }
    }
  }

  #reset(reset: ResetEvent): void {
    this.place = { position: reset.position, cursor: reset.cursor }
    const event = this.#origin.onReset(reset)
    if (event) this.#hand(event)
    else this.#begin()
  }

  #cover(news: Extract<News, { type: 'covered' }>): void {
    const place = advance(this.place, news)
    if (!place) {
      // The source need not be told twice.
      if (!this.#isMissing) this.#hub.announce()
      this.#isMissing = true
      return
    }
    this.#isMissing = false
    if (!this.place) this.#reset({ type: 'reset', reason: 'start', ...place })
    else if (place !== this.place) {
      if (news.event && this.#isFor(news.event)) this.#hand(news.event)
      this.place = place
    }
  }

  #tell(state: ConnectionState): void {
    if (JSON.stringify(state) === this.#state) return
    this.#state = JSON.stringify(state)
    try {
      this.#handlers.onState(state)
    } catch (error) {
      this.fail(error)
    }
  }

  #isFor({ roomId }: LiveEvent): boolean {
    return this.target.kind !== 'room' || this.target.roomId === roomId
  }

  #hand(event: Event | LiveEvent): void {
    try {
      this.#handlers.onEvent(event)
    } catch (error) {
      this.fail(error)
    }
  }
}
