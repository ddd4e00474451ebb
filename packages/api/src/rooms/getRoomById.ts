import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import type { AtVersion, Deps } from '../operation/context.ts'
import { procedure } from '../operation/trpc.ts'
import { readableRoom, versionOf } from './policy.ts'
import { exampleRoom, Room, roomId, toRoom } from './schema.ts'

const input = z.strictObject({ roomId })

/** Answers a room, deleted ones too. @throws AppError NOT_FOUND */
export async function getRoomById(
  deps: Deps,
  actor: Actor,
  { roomId }: z.output<typeof input>,
  atVersion?: AtVersion,
): Promise<Room> {
  const room = await readableRoom(deps, actor, 'getRoomById', roomId)
  atVersion?.(versionOf(room))
  return toRoom(room)
}

export const getRoomByIdProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/rooms/{roomId}',
      tags: ['rooms'],
      summary: 'Read a room',
      description: 'Deleted rooms stay readable, with `isActive` false.',
    },
    output: Room,
    errors: ['NOT_FOUND'],
    example: { input: { roomId: exampleRoom.id }, output: exampleRoom },
  })
  .input(input)
  .query(({ ctx, input }) => getRoomById(ctx.deps, ctx.actor, input, ctx.atVersion))
