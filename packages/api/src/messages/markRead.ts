import {
  appendEvent,
  findReadMarker,
  findRoomForKeyShare,
  moveReadMarker,
  unreadCounts,
} from '@dowell-chat/db'
import { z } from 'zod'
import { authorise } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import { requirePerson } from '../auth/person.ts'
import type { Deps } from '../context.ts'
import { exampleReadMarker, ReadMarker, toReadMarker } from '../events/schema.ts'
import { reader, unread } from '../fields.ts'
import { roomNotFound } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { procedure } from '../trpc.ts'

const seqText = 'must be a whole number, 0 or more'

const input = z.strictObject({
  roomId,
  seq: z
    .int({ error: (issue) => (issue.input === undefined ? 'is required' : seqText) })
    .nonnegative({ error: seqText })
    .meta({
      description:
        "The last message that was read. Beyond the room's last message it means that one.",
      example: exampleReadMarker.seq,
    }),
  ...reader,
})

const output = z
  .object({ marker: ReadMarker, unread })
  .meta({ id: 'MarkReadResult', additionalProperties: true })

/**
 * Moves a reader's marker forward to a message of the room, of deleted rooms too. One that is there already, or further,
 * stays as it is.
 *
 * @throws AppError FORBIDDEN; BAD_REQUEST when a caller without a user token names no reader; NOT_FOUND
 */
export async function markRead(
  deps: Deps,
  actor: Actor,
  { roomId, seq, readerId, readerSide }: z.output<typeof input>,
): Promise<z.output<typeof output>> {
  const scope = authorise(actor, 'markRead')
  const reader = requirePerson(actor, ['readerId', readerId], ['readerSide', readerSide])
  return deps.db.write(async (tx) => {
    const room = await findRoomForKeyShare(tx, { ...scope, roomId })
    if (!room) throw roomNotFound()
    const { org_id: orgId } = room
    const now = deps.clock()
    const where = { orgId, roomId, ...reader }
    const moved = await moveReadMarker(tx, { ...where, seq: Math.min(seq, room.last_seq), now })
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
    const marker = moved ?? (await findReadMarker(tx, where))
    if (!marker) throw new Error('a read marker neither moved nor is there')
    const unread = await unreadCounts(tx, { orgId, roomIds: [roomId], ...reader })
    return { marker: toReadMarker(marker), unread: unread.get(roomId) ?? 0 }
  })
}

export const markReadProcedure = procedure
  .meta({
    openapi: {
      method: 'PUT',
      path: '/api/v3/rooms/{roomId}/read-marker',
      tags: ['messages'],
      summary: 'Mark messages as read',
      description:
        'Up to and including one. A marker never goes back: an earlier message changes nothing, and the marker is answered as it is.',
    },
    output,
    errors: ['NOT_FOUND'],
    example: {
      input: {
        roomId: exampleReadMarker.roomId,
        seq: exampleReadMarker.seq,
        readerId: exampleReadMarker.userId,
        readerSide: exampleReadMarker.side,
      },
      output: { marker: exampleReadMarker, unread: 0 },
    },
  })
  .input(input)
  .mutation(({ ctx, input }) => markRead(ctx.deps, ctx.actor, input))
