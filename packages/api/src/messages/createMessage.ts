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
import { authorise } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { AppError } from '../errors.ts'
import { newId } from '../identifiers.ts'
import { roomNotFound } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { procedure } from '../trpc.ts'
import { requireFittingText } from './policy.ts'
import { exampleMessage, Message, messageInput, toMessage } from './schema.ts'

const input = z.strictObject({ roomId, ...messageInput })
type Input = z.output<typeof input>

const output = z
  .object({
    message: Message,
    replayed: z.boolean().meta({
      description: 'True when this id was sent before and the first message is answered.',
    }),
  })
  .meta({ id: 'CreateMessageResult', additionalProperties: true })
type Output = z.output<typeof output>

/**
 * Stores a message as the next of its room. The answer means that it is durable.
 *
 * @throws AppError FORBIDDEN, BAD_REQUEST, NOT_FOUND, ROOM_CLOSED, IDEMPOTENCY_CONFLICT
 */
export async function createMessage(deps: Deps, actor: Actor, input: Input): Promise<Output> {
  const scope = authorise(actor, 'createMessage')
  requireOwnVoice(actor, input)
  requireFittingText(deps, input.messageData)
  const answer = await deps.db.write(async (tx) => {
    if (input.clientMessageId !== undefined) {
      const earlier = await findEarlier(tx, scope, {
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
  deps.live.typing.stop(roomId, { userId, side })
  return answer
}

/** A token speaks for one person on one side: not as the other side, nor as someone else, nor a customer as the system. */
function requireOwnVoice(actor: Actor, { side, author, messageType }: Input): void {
  if (actor.kind !== 'user') return
  const asSystem = !actor.side && messageType.toLowerCase() === 'system'
  const errors = {
    ...(side === actor.side ? {} : { side: [`must be ${actor.side}, the side of the token`] }),
    ...(author === actor.userId ? {} : { author: ['must be the user of the token'] }),
    ...(asSystem ? { messageType: ['must not be system from a customer'] } : {}),
  }
  if (Object.keys(errors).length > 0) throw new AppError('FORBIDDEN', { errors })
}

/** The message that this sender stored under this id; a retry is answered even after the room was deleted. */
async function findEarlier(
  tx: Transaction,
  scope: RoomScope,
  input: Input & { clientMessageId: string },
): Promise<MessageRow | undefined> {
  const room = await findRoom(tx, { ...scope, roomId: input.roomId })
  if (!room) throw roomNotFound()
  const earlier = await findMessageByClientId(tx, { ...input, orgId: room.org_id })
  if (!earlier) return undefined
  const same =
    earlier.message_data === input.messageData && earlier.message_type === input.messageType
  // What was sent cannot be compared any more once it was changed.
  const changed = earlier.edited_at !== null || earlier.deleted_at !== null
  if (!same && !changed) throw new AppError('IDEMPOTENCY_CONFLICT')
  return earlier
}

export const createMessageProcedure = procedure
  .meta({
    openapi: {
      method: 'POST',
      path: '/api/v3/rooms/{roomId}/messages',
      tags: ['messages'],
      summary: 'Send a message',
      description:
        'Stores the message as the next of its room; the answer means that it is durable. Text of up to 16,000 characters, unless the server is configured otherwise.',
    },
    output,
    errors: ['NOT_FOUND', 'ROOM_CLOSED', 'IDEMPOTENCY_CONFLICT'],
    rest: {
      created: (answer: Output) => !answer.replayed,
      repeated: {
        message: { ...exampleMessage, clientMessageId: '0192f3a1-7c1e-4d3b' },
        replayed: true,
      },
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
  })
  .input(input)
  .mutation(({ ctx, input }) => createMessage(ctx.deps, ctx.actor, input))
