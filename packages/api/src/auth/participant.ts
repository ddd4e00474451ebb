import { AppError, badField } from '../operation/errors.ts'
import type { Actor } from './actor.ts'

/** Somebody on one of the two sides of a room. */
export interface Participant {
  readonly userId: string
  /** False: the customer. True: one of the support team. */
  readonly side: boolean
}

/** A field of an input: its name there, and what the caller gave. */
type Field<T> = readonly [name: string, value: T | undefined]

/**
 * The person for whom somebody calls. A token is its own; a key, and a caller who needs no credential, may name one.
 *
 * @returns undefined when nobody is named
 * @throws AppError FORBIDDEN when a token names another; BAD_REQUEST when only one of the two is given
 */
export function resolveParticipant(
  actor: Actor,
  [idField, userId]: Field<string>,
  [sideField, side]: Field<boolean>,
): Participant | undefined {
  if (actor.kind === 'user') {
    const isOther = userId !== undefined && userId !== actor.userId
    const isOtherSide = side !== undefined && side !== actor.side
    const errors = {
      ...(isOther ? { [idField]: ['must be the user of the token'] } : {}),
      ...(isOtherSide ? { [sideField]: [`must be ${actor.side}, the side of the token`] } : {}),
    }
    if (isOther || isOtherSide) throw new AppError('FORBIDDEN', { errors })
    return { userId: actor.userId, side: actor.side }
  }
  if (userId === undefined && side === undefined) return undefined
  if (userId === undefined) throw badField(idField, `is required together with ${sideField}`)
  if (side === undefined) throw badField(sideField, `is required together with ${idField}`)
  return { userId, side }
}

/** The same where there must be one. @throws AppError BAD_REQUEST also when nobody is named */
export function requireParticipant(
  actor: Actor,
  id: Field<string>,
  side: Field<boolean>,
): Participant {
  const person = resolveParticipant(actor, id, side)
  if (person) return person
  const text = ['is required of a caller without a user token']
  throw new AppError('BAD_REQUEST', { errors: { [id[0]]: text, [side[0]]: text } })
}
