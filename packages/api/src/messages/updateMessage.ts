import { editMessage } from '@dowell-chat/db'
import { z } from 'zod'
import { writers } from '../operation/access.ts'
import { AppError } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { assertVersion, ifVersion } from '../operation/preconditions.ts'
import { roomId } from '../rooms/schema.ts'
import { keepFirstText } from './firstText.ts'
import { assertMessageLength, findEditableMessage } from './policy.ts'
import { recordMessageChange } from './recordMessageChange.ts'
import { exampleMessage, Message, messageId, messageInput, toMessage } from './schema.ts'

const input = z.strictObject({
  roomId,
  messageId,
  messageData: messageInput.messageData,
  ifVersion,
})

/**
 * Replaces the text of a message. Repeating it does nothing.
 *
 * @throws AppError FORBIDDEN, BAD_REQUEST, NOT_FOUND, PRECONDITION_FAILED, MESSAGE_DELETED, ROOM_CLOSED
 */
export const updateMessage = mutation({
  access: writers,
  cost: 'write',
  input,
  output: Message,
  errors: ['NOT_FOUND', 'PRECONDITION_FAILED', 'MESSAGE_DELETED', 'ROOM_CLOSED'],
  rest: {
    method: 'PATCH',
    path: '/api/v3/rooms/{roomId}/messages/{messageId}',
    tag: 'messages',
    summary: 'Edit a message',
    description:
      'Replaces the text and sets `editedAt`. With a user token you can edit only messages of its user.',
    resource: (message) => message,
    mergePatch: { members: ['messageData'] },
  },
  example: {
    input: { roomId: exampleMessage.roomId, messageId: exampleMessage.id, messageData: 'edited' },
    output: {
      ...exampleMessage,
      messageData: 'edited',
      editedAt: '2023-08-29T05:11:00.000Z',
      version: 2,
    },
  },
  async run(call, { roomId, messageId, messageData, ifVersion }) {
    const { deps, actor, scope } = call
    assertMessageLength(deps, messageData)
    return deps.db.write(async (tx) => {
      const { room, message } = await findEditableMessage(tx, actor, {
        ...scope,
        roomId,
        messageId,
      })
      assertVersion(call, ifVersion, message.text_version)
      if (message.is_active === 0) throw new AppError('MESSAGE_DELETED')
      if (message.message_data === messageData) return toMessage(message)
      if (room.is_active === 0) {
        throw new AppError('ROOM_CLOSED', {
          message: 'The room is deleted: its messages cannot be edited',
        })
      }
      const { org_id: orgId, seq } = message
      await keepFirstText(deps, tx, message)
      const row = await editMessage(tx, { orgId, roomId, seq, messageData, now: deps.clock() })
      await recordMessageChange(deps, tx, actor, 'message.updated', row)
      return toMessage(row)
    })
  },
})
