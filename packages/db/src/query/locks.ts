import { announceLock, type Transaction } from '../engine/transaction.ts'
import { type OneRoom, scopeParams } from './scope.ts'

/** Names the room that the next statement locks. See `announceLock`. */
export function announceRoomLock(tx: Transaction, where: OneRoom): void {
  const { roomId, orgId, userId, isListed } = scopeParams(where)
  // The key includes the scope: a caller must not notice the lock of a room outside of its own.
  const org = typeof orgId === 'string' ? orgId : ''
  announceLock(tx, `room\0${roomId}\0${org}\0${userId ?? ''}\0${isListed}`)
}

export function announceOrganisationLock(tx: Transaction, orgId: string): void {
  announceLock(tx, organisationLockKey(orgId))
}

export function organisationLockKey(orgId: string): string {
  return `organisation\0${orgId}`
}

export function isOrganisationLockKey(key: string): boolean {
  return key.startsWith('organisation\0')
}
