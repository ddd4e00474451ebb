import { organisationExists, type RoomIdentity, type Session, userHasRoom } from '@dowell-chat/db'
import { findIdError } from '../encoding/fields.ts'
import { AppError, badField } from '../operation/errors.ts'

// An id that exists, perhaps from before the rules for new ids, stays in use.

/** @throws AppError BAD_REQUEST for the id of a new organisation that breaks the rules */
export async function assertOrganisationId(db: Session, orgId: string): Promise<void> {
  const error = findIdError(orgId)
  if (error !== undefined && !(await organisationExists(db, { orgId }))) {
    throw badField('orgId', error)
  }
}

/** @throws AppError BAD_REQUEST for an id that breaks the rules, of a user without a room in the organisation */
export async function assertUserId(
  db: Session,
  user: Pick<RoomIdentity, 'orgId' | 'userId'>,
): Promise<void> {
  const error = findIdError(user.userId)
  if (error !== undefined && !(await userHasRoom(db, user))) throw badField('userId', error)
}

/**
 * Checks the ids and names of a new room.
 *
 * @throws AppError BAD_REQUEST for a portfolio or product that breaks the rules, or a new organisation or user that does
 */
export async function assertNewRoom(db: Session, identity: RoomIdentity): Promise<void> {
  await assertOrganisationId(db, identity.orgId)
  await assertUserId(db, identity)
  const errors = Object.fromEntries(
    (['portfolioName', 'productName'] as const).flatMap((field) => {
      const error = findIdError(identity[field])
      return error === undefined ? [] : [[field, [error]]]
    }),
  )
  if (Object.keys(errors).length > 0) throw new AppError('BAD_REQUEST', { errors })
}
