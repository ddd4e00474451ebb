import {
  findMessage,
  findRoomForUpdate,
  type MessageRow,
  type RoomRow,
  type RoomScope,
  type Transaction,
} from '@dowell-chat/db'
import type { Actor } from '../auth/actor.ts'
import { findNameError, isLongerThan } from '../encoding/fields.ts'
import { trimBlanks } from '../encoding/text.ts'
import type { Deps } from '../operation/context.ts'
import { AppError, badField } from '../operation/errors.ts'
import { roomNotFound } from '../rooms/policy.ts'

export function messageNotFound(): AppError {
  return new AppError('NOT_FOUND', { message: 'There is no such message in this room' })
}

/** @throws AppError BAD_REQUEST for a text that is longer than the configured limit */
export function assertMessageLength({ limits }: Deps, messageData: string): void {
  if (!isLongerThan(messageData, limits.messageMaxChars)) return
  throw badField('messageData', `must have at most ${limits.messageMaxChars} characters`)
}

/**
 * Returns the author of a new message, without blanks at its ends. A token's user is the author under any id that exists.
 *
 * @param field the input field that names the author
 * @throws AppError BAD_REQUEST for a name that breaks the rules
 */
export function newAuthor(actor: Actor, author: string, field: string): string {
  if (actor.kind === 'user') return author
  const trimmed = trimBlanks(author)
  const error = findNameError(trimmed)
  if (error !== undefined) throw badField(field, error)
  return trimmed
}

/**
 * Finds a message that the caller may change, and its room. A user token may change only messages of its user and side.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND
 */
export async function findEditableMessage(
  tx: Transaction,
  actor: Actor,
  where: RoomScope & { roomId: string; messageId: string },
): Promise<{ room: RoomRow; message: MessageRow }> {
  const room = await findRoomForUpdate(tx, where)
  if (!room) throw roomNotFound()
  const message = await findMessage(tx, { ...where, orgId: room.org_id })
  if (!message) throw messageNotFound()
  const isOwn =
    actor.kind !== 'user' ||
    (message.author === actor.userId && (message.side === 1) === actor.side)
  if (!isOwn) throw new AppError('FORBIDDEN', { message: 'Another user wrote this message' })
  return { room, message }
}
