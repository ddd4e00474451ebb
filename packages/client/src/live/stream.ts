import { DowellChatError } from '../error.ts'
import { type ConnectionState, type Place, parseEvent, type StreamEvent } from './events.ts'
import type { LogUpdate } from './logUpdate.ts'
import { onOnline } from './online.ts'
import { readStream } from './readStream.ts'
import { RetryPolicy } from './retryPolicy.ts'

export interface StreamOptions {
  /** Starts after this place; undefined: now. */
  readonly place: Place | undefined
  readonly open: (
    place: Place | undefined,
    streamId: string,
    signal: AbortSignal,
  ) => Promise<Response>
  /** Called for each heartbeat of the server: an answer shows that this process runs, which the connection does not. */
  readonly onHeartbeat: (streamId: string) => void
  readonly onUpdate: (update: LogUpdate) => void
  /** Called once if a retry cannot succeed. */
  readonly onFailure: (error: unknown) => void
}

/** An event stream that reconnects and resumes from its place. */
export class Stream {
  readonly #options: StreamOptions
  readonly #closing = new AbortController()
  readonly #retries: RetryPolicy
  #place: Place | undefined
  #state: ConnectionState = { status: 'connecting' }

  constructor(options: StreamOptions) {
    this.#options = options
    this.#place = options.place
    this.#retries = new RetryPolicy((state) => this.#setState(state), this.#closing.signal)
    this.#run()
  }

  /** Everything up to here was delivered; undefined until the server has sent its first place. */
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
        await this.#retries.wait(await this.#readConnection())
        this.#setState({ status: 'connecting' })
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#options.onFailure(error)
    }
  }

  /** Reads one connection to its end. @returns its failure; undefined if the server ended it normally */
  async #readConnection(): Promise<unknown> {
    const disconnecting = new AbortController()
    let failure: unknown = new DowellChatError('NETWORK', 'The connection ended')
    const disconnect = (reason?: unknown) => {
      failure = reason
      disconnecting.abort()
    }
    // A connection from before the browser went offline is dead, but would only time out later.
    const removeListener = onOnline(() => disconnect())
    const signal = AbortSignal.any([this.#closing.signal, disconnecting.signal])
    const streamId = createStreamId()
    try {
      await readStream((signal) => this.#options.open(this.#place, streamId, signal), {
        signal,
        onData: (data) => {
          if (signal.aborted) return
          const event = parseEvent(data)
          if (event.type === 'end') disconnect(event.reason === 'slow_reader' ? failure : undefined)
          else if (event.type === 'heartbeat') this.#options.onHeartbeat(streamId)
          else this.#handleEvent(event)
        },
      })
    } catch (error) {
      if (!disconnecting.signal.aborted) failure = error
    } finally {
      removeListener()
    }
    return failure
  }

  #handleEvent(event: Exclude<StreamEvent, { type: 'end' }>): void {
    const { onUpdate } = this.#options
    if (!('position' in event)) {
      onUpdate({ type: 'ephemeral', event })
      return
    }
    const place = { position: event.position, cursor: event.cursor }
    if (event.type === 'reset') onUpdate({ type: 'reset', event })
    else {
      const after = this.#place?.position ?? place.position
      if (event.type === 'ready') {
        onUpdate({ type: 'range', after, place })
        this.#retries.reset()
        this.#setState({ status: 'live' })
      } else onUpdate({ type: 'range', after, place, event })
    }
    this.#place = place
  }

  #setState(state: ConnectionState): void {
    this.#state = state
    this.#options.onUpdate({ type: 'state', state })
  }
}

/** Without randomUUID, which pages without TLS do not have. */
function createStreamId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
