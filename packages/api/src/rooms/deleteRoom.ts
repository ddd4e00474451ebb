import { appendEvent, findRoomForUpdate, setRoomActive } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { authorise } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { AppError } from '../errors.ts'
import { boolean } from '../fields.ts'
import { procedure } from '../trpc.ts'
import { roomNotFound } from './policy.ts'
import { exampleRoom, Room, roomId, toRoom } from './schema.ts'

export const isActive = boolean.meta({
  description: 'False or left out deletes the room; true restores it.',
})

const input = z.strictObject({
  roomId,
  isActive: isActive.optional(),
})

/**
 * Deletes a room, or restores it. Nothing of it is lost: it stays listed and readable, and takes no new messages.
 * Deleting a deleted room changes nothing.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND; ROOM_ALREADY_ACTIVE when a restored room would be a second active one
 */
export async function deleteRoom(
  deps: Deps,
  actor: Actor,
  { roomId, isActive = false }: z.output<typeof input>,
): Promise<Room> {
  const scope = authorise(actor, 'deleteRoom')
  try {
    return await deps.db.write(async (tx) => {
      const before = await findRoomForUpdate(tx, { ...scope, roomId })
      if (!before) throw roomNotFound()
      if ((before.is_active === 1) === isActive) return toRoom(before)
      const { org_id: orgId } = before
      const now = deps.clock()
      const row = await setRoomActive(tx, { orgId, roomId, isActive, now })
      const action = isActive ? 'room.restored' : 'room.deleted'
      appendEvent(tx, { type: action, org_id: orgId, room_id: roomId, created_at: now })
      await appendAuditEvent(deps, tx, { actor, orgId, action, target: roomId })
      return toRoom(row ?? before)
    })
  } catch (error) {
    if (deps.db.isUniqueViolation(error)) {
      throw new AppError('ROOM_ALREADY_ACTIVE', { cause: error })
    }
    throw error
  }
}

export const deleteRoomProcedure = procedure
  .meta({
    openapi: {
      method: 'DELETE',
      path: '/api/v3/rooms/{roomId}',
      tags: ['rooms'],
      summary: 'Delete or restore a room',
      description:
        'A deleted room stays listed and readable with `isActive` false, and takes no new messages. `isActive=true` restores it.',
    },
    output: Room,
    errors: ['NOT_FOUND', 'ROOM_ALREADY_ACTIVE'],
    example: { input: { roomId: exampleRoom.id }, output: { ...exampleRoom, isActive: false } },
  })
  .input(input)
  .mutation(({ ctx, input }) => deleteRoom(ctx.deps, ctx.actor, input))
