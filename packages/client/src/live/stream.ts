import { DowellChatError } from '../error.ts'
import { readStream } from './connection.ts'
import {
  type ConnectionState,
  type LiveEvent,
  type Place,
  parseEvent,
  type StreamEvent,
} from './events.ts'
import { Patience, whenOnline } from './patience.ts'

/**
 * What a stream tells. Of an event that is kept it tells what did not happen as well: between `after` and `place` there is
 * nothing but the event. Whoever has everything up to `after`, or further, then has everything up to `place`; whoever has
 * less would miss something.
 */
export type News =
  | {
      readonly type: 'covered'
      readonly after: number
      readonly place: Place
      readonly event?: LiveEvent
    }
  /** An event that is kept nowhere. */
  | { readonly type: 'passing'; readonly event: LiveEvent }
  | { readonly type: 'reset'; readonly event: Extract<StreamEvent, { type: 'reset' }> }
  | { readonly type: 'state'; readonly state: ConnectionState }

export interface StreamOptions {
  /** Where to begin; undefined: with what happens now. */
  readonly place: Place | undefined
  readonly open: (place: Place | undefined, signal: AbortSignal) => Promise<Response>
  readonly onNews: (news: News) => void
  /** To try again is no use. */
  readonly onFailure: (error: unknown) => void
}

/** Events from a place on, over as many connections as it takes. */
export class Stream {
  readonly #options: StreamOptions
  readonly #closing = new AbortController()
  readonly #patience: Patience
  #place: Place | undefined
  #state: ConnectionState = { status: 'connecting' }

  constructor(options: StreamOptions) {
    this.#options = options
    this.#place = options.place
    this.#patience = new Patience((state) => this.#tell(state), this.#closing.signal)
    this.#run()
  }

  /** Everything up to here was told; undefined while the server has not said where now is. */
  get place(): Place | undefined {
    return this.#place
  }

  get state(): ConnectionState {
    return this.#state
  }

  close(): void {
    this.#closing.abort()
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        await this.#patience.wait(await this.#connect())
        this.#tell({ status: 'connecting' })
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#options.onFailure(error)
    }
  }

  /** Reads one connection to its end. @returns what went wrong, if anything did */
  async #connect(): Promise<unknown> {
    const leaving = new AbortController()
    let failure: unknown = new DowellChatError('NETWORK', 'The connection was cut')
    const leave = (why?: unknown) => {
      failure = why
      leaving.abort()
    }
    // What was open before the browser went offline is dead by now, and nobody would notice for a while.
    const stopListening = whenOnline(() => leave())
    const signal = AbortSignal.any([this.#closing.signal, leaving.signal])
    try {
      await readStream((signal) => this.#options.open(this.#place, signal), {
        signal,
        onData: (data) => {
          if (signal.aborted) return
          const event = parseEvent(data)
          if (event.type === 'end') leave(event.reason === 'slow_reader' ? failure : undefined)
          else if (event.type !== 'heartbeat') this.#take(event)
        },
      })
    } catch (error) {
      if (!leaving.signal.aborted) failure = error
    } finally {
      stopListening()
    }
    return failure
  }

  #take(event: Exclude<StreamEvent, { type: 'end' }>): void {
    if (!('position' in event)) {
      this.#options.onNews({ type: 'passing', event })
      return
    }
    const place = { position: event.position, cursor: event.cursor }
    if (event.type === 'reset') this.#options.onNews({ type: 'reset', event })
    else {
      const after = this.#place?.position ?? place.position
      if (event.type === 'ready') {
        this.#options.onNews({ type: 'covered', after, place })
        this.#patience.succeeded()
        this.#tell({ status: 'live' })
      } else this.#options.onNews({ type: 'covered', after, place, event })
    }
    this.#place = place
  }

  #tell(state: ConnectionState): void {
    this.#state = state
    this.#options.onNews({ type: 'state', state })
  }
}
