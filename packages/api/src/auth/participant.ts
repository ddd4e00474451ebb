import { findIdError } from '../encoding/fields.ts'
import { AppError, badField } from '../operation/errors.ts'
import type { Actor } from './actor.ts'

/** A user on one of the two sides of a room. */
export interface Participant {
  readonly userId: string
  /** False: the customer. True: one of the support team. */
  readonly side: boolean
}

/** An input field by its name there. */
type Field<T> = readonly [name: string, value: T | undefined]

/**
 * Resolves the participant of a call: the user of the token, or for other callers the one in the input.
 *
 * @returns undefined when the input names none
 * @throws AppError FORBIDDEN when the input names another user than the token's; BAD_REQUEST when it has only one of the
 *   two fields
 */
export function resolveParticipant(
  actor: Actor,
  [idField, userId]: Field<string>,
  [sideField, side]: Field<boolean>,
): Participant | undefined {
  if (actor.kind === 'user') {
    const isOtherUser = userId !== undefined && userId !== actor.userId
    const isOtherSide = side !== undefined && side !== actor.side
    const errors = {
      ...(isOtherUser ? { [idField]: ['must be the user of the token'] } : {}),
      ...(isOtherSide ? { [sideField]: [`must be ${actor.side}, the side of the token`] } : {}),
    }
    if (isOtherUser || isOtherSide) throw new AppError('FORBIDDEN', { errors })
    return { userId: actor.userId, side: actor.side }
  }
  if (userId === undefined && side === undefined) return undefined
  if (userId === undefined) throw badField(idField, `is required together with ${sideField}`)
  if (side === undefined) throw badField(sideField, `is required together with ${idField}`)
  return { userId, side }
}

/** The same, and requires one. @throws AppError BAD_REQUEST also when the input names none */
export function requireParticipant(
  actor: Actor,
  id: Field<string>,
  side: Field<boolean>,
): Participant {
  const participant = resolveParticipant(actor, id, side)
  if (participant) return participant
  const text = ['is required of a caller without a user token']
  throw new AppError('BAD_REQUEST', { errors: { [id[0]]: text, [side[0]]: text } })
}

/**
 * Checks the id of a participant who acts in a room. The token's user and the room's exist, whatever their ids.
 *
 * @param idField the input field that may name the participant
 * @throws AppError BAD_REQUEST
 */
export function assertParticipantId(
  actor: Actor,
  idField: string,
  { userId }: Participant,
  room: { readonly user_id: string },
): void {
  if (actor.kind === 'user' || userId === room.user_id) return
  const error = findIdError(userId)
  if (error !== undefined) throw badField(idField, error)
}
