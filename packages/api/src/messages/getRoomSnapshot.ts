import {
  type Database,
  eventLogBounds,
  findReadMarker,
  findRoom,
  newestReadMarkers,
  type RoomRow,
  unreadCounts,
} from '@dowell-chat/db'
import { z } from 'zod'
import { resolveParticipant } from '../auth/participant.ts'
import { reader, unreadOfReader } from '../encoding/fields.ts'
import { DEFAULT_LIMIT, pageInput } from '../encoding/paging.ts'
import {
  exampleEvent,
  exampleReadMarker,
  logPlace,
  ReadMarker,
  toLogPlace,
  toReadMarker,
} from '../events/schema.ts'
import { query } from '../operation/operation.ts'
import { roomNotFound, versionOf } from '../rooms/policy.ts'
import { exampleRoom, Room, roomId, toRoom } from '../rooms/schema.ts'
import { exampleMessagePage, MessagePage, messagePage } from './page.ts'

const MAX_MARKERS = 100

const input = z.strictObject({ roomId, limit: pageInput.limit, ...reader })

const output = z
  .object({
    room: Room,
    unread: unreadOfReader,
    messages: MessagePage,
    markers: z.array(ReadMarker).meta({
      description: `How far the room's customer has read, and the ${MAX_MARKERS} others whose markers moved last.`,
    }),
    ...logPlace,
  })
  .meta({ id: 'RoomSnapshot', additionalProperties: true })

/** The customer's first. */
async function markersOf(db: Database['read'], room: RoomRow): Promise<ReadMarker[]> {
  const where = { orgId: room.org_id, roomId: room.id }
  const customer = await findReadMarker(db, { ...where, side: false, userId: room.user_id })
  const newest = await newestReadMarkers(db, { ...where, limit: MAX_MARKERS + 1 })
  const others = newest.filter(({ side, user_id }) => side === 1 || user_id !== room.user_id)
  return [...(customer ? [customer] : []), ...others.slice(0, MAX_MARKERS)].map(toReadMarker)
}

/**
 * A room with its newest messages and read markers, deleted rooms too, and the place in the event log at which it looked
 * like this: a stream that begins there brings all that came after, and nothing else.
 *
 * @throws AppError NOT_FOUND; FORBIDDEN when a token names another reader; BAD_REQUEST for half of a reader
 */
export const getRoomSnapshot = query({
  access: {
    open: 'any',
    adminKey: 'organisation',
    supportKey: 'organisation',
    readKey: 'organisation',
    supportToken: 'organisation',
    customerToken: 'own',
  },
  cost: 'read',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    path: '/api/v3/rooms/{roomId}/snapshot',
    tag: 'rooms',
    summary: 'Read a room as it is at one moment',
    description:
      'The room, its newest messages (about 1 MiB at most) and read markers, and the cursor for a stream that goes on from exactly there.',
  },
  example: {
    input: { roomId: exampleRoom.id, limit: 50 },
    output: {
      room: exampleRoom,
      unread: null,
      messages: exampleMessagePage,
      markers: [exampleReadMarker],
      position: exampleEvent.position,
      cursor: exampleEvent.cursor,
    },
  },
  async run(
    { deps, actor, scope, atVersion },
    { roomId, limit = DEFAULT_LIMIT, readerId, readerSide },
  ) {
    const reader = resolveParticipant(actor, ['readerId', readerId], ['readerSide', readerSide])
    return deps.db.snapshot(async (db) => {
      const room = await findRoom(db, { ...scope, roomId })
      if (!room) throw roomNotFound()
      const { org_id: orgId } = room
      const { head, epoch } = await eventLogBounds(db, { orgId })
      // Whatever moves a marker, and so an unread count, appends an event.
      atVersion?.(JSON.stringify([versionOf(room), head, epoch, reader]))
      const unread = reader && (await unreadCounts(db, { orgId, roomIds: [roomId], ...reader }))
      return {
        room: toRoom(room),
        unread: unread?.get(roomId) ?? null,
        messages: await messagePage(db, room, limit, { kind: 'newest' }),
        markers: await markersOf(db, room),
        ...toLogPlace({ orgId, position: head, epoch }),
      }
    })
  },
})
