import { appendEvent, findRoomForUpdate, updateRoomDetails } from '@dowell-chat/db'
import { z } from 'zod'
import { authorise } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { procedure } from '../trpc.ts'
import { roomNotFound } from './policy.ts'
import { exampleRoom, Room, roomDetails, roomId, toRoom } from './schema.ts'

const input = z.strictObject({ roomId, ...z.object(roomDetails).partial().shape })

/**
 * Changes what is said of a room, a deleted one too; what is left out stays. What is so already changes nothing.
 *
 * @throws AppError FORBIDDEN, BAD_REQUEST, NOT_FOUND
 */
export async function updateRoom(
  deps: Deps,
  actor: Actor,
  { roomId, ...changes }: z.output<typeof input>,
): Promise<Room> {
  const scope = authorise(actor, 'updateRoom')
  return deps.db.write(async (tx) => {
    const before = await findRoomForUpdate(tx, { ...scope, roomId })
    if (!before) throw roomNotFound()
    const { subject = before.subject, status = before.status, assignee = before.assignee } = changes
    const labels = changes.labels ? JSON.stringify(changes.labels) : before.labels
    const custom = changes.custom ? JSON.stringify(changes.custom) : before.custom
    const details = { subject, status, assignee, labels, custom }
    const keys = Object.keys(details) as (keyof typeof details)[]
    if (keys.every((key) => details[key] === before[key])) return toRoom(before)
    const now = deps.clock()
    const { org_id: orgId } = before
    const row = await updateRoomDetails(tx, { ...details, orgId, roomId, now })
    appendEvent(tx, { type: 'room.updated', org_id: orgId, room_id: roomId, created_at: now })
    return toRoom(row)
  })
}

export const updateRoomProcedure = procedure
  .meta({
    openapi: {
      method: 'PATCH',
      path: '/api/v3/rooms/{roomId}',
      tags: ['rooms'],
      summary: 'Describe a room',
      description:
        'Sets subject, status, assignee, labels and your own data; what is left out stays as it is. For the support team.',
    },
    output: Room,
    errors: ['NOT_FOUND'],
    example: {
      input: { roomId: exampleRoom.id, status: 'pending', labels: ['billing'] },
      output: { ...exampleRoom, status: 'pending', labels: ['billing'] },
    },
  })
  .input(input)
  .mutation(({ ctx, input }) => updateRoom(ctx.deps, ctx.actor, input))
