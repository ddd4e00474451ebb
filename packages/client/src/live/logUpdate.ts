import {
  type ConnectionState,
  haveSameEpoch,
  type LiveEvent,
  type Place,
  type StreamEvent,
} from './events.ts'

/**
 * An update from a stream. A `range` also says what did not happen: between `after` and `place` there is no event but this
 * one. A reader who has everything up to `after` then has everything up to `place`; one who has less has missed something.
 */
export type LogUpdate =
  | {
      readonly type: 'range'
      readonly after: number
      readonly place: Place
      readonly event?: LiveEvent
    }
  /** An event that is not stored, such as typing. */
  | { readonly type: 'ephemeral'; readonly event: LiveEvent }
  | { readonly type: 'reset'; readonly event: Extract<StreamEvent, { type: 'reset' }> }
  | { readonly type: 'state'; readonly state: ConnectionState }

/** Returns a reader's place after an update, advanced or unchanged; undefined if the reader has missed events. */
export function advance(
  place: Place | undefined,
  update: Extract<LogUpdate, { type: 'range' }>,
): Place | undefined {
  if (place === undefined) return update.event ? undefined : update.place
  if (update.after > place.position || !haveSameEpoch(place, update.place)) return undefined
  return update.place.position > place.position ? update.place : place
}
