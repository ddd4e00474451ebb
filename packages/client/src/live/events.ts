import type { Outputs, StreamEvent } from '@dowell-chat/api'

export type { StreamEvent }

/** A place in an organisation's event log. Every stored event has one. */
export interface Place {
  /** Increases with each event of the organisation. */
  readonly position: number
  /** The server's opaque name of the place. */
  readonly cursor: string
}

/**
 * True if the positions of two places are comparable. A failover or restore of the server's database starts a new epoch, in
 * which positions are reused; cursors end with it. Cursors of older servers have no epoch, and match any.
 */
export function haveSameEpoch(a: Place, b: Place): boolean {
  const [epoch, other] = [epochOf(a), epochOf(b)]
  return epoch === undefined || other === undefined || epoch === other
}

function epochOf({ cursor }: Place): string | undefined {
  const dot = cursor.indexOf('.')
  return dot < 0 ? undefined : cursor.slice(dot)
}

type Control = Extract<StreamEvent, { type: 'ready' | 'reset' | 'end' }>

/** An event of a room. */
export type LiveEvent = Exclude<StreamEvent, Control>

/** The state of a room at a place of the log. Replaces all earlier state; the events after it are newer. */
export type SnapshotEvent = { readonly type: 'snapshot' } & Outputs['getRoomSnapshot']

/** Reload what you show: sent at the start, and when events are missing. The events after it are newer. */
export interface ResetEvent extends Place {
  readonly type: 'reset'
  readonly reason: 'start' | Extract<StreamEvent, { type: 'reset' }>['reason']
}

/** Events of a room's feed; the first is a snapshot. */
export type RoomFeedEvent = SnapshotEvent | LiveEvent
/** Events of an inbox's or a user's feed; the first is a reset. */
export type FeedEvent = ResetEvent | LiveEvent

/** State of a feed's connection, to show to a user. */
export type ConnectionState =
  | { readonly status: 'connecting' | 'live' | 'closed' }
  /** The client retries at `retryAt`, or when the browser comes online; `offline`: the browser reports no network. */
  | { readonly status: 'waiting' | 'offline'; readonly retryAt: Date }

type DateName<T> = T extends unknown
  ? { [Name in keyof T]: Date extends T[Name] ? Name : never }[keyof T]
  : never
type Part<Name extends string> = LiveEvent extends infer E
  ? E extends Record<Name, infer Value>
    ? Value
    : never
  : never

/** Date fields of an event and of its room, message and marker. A room's `custom` may use the same names; it is not parsed. */
const dateFields: Record<
  DateName<LiveEvent | Part<'room'> | Part<'message'> | Part<'marker'>>,
  true
> = {
  createdAt: true,
  updatedAt: true,
  editedAt: true,
  deletedAt: true,
  expiresAt: true,
}

/** Parses an event's JSON and its dates. @throws SyntaxError */
export function parseEvent(data: string): StreamEvent | { type: 'heartbeat' } {
  const event = JSON.parse(data)
  for (const part of [event, event.room, event.message, event.marker]) {
    for (const name in dateFields) {
      if (typeof part?.[name] === 'string') part[name] = new Date(part[name])
    }
  }
  return event
}
