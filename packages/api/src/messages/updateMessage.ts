import { editMessage } from '@dowell-chat/db'
import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { authorise } from '../operation/access.ts'
import type { Deps } from '../operation/context.ts'
import { AppError } from '../operation/errors.ts'
import { procedure } from '../operation/trpc.ts'
import { roomId } from '../rooms/schema.ts'
import { changeableMessage, requireFittingText } from './policy.ts'
import { recordChange } from './recordChange.ts'
import { exampleMessage, Message, messageId, messageInput, toMessage } from './schema.ts'

const input = z.strictObject({ roomId, messageId, messageData: messageInput.messageData })

/**
 * Gives a message another text. The text that it has already changes nothing.
 *
 * @throws AppError FORBIDDEN, BAD_REQUEST, NOT_FOUND, MESSAGE_DELETED, ROOM_CLOSED
 */
export async function updateMessage(
  deps: Deps,
  actor: Actor,
  { roomId, messageId, messageData }: z.output<typeof input>,
): Promise<Message> {
  const scope = authorise(actor, 'updateMessage')
  requireFittingText(deps, messageData)
  return deps.db.write(async (tx) => {
    const { room, message } = await changeableMessage(tx, actor, { ...scope, roomId, messageId })
    if (message.is_active === 0) throw new AppError('MESSAGE_DELETED')
    if (message.message_data === messageData) return toMessage(message)
    if (room.is_active === 0) {
      throw new AppError('ROOM_CLOSED', {
        message: 'The room is deleted: its messages stay as they are',
      })
    }
    const { org_id: orgId, seq } = message
    const row = await editMessage(tx, { orgId, roomId, seq, messageData, now: deps.clock() })
    await recordChange(deps, tx, actor, 'message.updated', row)
    return toMessage(row)
  })
}

export const updateMessageProcedure = procedure
  .meta({
    openapi: {
      method: 'PATCH',
      path: '/api/v3/rooms/{roomId}/messages/{messageId}',
      tags: ['messages'],
      summary: 'Edit a message',
      description:
        'Gives a message another text and notes when. A user token edits only what its own user wrote.',
    },
    output: Message,
    errors: ['NOT_FOUND', 'MESSAGE_DELETED', 'ROOM_CLOSED'],
    example: {
      input: { roomId: exampleMessage.roomId, messageId: exampleMessage.id, messageData: 'edited' },
      output: { ...exampleMessage, messageData: 'edited', editedAt: '2023-08-29T05:11:00.000Z' },
    },
  })
  .input(input)
  .mutation(({ ctx, input }) => updateMessage(ctx.deps, ctx.actor, input))
