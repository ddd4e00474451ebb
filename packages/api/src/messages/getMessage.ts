import { findMessage } from '@dowell-chat/db'
import { z } from 'zod'
import { readers } from '../operation/access.ts'
import { query } from '../operation/operation.ts'
import { getRoomOrThrow } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { messageNotFound } from './policy.ts'
import { exampleMessage, Message, messageId, toMessage } from './schema.ts'

const input = z.strictObject({ roomId, messageId })

/** Returns one message; a deleted one too. @throws AppError FORBIDDEN; NOT_FOUND */
export const getMessage = query({
  access: readers,
  cost: 'read',
  input,
  output: Message,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    path: '/api/v3/rooms/{roomId}/messages/{messageId}',
    tag: 'messages',
    summary: 'Read a message',
    description: 'A deleted message stays readable, with `isActive` false and an empty text.',
    resource: (message) => message,
  },
  example: {
    input: { roomId: exampleMessage.roomId, messageId: exampleMessage.id },
    output: exampleMessage,
  },
  async run(call, { roomId, messageId }) {
    const { org_id: orgId } = await getRoomOrThrow(call, roomId)
    const message = await findMessage(call.deps.db.read, { orgId, roomId, messageId })
    if (!message) throw messageNotFound()
    return toMessage(message)
  },
})
