import { softDeleteMessage } from '@dowell-chat/db'
import { z } from 'zod'
import { authorise } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { roomId } from '../rooms/schema.ts'
import { procedure } from '../trpc.ts'
import { changeableMessage } from './policy.ts'
import { recordChange } from './recordChange.ts'
import { exampleMessage, Message, messageId, toMessage } from './schema.ts'

const input = z.strictObject({ roomId, messageId })

/**
 * Deletes a message: its text is gone for good, in a deleted room too; its place and `seq` stay. Deleting a deleted one
 * changes nothing.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND
 */
export async function deleteMessage(
  deps: Deps,
  actor: Actor,
  { roomId, messageId }: z.output<typeof input>,
): Promise<Message> {
  const scope = authorise(actor, 'deleteMessage')
  return deps.db.write(async (tx) => {
    const { message } = await changeableMessage(tx, actor, { ...scope, roomId, messageId })
    if (message.is_active === 0) return toMessage(message)
    const { org_id: orgId, seq } = message
    const row = await softDeleteMessage(tx, { orgId, roomId, seq, now: deps.clock() })
    await recordChange(deps, tx, actor, 'message.deleted', row)
    return toMessage(row)
  })
}

export const deleteMessageProcedure = procedure
  .meta({
    openapi: {
      method: 'DELETE',
      path: '/api/v3/rooms/{roomId}/messages/{messageId}',
      tags: ['messages'],
      summary: 'Delete a message',
      description:
        'Its text is gone for good; its place and `seq` stay, with `isActive` false. Possible in deleted rooms too. A user token deletes only what its own user wrote.',
    },
    output: Message,
    errors: ['NOT_FOUND'],
    example: {
      input: { roomId: exampleMessage.roomId, messageId: exampleMessage.id },
      output: {
        ...exampleMessage,
        messageData: '',
        isActive: false,
        deletedAt: '2023-08-29T05:11:00.000Z',
      },
    },
  })
  .input(input)
  .mutation(({ ctx, input }) => deleteMessage(ctx.deps, ctx.actor, input))
