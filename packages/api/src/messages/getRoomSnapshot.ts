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
import { pageEpochOf } from '../encoding/cursorEpoch.ts'
import { reader, unreadOfReader } from '../encoding/fields.ts'
import { DEFAULT_LIMIT, pageInput } from '../encoding/paging.ts'
import { exampleEvent, logPosition, toLogPosition } from '../events/schema.ts'
import { readers } from '../operation/access.ts'
import { query } from '../operation/operation.ts'
import { exampleReadMarker, ReadMarker, toReadMarker } from '../reading/schema.ts'
import { roomNotFound, roomViewOf } from '../rooms/policy.ts'
import { exampleRoom, Room, roomId } from '../rooms/schema.ts'
import { exampleMessagePage, MessagePage, readPage } from './page.ts'

const MAX_MARKERS = 100

const input = z.strictObject({ roomId, limit: pageInput.limit, ...reader })

const output = z
  .object({
    room: Room,
    unread: unreadOfReader,
    messages: MessagePage,
    markers: z.array(ReadMarker).meta({
      description: `The read marker of the room's customer, and the ${MAX_MARKERS} others that moved last.`,
    }),
    ...logPosition,
  })
  .meta({ id: 'RoomSnapshot', additionalProperties: true })

/** Reads the customer's marker, then those that moved last. */
async function readMarkers(db: Database['read'], room: RoomRow): Promise<ReadMarker[]> {
  const where = { orgId: room.org_id, roomId: room.id }
  const customer = await findReadMarker(db, { ...where, side: false, userId: room.user_id })
  const newest = await newestReadMarkers(db, { ...where, limit: MAX_MARKERS + 1 })
  const others = newest.filter(({ side, user_id }) => side === 1 || user_id !== room.user_id)
  return [...(customer ? [customer] : []), ...others.slice(0, MAX_MARKERS)].map(toReadMarker)
}

/**
 * Reads a room with its newest messages and read markers at one moment; a deleted room too. A stream that begins at its
 * cursor sends exactly the later events.
 *
 * @throws AppError NOT_FOUND; FORBIDDEN, also when the input names another reader than the token's; BAD_REQUEST for only
 *   one of readerId and readerSide
 */
export const getRoomSnapshot = query({
  access: readers,
  cost: 'read',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    path: '/api/v3/rooms/{roomId}/snapshot',
    tag: 'rooms',
    summary: 'Read a snapshot of a room',
    description:
      'The room, its newest messages (about 1 MiB at most) and its read markers at one moment. A stream that begins at `cursor` continues from exactly there.',
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
  async run(call, { roomId, limit = DEFAULT_LIMIT, readerId, readerSide }) {
    const { deps, actor, scope, atVersion } = call
    const view = await roomViewOf(call)
    const reader = resolveParticipant(actor, ['readerId', readerId], ['readerSide', readerSide])
    return deps.db.snapshot(async (db) => {
      const room = await findRoom(db, { ...scope, roomId })
      if (!room) throw roomNotFound()
      const { org_id: orgId } = room
      const bounds = await eventLogBounds(db, { orgId })
      const { head, epoch } = bounds
      // A moved marker, and so a changed unread count, appends an event and changes the head.
      atVersion?.(JSON.stringify([view.versionOf(room), head, epoch, reader]))
      const unread = reader && (await unreadCounts(db, { orgId, roomIds: [roomId], ...reader }))
      return {
        room: view.toRoom(room),
        unread: unread?.get(roomId) ?? null,
        messages: await readPage(db, room, limit, { kind: 'newest' }, pageEpochOf(bounds)),
        markers: await readMarkers(db, room),
        ...toLogPosition({ orgId, position: head, epoch }),
      }
    })
  },
})
