import type { ConnectionState, LiveEvent, Place } from './events.ts'
import type { Hub } from './hub.ts'
import { type Handlers, type Origin, Subscription } from './subscription.ts'

export interface SubscribeOptions<Event> {
  /**
   * Gets each event that is kept once, in order. It is not waited for; a reader that takes its time iterates over `events`
   * instead. One that throws ends the subscription, and what it threw goes to `onError`.
   */
  readonly onEvent: (event: Event) => void
  /**
   * Why the subscription has ended: a {@link DowellChatError} that to try again would not mend, or what `onEvent` or
   * `onState` threw. What it throws itself nobody catches.
   */
  readonly onError: (error: unknown) => void
  /** Told when it changes whether events arrive, to show a user. Until then it is `connecting`. */
  readonly onState?: (state: ConnectionState) => void
  /** Begins after this event, or any other place, in place of now. */
  readonly after?: Place
}

export interface EventsOptions {
  /** Ends the iteration, which then throws the signal's reason. */
  readonly signal?: AbortSignal
  /** Begins after this event, or any other place, in place of now. */
  readonly after?: Place
}

/** Events as they happen. Whoever loses the connection gets what happened meanwhile as soon as there is one again. */
export interface Feed<Event> {
  /** @returns how to end the subscription; nothing is called after that */
  subscribe(options: SubscribeOptions<Event>): () => void
  /**
   * The same as an iterator. A consumer that is slower than the events gets them all the same, only later, except those that
   * are kept nowhere.
   *
   * @throws DowellChatError that to try again would not mend
   */
  events(options?: EventsOptions): AsyncGenerator<Event, never, undefined>
}

/** Events that wait for an iterator, at most. The rest waits on the server. */
const MAX_WAITING = 1_000

export function createFeed<Event>(hub: Hub, origin: Origin<Event>): Feed<Event | LiveEvent> {
  return {
    subscribe({ onEvent, onError, onState = () => {}, after }) {
      const handlers = { onEvent, onError, onState }
      const subscription = new Subscription(hub, origin, handlers, after)
      return () => subscription.close()
    },

    events({ signal, after } = {}) {
      let isLeft = false
      let wake = () => {}

      async function* read(): AsyncGenerator<Event | LiveEvent, never, undefined> {
        signal?.throwIfAborted()
        const waiting: (Event | LiveEvent)[] = []
        let failure: { error: unknown } | undefined
        const handlers: Handlers<Event> = {
          onEvent: (event) => {
            if (waiting.push(event) >= MAX_WAITING) subscription.pause()
            wake()
          },
          onState: () => {},
          onError: (error) => {
            failure = { error }
            wake()
          },
        }
        const subscription = new Subscription(hub, origin, handlers, after)
        // At once: whoever aborts may never ask for the next event.
        const abort = () => {
          subscription.close()
          wake()
        }
        signal?.addEventListener('abort', abort)
        try {
          for (;;) {
            signal?.throwIfAborted()
            if (isLeft) return undefined as never
            const event = waiting.shift()
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
      const leave = events.return.bind(events)
      // A generator that waits for an event would put it off until that has come.
      events.return = (value) => {
        isLeft = true
        wake()
        return leave(value)
      }
      return events
    },
  }
}
