import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { DEFAULT_LIMIT, type Page, pageInput, placeOf } from '../paging.ts'
import { readableRoom } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { procedure } from '../trpc.ts'
import { exampleMessagePage, MessagePage, messagePage } from './page.ts'
import { exampleMessage, type Message } from './schema.ts'

const input = z.strictObject({ roomId, ...pageInput })

/**
 * A page of a room's messages, oldest first, of deleted rooms too. Without a cursor: the newest page.
 *
 * @throws AppError NOT_FOUND; BAD_REQUEST for an invalid cursor
 */
export async function getMessages(
  deps: Deps,
  actor: Actor,
  { roomId, limit = DEFAULT_LIMIT, ...place }: z.output<typeof input>,
): Promise<Page<Message>> {
  const where = placeOf('m', place)
  const room = await readableRoom(deps, actor, 'getMessages', roomId)
  return messagePage(deps.db.read, room, limit, where)
}

export const getMessagesProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/rooms/{roomId}/messages',
      tags: ['messages'],
      summary: "Read a room's messages",
      description: 'Oldest first, a page at a time; without a cursor the newest page.',
    },
    errors: ['NOT_FOUND'],
    example: {
      input: { roomId: exampleMessage.roomId, limit: 50 },
      output: exampleMessagePage,
    },
  })
  .input(input)
  .output(MessagePage)
  .query(({ ctx, input }) => getMessages(ctx.deps, ctx.actor, input))
