import type { ConnectionState, LiveEvent, Place } from './events.ts'
import type { FeedManager } from './feedManager.ts'
import { type FeedHandlers, type FeedSource, Subscription } from './subscription.ts'

/** Options of {@link Feed.subscribe}. */
export interface SubscribeOptions<Event> {
  /**
   * Receives each stored event once and in order. It is not awaited; iterate over `events` if you handle events slowly. An
   * exception ends the subscription and goes to `onError`.
   */
  readonly onEvent: (event: Event) => void
  /**
   * Called once when the subscription ends by a failure: a {@link DowellChatError} that no retry can repair, or an exception
   * of `onEvent` or `onState`. Its own exceptions are uncaught.
   */
  readonly onError: (error: unknown) => void
  /** Called when the connection's state changes. The initial state is `connecting`. */
  readonly onState?: (state: ConnectionState) => void
  /** Starts after this event or place instead of now. */
  readonly after?: Place
}

/** Options of {@link Feed.events}. */
export interface EventsOptions {
  /** Ends the iteration, which then throws the signal's reason. */
  readonly signal?: AbortSignal
  /** Starts after this event or place instead of now. */
  readonly after?: Place
}

/** Live events. After a lost connection it reconnects and delivers the missed events first. */
export interface Feed<Event> {
  /** Delivers events to callbacks. @returns a function that ends the subscription; no callback runs after it */
  subscribe(options: SubscribeOptions<Event>): () => void
  /**
   * Returns an iterator over the events. A slow consumer gets every stored event, later; events that are not stored, such as
   * typing, may be dropped.
   *
   * @throws DowellChatError that no retry can repair
   */
  events(options?: EventsOptions): AsyncGenerator<Event, never, undefined>
}

/** Events buffered per iterator. Further ones are requested from the server again. */
const MAX_BUFFERED_EVENTS = 1_000

export function createFeed<Event>(
  manager: FeedManager,
  source: FeedSource<Event>,
): Feed<Event | LiveEvent> {
  return {
    subscribe({ onEvent, onError, onState = () => {}, after }) {
      const handlers = { onEvent, onError, onState }
      const subscription = new Subscription(manager, source, handlers, after)
      return () => subscription.close()
    },

    events({ signal, after } = {}) {
      let isClosed = false
      let wake = () => {}

      async function* read(): AsyncGenerator<Event | LiveEvent, never, undefined> {
        signal?.throwIfAborted()
        const buffer: (Event | LiveEvent)[] = []
        let failure: { error: unknown } | undefined
        const handlers: FeedHandlers<Event> = {
          onEvent: (event) => {
            if (buffer.push(event) >= MAX_BUFFERED_EVENTS) subscription.pause()
            wake()
          },
          onState: () => {},
          onError: (error) => {
            failure = { error }
            wake()
          },
        }
        const subscription = new Subscription(manager, source, handlers, after)
        // Close at once: the consumer may never request another event.
        const abort = () => {
          subscription.close()
          wake()
        }
        signal?.addEventListener('abort', abort)
        try {
          for (;;) {
            signal?.throwIfAborted()
            if (isClosed) return undefined as never
            const event = buffer.shift()
            if (event) yield event
            else if (failure) throw failure.error
            else {
              subscription.resume()
              await new Promise<void>((resolve) => {
                wake = resolve
              })
            }
          }
        } finally {
          signal?.removeEventListener('abort', abort)
          subscription.close()
        }
      }

      const events = read()
      const close = events.return.bind(events)
      // A waiting generator would defer its return until the next event.
      events.return = (value) => {
        isClosed = true
        wake()
        return close(value)
      }
      return events
    },
  }
}
