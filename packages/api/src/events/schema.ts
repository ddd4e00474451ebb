import type { LoggedEvent, ReadMarkerRow } from '@dowell-chat/db'
import { z } from 'zod'
import { id, time } from '../encoding/fields.ts'
import { exampleMessage, Message, toMessage } from '../messages/schema.ts'
import { Room, toRoom } from '../rooms/schema.ts'
import { type EventCursor, encodeEventCursor } from './cursor.ts'

const cursor = z.string().meta({
  description:
    'Where to go on after this event: give it as `after`, or as `Last-Event-ID` to a stream.',
  example: 'ZToxNzo4Zk1vX2J3Zw.k3Jx9Q',
})

const position = z.int().nonnegative().meta({
  description:
    "Place in the organisation's event log. Grows; events that the reader does not see leave gaps.",
  example: 17,
})

/** A place in an organisation's event log. */
export const logPlace = { position, cursor }

export function toLogPlace(place: EventCursor): { position: number; cursor: string } {
  return { position: place.position, cursor: encodeEventCursor(place) }
}

/** What every event in the log has. */
const durable = { ...logPlace, orgId: z.string(), roomId: id, createdAt: time }

export const ReadMarker = z
  .object({
    roomId: id,
    userId: z.string(),
    side: z.boolean().meta({ description: "The reader's. False: the customer. True: support." }),
    seq: z
      .int()
      .nonnegative()
      .meta({ description: 'Read up to and including this message.', example: 1 }),
    updatedAt: time,
  })
  .meta({ id: 'ReadMarker', additionalProperties: true })
export type ReadMarker = z.output<typeof ReadMarker>

export function toReadMarker(row: ReadMarkerRow): ReadMarker {
  return {
    roomId: row.room_id,
    userId: row.user_id,
    side: row.side === 1,
    seq: row.seq,
    updatedAt: new Date(row.updated_at),
  }
}

export const exampleReadMarker = {
  roomId: exampleMessage.roomId,
  userId: 'ABCD12345',
  side: false,
  seq: 1,
  updatedAt: '2023-08-29T05:10:24.000Z',
}

export const RoomEvent = z
  .object({
    type: z.enum(['room.created', 'room.updated', 'room.deleted', 'room.restored']),
    ...durable,
    room: Room,
  })
  .meta({ id: 'RoomEvent', additionalProperties: true })

export const MessageEvent = z
  .object({
    type: z.enum(['message.created', 'message.updated', 'message.deleted']),
    ...durable,
    message: Message,
  })
  .meta({ id: 'MessageEvent', additionalProperties: true })

export const MarkerEvent = z
  .object({ type: z.literal('marker.moved'), ...durable, marker: ReadMarker })
  .meta({ id: 'MarkerEvent', additionalProperties: true })

/** An event in the log. It carries its room or message as that is when the event is read. */
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
    expiresAt: time.meta({ description: 'When they count as silent again, if nothing is said.' }),
  })
  .meta({ id: 'TypingEvent', additionalProperties: true })

export const PresenceEvent = z
  .object({
    type: z.literal('presence'),
    orgId: z.string(),
    roomId: id,
    customer: z.boolean().meta({ description: 'Whether the customer has the room open.' }),
    support: z.boolean().meta({ description: 'Whether anyone of the support team has.' }),
  })
  .meta({ id: 'PresenceEvent', additionalProperties: true })

/** What is told to those who listen, and kept nowhere. */
export type EphemeralEvent = z.output<typeof TypingEvent> | z.output<typeof PresenceEvent>

export const ReadyEvent = z
  .object({
    type: z.literal('ready').meta({
      description: 'Everything up to here was sent; what follows is live.',
    }),
    ...logPlace,
  })
  .meta({ id: 'ReadyEvent', additionalProperties: true })

export const resetReasons = ['too_old', 'too_far', 'unknown'] as const
export type ResetReason = (typeof resetReasons)[number]

export const ResetEvent = z
  .object({
    type: z.literal('reset').meta({
      description: 'Events are missing between the cursor and here: read the rooms anew.',
    }),
    reason: z.enum(resetReasons).meta({
      description:
        'too_old: the log no longer reaches back to the cursor. too_far: more events lie between than are replayed. unknown: the cursor is not one of this log, or the log went back: the database was restored, or failed over.',
    }),
    ...logPlace,
  })
  .meta({ id: 'ResetEvent', additionalProperties: true })

export const endReasons = ['shutdown', 'lifetime', 'expired', 'revoked', 'slow_reader'] as const
export type EndReason = (typeof endReasons)[number]

export const EndEvent = z
  .object({
    type: z.literal('end').meta({ description: 'The last event of this stream.' }),
    reason: z.enum(endReasons).meta({
      description:
        'shutdown, lifetime: resume at once. expired, revoked: get a new credential first. slow_reader: this reader did not keep up; resume.',
    }),
  })
  .meta({ id: 'EndEvent', additionalProperties: true })

/** Everything that a stream may bring. */
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
      .meta({ description: 'Comes every 20 seconds, so that silence means a dead connection.' }),
  })
  .meta({ id: 'HeartbeatEvent', additionalProperties: true })

/** The same as plain server-sent events, where signs of life are events as well. */
export const RestStreamEvent = z
  .discriminatedUnion('type', [...StreamEvent.options, HeartbeatEvent])
  .meta({ id: 'StreamEvent' })

export function toEvent({ event, room, message, epoch }: LoggedEvent): Event {
  const { position, org_id: orgId, room_id: roomId } = event
  const base = {
    ...toLogPlace({ orgId, position, epoch }),
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
      if (!message) throw new Error(`event ${orgId} ${position} has lost its message`)
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

export const exampleEvent = {
  type: 'message.created',
  position: 17,
  cursor: 'ZToxNzo4Zk1vX2J3Zw.k3Jx9Q',
  orgId: 'DOWELL12345',
  roomId: exampleMessage.roomId,
  createdAt: exampleMessage.createdAt,
  message: exampleMessage,
}
