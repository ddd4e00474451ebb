import type { LoggedEvent } from '@dowell-chat/db'
import { z } from 'zod'
import { id, msLeft, time } from '../encoding/fields.ts'
import { exampleMessage, Message, toMessage } from '../messages/schema.ts'
import { ReadMarker } from '../reading/schema.ts'
import { type HiddenColumns, Room, toRoom, withoutHidden } from '../rooms/schema.ts'
import { type EventCursor, encodeEventCursor } from './cursor.ts'

const cursor = z.string().meta({
  description:
    'To continue after this event, send it as `after`, or to a stream as `Last-Event-ID`.',
  example: 'ZToxNzo4Zk1vX2J3Zw.k3Jx9Q',
})

const position = z.int().nonnegative().meta({
  description:
    "Position in the organisation's event log. It grows. Events that the reader may not see leave gaps.",
  example: 17,
})

/** A position in an organisation's event log, as events carry it. */
export const logPosition = { position, cursor }

export function toLogPosition(cursor: EventCursor): { position: number; cursor: string } {
  return { position: cursor.position, cursor: encodeEventCursor(cursor) }
}

/** Keys of every stored event. */
const stored = { ...logPosition, orgId: z.string(), roomId: id, createdAt: time }

export const RoomEvent = z
  .object({
    type: z.enum(['room.created', 'room.updated', 'room.deleted', 'room.restored']),
    ...stored,
    room: Room,
  })
  .meta({ id: 'RoomEvent', additionalProperties: true })

export const MessageEvent = z
  .object({
    type: z.enum(['message.created', 'message.updated', 'message.deleted']),
    ...stored,
    message: Message,
  })
  .meta({ id: 'MessageEvent', additionalProperties: true })

export const MarkerEvent = z
  .object({ type: z.literal('marker.moved'), ...stored, marker: ReadMarker })
  .meta({ id: 'MarkerEvent', additionalProperties: true })

/** A stored event. Its room or message is the current one, not the one at the time of the event. */
export const Event = z
  .discriminatedUnion('type', [RoomEvent, MessageEvent, MarkerEvent])
  .meta({ id: 'Event' })
export type Event = z.output<typeof Event>

export const TypingEvent = z
  .object({
    type: z.literal('typing'),
    orgId: z.string(),
    roomId: id,
    userId: z.string(),
    side: z.boolean(),
    isTyping: z.boolean(),
    expiresAt: time.meta({
      description: 'When the user counts as no longer typing, without a further event.',
    }),
    expiresInMs: msLeft,
  })
  .meta({ id: 'TypingEvent', additionalProperties: true })

export const PresenceEvent = z
  .object({
    type: z.literal('presence'),
    orgId: z.string(),
    roomId: id,
    customer: z.boolean().meta({ description: 'Whether the customer has the room open.' }),
    support: z
      .boolean()
      .meta({ description: 'Whether anyone of the support team has the room open.' }),
  })
  .meta({ id: 'PresenceEvent', additionalProperties: true })

/** Events that are sent to open streams and not stored. */
export type EphemeralEvent = z.output<typeof TypingEvent> | z.output<typeof PresenceEvent>

export const ReadyEvent = z
  .object({
    type: z.literal('ready').meta({
      description: 'All events up to here were sent. The following ones are live.',
    }),
    ...logPosition,
  })
  .meta({ id: 'ReadyEvent', additionalProperties: true })

export const resetReasons = ['too_old', 'too_far', 'unknown'] as const
export type ResetReason = (typeof resetReasons)[number]

export const ResetEvent = z
  .object({
    type: z.literal('reset').meta({
      description: 'Some events before this position are lost: load the rooms again.',
    }),
    reason: z.enum(resetReasons).meta({
      description:
        'too_old: the log no longer reaches back to the cursor. too_far: too many events to replay. unknown: the cursor is not from this log, or the log went back because the database was restored or failed over.',
    }),
    ...logPosition,
  })
  .meta({ id: 'ResetEvent', additionalProperties: true })

export const endReasons = ['shutdown', 'lifetime', 'expired', 'revoked', 'slow_reader'] as const
export type EndReason = (typeof endReasons)[number]

export const EndEvent = z
  .object({
    type: z.literal('end').meta({ description: 'The last event of this stream.' }),
    reason: z.enum(endReasons).meta({
      description:
        'shutdown, lifetime: resume at once. expired, revoked: get a new credential first. slow_reader: you did not read fast enough; resume.',
    }),
  })
  .meta({ id: 'EndEvent', additionalProperties: true })

/** Every event that a stream may send. */
export const StreamEvent = z.discriminatedUnion('type', [
  RoomEvent,
  MessageEvent,
  MarkerEvent,
  TypingEvent,
  PresenceEvent,
  ReadyEvent,
  ResetEvent,
  EndEvent,
])
export type StreamEvent = z.output<typeof StreamEvent>

export const HeartbeatEvent = z
  .object({
    type: z
      .literal('heartbeat')
      .meta({ description: 'Sent every 20 seconds: longer silence means a dead connection.' }),
  })
  .meta({ id: 'HeartbeatEvent', additionalProperties: true })

/** The same over server-sent events, where heartbeats are events too. */
export const RestStreamEvent = z
  .discriminatedUnion('type', [...StreamEvent.options, HeartbeatEvent])
  .meta({ id: 'StreamEvent' })

export function toEvent({ event, room, message, epoch }: LoggedEvent): Event {
  const { position, org_id: orgId, room_id: roomId } = event
  const base = {
    ...toLogPosition({ orgId, position, epoch }),
    orgId,
    roomId,
    createdAt: new Date(event.created_at),
  }
  switch (event.type) {
    case 'room.created':
    case 'room.updated':
    case 'room.deleted':
    case 'room.restored':
      return { type: event.type, ...base, room: toRoom(room) }
    case 'message.created':
    case 'message.updated':
    case 'message.deleted':
      if (!message) throw new Error(`event ${orgId} ${position} has no message`)
      return { type: event.type, ...base, message: toMessage(message) }
    case 'marker.moved':
      return {
        type: event.type,
        ...base,
        marker: {
          roomId,
          userId: event.user_id ?? '',
          side: event.side === 1,
          seq: event.marker_seq ?? 0,
          updatedAt: base.createdAt,
        },
      }
  }
}

/** The event as customers see it; the same object where nothing is hidden, so that it is encoded once for all readers. */
export function toCustomerEvent(logged: LoggedEvent, event: Event, hidden: HiddenColumns): Event {
  if (!('room' in event)) return event
  const room = withoutHidden(logged.room, hidden)
  return room === logged.room ? event : toEvent({ ...logged, room })
}

export const exampleEvent = {
  type: 'message.created',
  position: 17,
  cursor: 'ZToxNzo4Zk1vX2J3Zw.k3Jx9Q',
  orgId: 'DOWELL12345',
  roomId: exampleMessage.roomId,
  createdAt: exampleMessage.createdAt,
  message: exampleMessage,
}
