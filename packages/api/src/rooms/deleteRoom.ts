import { setRoomActive } from '@dowell-chat/db'
import { z } from 'zod'
import { type Actor, scopeOf } from '../auth/actor.ts'
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
 * @throws AppError NOT_FOUND; ROOM_ALREADY_ACTIVE when a restored room would be a second active one
 */
export async function deleteRoom(
  deps: Deps,
  actor: Actor,
  { roomId, isActive = false }: z.output<typeof input>,
): Promise<Room> {
  try {
    const row = await deps.db.write((tx) =>
      setRoomActive(tx, { orgId: scopeOf(actor), roomId, isActive, now: deps.clock() }),
    )
    if (!row) throw roomNotFound()
    return toRoom(row)
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
    errors: ['NOT_FOUND', 'ROOM_ALREADY_ACTIVE'],
    example: { input: { roomId: exampleRoom.id }, output: { ...exampleRoom, isActive: false } },
  })
  .input(input)
  .output(Room)
  .mutation(({ ctx, input }) => deleteRoom(ctx.deps, ctx.actor, input))
