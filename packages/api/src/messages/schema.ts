import type { MessageRow } from '@dowell-chat/db'
import { z } from 'zod'
import {
  boolean,
  clientMessageId,
  id,
  messageText,
  messageType,
  name,
  time,
} from '../encoding/fields.ts'
import { versionField } from '../operation/preconditions.ts'

const side = boolean.meta({ description: 'False: the customer. True: the support team.' })

export const messageId = id.meta({
  description: "The message's id.",
  example: '64ed7d9da57293efb539eb1a',
})

export const messageInput = {
  messageData: messageText.meta({ example: 'message' }),
  side,
  author: name.meta({ description: 'Any name or id of the sender.', example: 'client' }),
  messageType: messageType.default('text'),
  clientMessageId: clientMessageId
    .meta({
      description:
        'Makes the request idempotent: the same id with the same content returns the stored message.',
    })
    .optional(),
}

export const Message = z
  .object({
    id,
    roomId: id,
    seq: z.int().positive().meta({
      description: 'Position in the room: 1, 2, 3 … without gaps. Messages are in this order.',
      example: 1,
    }),
    messageData: z.string(),
    side,
    author: z.string(),
    messageType: z.string(),
    clientMessageId: z
      .string()
      .nullable()
      .meta({ description: "The sender's own id of this message; null: none." }),
    isActive: z
      .boolean()
      .meta({ description: 'False once the message is deleted. Then `messageData` is empty.' }),
    createdAt: time,
    editedAt: time.nullable().meta({ description: 'When the text was last changed; null: never.' }),
    deletedAt: time
      .nullable()
      .meta({ description: 'When the message was deleted; null: not deleted.' }),
    version: versionField('the text'),
  })
  .meta({ id: 'Message', additionalProperties: true })
export type Message = z.output<typeof Message>

export function toMessage(row: MessageRow): Message {
  return {
    id: row.id,
    roomId: row.room_id,
    seq: row.seq,
    messageData: row.message_data,
    side: row.side === 1,
    author: row.author,
    messageType: row.message_type,
    clientMessageId: row.client_message_id,
    isActive: row.is_active === 1,
    createdAt: new Date(row.created_at),
    editedAt: row.edited_at === null ? null : new Date(row.edited_at),
    deletedAt: row.deleted_at === null ? null : new Date(row.deleted_at),
    version: row.text_version,
  }
}

export const exampleMessage = {
  id: '64ed7d9da57293efb539eb1a',
  roomId: '64ed7d75a57293efb539eb19',
  seq: 1,
  messageData: 'message',
  side: true,
  author: 'client',
  messageType: 'text',
  clientMessageId: null,
  isActive: true,
  createdAt: '2023-08-29T05:10:21.000Z',
  editedAt: null,
  deletedAt: null,
  version: 1,
}
