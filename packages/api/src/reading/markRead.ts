import {
  appendEvent,
  findReadMarker,
  findRoomForKeyShare,
  moveReadMarker,
  unreadCounts,
} from '@dowell-chat/db'
import { z } from 'zod'
import { assertParticipantId, requireParticipant } from '../auth/participant.ts'
import { reader, unread } from '../encoding/fields.ts'
import { writers } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
import { roomNotFound } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { exampleReadMarker, ReadMarker, toReadMarker } from './schema.ts'

const seqError = 'must be a whole number, 0 or more'

const input = z.strictObject({
  roomId,
  seq: z
    .int({ error: (issue) => (issue.input === undefined ? 'is required' : seqError) })
    .nonnegative({ error: seqError })
    .meta({
      description:
        "The last message that was read. A larger number than the room's last `seq` means its last message.",
      example: exampleReadMarker.seq,
    }),
  ...reader,
})

const output = z
  .object({ marker: ReadMarker, unread })
  .meta({ id: 'MarkReadResult', additionalProperties: true })

/**
 * Moves a reader's marker forward to a message of the room; a deleted room too. Never moves it back.
 *
 * @throws AppError FORBIDDEN; BAD_REQUEST when a caller without a user token names no reader; NOT_FOUND
 */
export const markRead = mutation({
  access: writers,
  cost: 'write',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'PUT',
    path: '/api/v3/rooms/{roomId}/read-marker',
    tag: 'messages',
    summary: 'Mark messages as read',
    description:
      'Moves the read marker up to and including a message. It never moves back: for an earlier message you get the unchanged marker.',
  },
  example: {
    input: {
      roomId: exampleReadMarker.roomId,
      seq: exampleReadMarker.seq,
      readerId: exampleReadMarker.userId,
      readerSide: exampleReadMarker.side,
    },
    output: { marker: exampleReadMarker, unread: 0 },
  },
  async run({ deps, actor, scope }, { roomId, seq, readerId, readerSide }) {
    const reader = requireParticipant(actor, ['readerId', readerId], ['readerSide', readerSide])
    return deps.db.write(async (tx) => {
      const room = await findRoomForKeyShare(tx, { ...scope, roomId })
      if (!room) throw roomNotFound()
      assertParticipantId(actor, 'readerId', reader, room)
      const { org_id: orgId } = room
      const now = deps.clock()
      const key = { orgId, roomId, ...reader }
      const moved = await moveReadMarker(tx, { ...key, seq: Math.min(seq, room.last_seq), now })
      if (moved) {
        appendEvent(tx, {
          type: 'marker.moved',
          org_id: orgId,
          room_id: roomId,
          marker_seq: moved.seq,
          user_id: moved.user_id,
          side: moved.side,
          created_at: now,
        })
      }
      const marker = moved ?? (await findReadMarker(tx, key))
      if (!marker) throw new Error('the read marker neither moved nor exists')
      const unread = await unreadCounts(tx, { orgId, roomIds: [roomId], ...reader })
      return { marker: toReadMarker(marker), unread: unread.get(roomId) ?? 0 }
    })
  },
})
