import { softDeleteMessage } from '@dowell-chat/db'
import { z } from 'zod'
import { writers } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
import { assertVersion, ifVersion } from '../operation/preconditions.ts'
import { roomId } from '../rooms/schema.ts'
import { findEditableMessage } from './policy.ts'
import { recordMessageChange } from './recordMessageChange.ts'
import { exampleMessage, Message, messageId, toMessage } from './schema.ts'

const input = z.strictObject({ roomId, messageId, ifVersion })

/**
 * Erases the text of a message for good; in a deleted room too. The message keeps its `seq`. Repeating it does nothing.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND, PRECONDITION_FAILED
 */
export const deleteMessage = mutation({
  access: writers,
  cost: 'write',
  input,
  output: Message,
  errors: ['NOT_FOUND', 'PRECONDITION_FAILED'],
  rest: {
    method: 'DELETE',
    path: '/api/v3/rooms/{roomId}/messages/{messageId}',
    tag: 'messages',
    summary: 'Delete a message',
    description:
      'Erases the text for good. The message keeps its place and `seq`, with `isActive` false. Works in deleted rooms too. With a user token you can delete only messages of its user.',
    resource: (message) => message,
  },
  example: {
    input: { roomId: exampleMessage.roomId, messageId: exampleMessage.id },
    output: {
      ...exampleMessage,
      messageData: '',
      isActive: false,
      deletedAt: '2023-08-29T05:11:00.000Z',
      version: 2,
    },
  },
  async run(call, { roomId, messageId, ifVersion }) {
    const { deps, actor, scope } = call
    return deps.db.write(async (tx) => {
      const { message } = await findEditableMessage(tx, actor, { ...scope, roomId, messageId })
      assertVersion(call, ifVersion, message.text_version)
      if (message.is_active === 0) return toMessage(message)
      const { org_id: orgId, seq } = message
      const row = await softDeleteMessage(tx, { orgId, roomId, seq, now: deps.clock() })
      await recordMessageChange(deps, tx, actor, 'message.deleted', row)
      return toMessage(row)
    })
  },
})
