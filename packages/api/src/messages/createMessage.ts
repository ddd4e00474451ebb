import {
  appendEvent,
  appendMessage,
  findMessageByClientId,
  findRoom,
  type MessageRow,
  type RoomScope,
  type Transaction,
} from '@dowell-chat/db'
import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { newId } from '../identifiers.ts'
import { writers } from '../operation/access.ts'
import { AppError } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { roomNotFound } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { isFirstText } from './firstText.ts'
import { assertMessageLength, newAuthor } from './policy.ts'
import { exampleMessage, Message, messageInput, toMessage } from './schema.ts'

const input = z.strictObject({ roomId, ...messageInput })
type Input = z.output<typeof input>

const output = z
  .object({
    message: Message,
    replayed: z.boolean().meta({
      description: 'True when the message of an earlier request with this id is returned.',
    }),
  })
  .meta({ id: 'CreateMessageResult', additionalProperties: true })
type Output = z.output<typeof output>

/** A user token sends only as its user and side, and a customer never as the system. @throws AppError FORBIDDEN */
function assertSenderMatchesToken(actor: Actor, { side, author, messageType }: Input): void {
  if (actor.kind !== 'user') return
  const isSystemFromCustomer = !actor.side && messageType.toLowerCase() === 'system'
  const errors = {
    ...(side === actor.side ? {} : { side: [`must be ${actor.side}, the side of the token`] }),
    ...(author === actor.userId ? {} : { author: ['must be the user of the token'] }),
    ...(isSystemFromCustomer ? { messageType: ['must not be system from a customer'] } : {}),
  }
  if (Object.keys(errors).length > 0) throw new AppError('FORBIDDEN', { errors })
}

/**
 * Finds the message of an earlier attempt, in a deleted room too.
 *
 * @throws AppError NOT_FOUND; IDEMPOTENCY_CONFLICT when it had another content
 */
async function findEarlierMessage(
  tx: Transaction,
  scope: RoomScope,
  input: Input & { clientMessageId: string },
): Promise<MessageRow | undefined> {
  const room = await findRoom(tx, { ...scope, roomId: input.roomId })
  if (!room) throw roomNotFound()
  const earlier = await findMessageByClientId(tx, { ...input, orgId: room.org_id })
  if (!earlier) return undefined
  // Of a deleted message nothing is left to compare with.
  if (earlier.deleted_at !== null) return earlier
  const content = { message_type: input.messageType, message_data: input.messageData }
  const isSame =
    earlier.edited_at === null
      ? earlier.message_data === content.message_data &&
        earlier.message_type === content.message_type
      : await isFirstText(tx, earlier, content)
  if (!isSame) throw new AppError('IDEMPOTENCY_CONFLICT')
  return earlier
}

/**
 * Stores a message as the next one of its room. It is durable once the call resolves.
 *
 * @throws AppError FORBIDDEN, BAD_REQUEST, NOT_FOUND, ROOM_CLOSED, IDEMPOTENCY_CONFLICT
 */
export const createMessage = mutation({
  access: writers,
  cost: 'write',
  input,
  output,
  errors: ['NOT_FOUND', 'ROOM_CLOSED', 'IDEMPOTENCY_CONFLICT'],
  rest: {
    method: 'POST',
    path: '/api/v3/rooms/{roomId}/messages',
    tag: 'messages',
    summary: 'Send a message',
    description:
      'Stores the message as the next one of its room. It is durable when you get the response. Text of up to 16,000 characters, unless the server is configured otherwise.',
    created: (result: Output) => !result.replayed,
    repeated: {
      message: { ...exampleMessage, clientMessageId: '0192f3a1-7c1e-4d3b' },
      replayed: true,
    },
    resource: ({ message }) => message,
  },
  example: {
    input: {
      roomId: exampleMessage.roomId,
      messageData: 'message',
      side: true,
      author: 'client',
      messageType: 'text',
    },
    output: { message: exampleMessage, replayed: false },
  },
  async run({ deps, actor, scope }, sent) {
    assertSenderMatchesToken(actor, sent)
    assertMessageLength(deps, sent.messageData)
    const input = { ...sent, author: newAuthor(actor, sent.author, 'author') }
    const result = await deps.db.write(async (tx) => {
      if (input.clientMessageId !== undefined) {
        const earlier = await findEarlierMessage(tx, scope, {
          ...input,
          clientMessageId: input.clientMessageId,
        })
        if (earlier) return { message: toMessage(earlier), replayed: true }
      }
      const now = deps.clock()
      const where = { ...scope, roomId: input.roomId }
      const row = await appendMessage(tx, where, {
        id: newId(deps),
        side: input.side ? 1 : 0,
        author: input.author,
        message_type: input.messageType,
        message_data: input.messageData,
        client_message_id: input.clientMessageId ?? null,
        created_at: now,
      })
      if (!row) throw (await findRoom(tx, where)) ? new AppError('ROOM_CLOSED') : roomNotFound()
      appendEvent(tx, {
        type: 'message.created',
        org_id: row.org_id,
        room_id: row.room_id,
        message_seq: row.seq,
        created_at: now,
      })
      return { message: toMessage(row), replayed: false }
    })
    const { roomId, author: userId, side } = input
    const { typing } = deps.live
    // The author of a user token is its user.
    if (actor.kind === 'user') typing.stop(roomId, { userId, side })
    else typing.stopSender(roomId, { userId, side })
    return result
  },
})
