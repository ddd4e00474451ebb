import {
  findMessage,
  findRoomForUpdate,
  type MessageRow,
  type RoomRow,
  type RoomScope,
  type Transaction,
} from '@dowell-chat/db'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { AppError, badField } from '../errors.ts'
import { isLongerThan } from '../fields.ts'
import { roomNotFound } from '../rooms/policy.ts'

/** @throws AppError BAD_REQUEST for a text that is longer than the server is configured to take */
export function requireFittingText({ limits }: Deps, messageData: string): void {
  if (!isLongerThan(messageData, limits.messageMaxChars)) return
  throw badField('messageData', `must have at most ${limits.messageMaxChars} characters`)
}

/**
 * A message that this caller may change, and its room: for a token only what its own user wrote, on its own side.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND
 */
export async function changeableMessage(
  tx: Transaction,
  actor: Actor,
  where: RoomScope & { roomId: string; messageId: string },
): Promise<{ room: RoomRow; message: MessageRow }> {
  const room = await findRoomForUpdate(tx, where)
  if (!room) throw roomNotFound()
  const message = await findMessage(tx, { ...where, orgId: room.org_id })
  if (!message)
    throw new AppError('NOT_FOUND', { message: 'There is no such message in this room' })
  const isOwn =
    actor.kind !== 'user' ||
    (message.author === actor.userId && (message.side === 1) === actor.side)
  if (!isOwn) throw new AppError('FORBIDDEN', { message: 'Somebody else wrote this message' })
  return { room, message }
}
