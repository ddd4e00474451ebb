import { type Database, findApiKey } from '@dowell-chat/db'
import type { Actor } from './actor.ts'

/**
 * Creates a check that a caller's key is not revoked, or for a caller without a key that the server is in open mode. It
 * does not check the expiry of tokens.
 *
 * @param isOpen whether the server is in open mode
 */
export function createRevocationCheck(
  db: Database,
  isOpen: () => Promise<boolean>,
): (actor: Actor) => Promise<boolean> {
  return async (actor) => {
    if (actor.kind === 'open' || actor.keyId === undefined) return isOpen()
    return !(await isRevoked(db, { orgId: actor.orgId, keyId: actor.keyId }))
  }
}

/** Whether an API key is revoked or deleted. */
export async function isRevoked(
  db: Database,
  key: { readonly orgId: string; readonly keyId: string },
): Promise<boolean> {
  const row = await findApiKey(db.read, key)
  return row === undefined || row.revoked_at !== null
}
