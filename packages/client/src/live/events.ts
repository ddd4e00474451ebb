import type { Outputs, StreamEvent } from '@dowell-chat/api'

export type { StreamEvent }

/** A place in an organisation's event log. Every event that is kept has one. */
export interface Place {
  readonly position: number
  /** What the server calls it. */
  readonly cursor: string
}

/**
 * Whether positions of two places may be compared. After a failover or a restore of the server's database the same
 * positions are other events, and cursors end with the name of another epoch. Those of an older server name none.
 */
export function areOfOneHistory(one: Place, other: Place): boolean {
  const [a, b] = [epochOf(one), epochOf(other)]
  return a === undefined || b === undefined || a === b
}

function epochOf({ cursor }: Place): string | undefined {
  const dot = cursor.indexOf('.')
  return dot < 0 ? undefined : cursor.slice(dot)
}

type Control = Extract<StreamEvent, { type: 'ready' | 'reset' | 'end' }>

/** Something that happened in a room. */
export type LiveEvent = Exclude<StreamEvent, Control>

/** A room as it is at the event's place; what comes after it happened later. It replaces whatever was known before. */
export type SnapshotEvent = { readonly type: 'snapshot' } & Outputs['getRoomSnapshot']

/** Read anew what you show: at the start, and when events are missing. What comes after it happened later. */
export interface ResetEvent extends Place {
  readonly type: 'reset'
  readonly reason: 'start' | Extract<StreamEvent, { type: 'reset' }>['reason']
}

/** What a room's feed brings: first a snapshot. */
export type RoomFeedEvent = SnapshotEvent | LiveEvent
/** What the feed of an inbox or a user brings: first a reset. */
export type FeedEvent = ResetEvent | LiveEvent

/** Whether events arrive, to show a user. */
export type ConnectionState =
  | { readonly status: 'connecting' | 'live' | 'closed' }
  /** `offline`: the browser says so. Both try again at that time, or as soon as the browser is online. */
  | { readonly status: 'waiting' | 'offline'; readonly retryAt: Date }

type DateName<T> = T extends unknown
  ? { [Name in keyof T]: Date extends T[Name] ? Name : never }[keyof T]
  : never
type Part<Name extends string> = LiveEvent extends infer E
  ? E extends Record<Name, infer Value>
    ? Value
    : never
  : never

/** The Dates of an event, its room, message and marker. A room's `custom` may have the same names, and stays as it is. */
const dates: Record<DateName<LiveEvent | Part<'room'> | Part<'message'> | Part<'marker'>>, true> = {
  createdAt: true,
  updatedAt: true,
  editedAt: true,
  deletedAt: true,
  expiresAt: true,
}

/** An event from its JSON, in which Dates are texts. */
export function parseEvent(data: string): StreamEvent | { type: 'heartbeat' } {
  const event = JSON.parse(data)
  for (const part of [event, event.room, event.message, event.marker]) {
    for (const name in dates) {
      if (typeof part?.[name] === 'string') part[name] = new Date(part[name])
    }
  }
  return event
}
