import { type Database, findApiKey } from '@dowell-chat/db'
import type { Actor } from './actor.ts'

/**
 * Whether a caller who was let in some time ago would be let in now: their key is not revoked, or nobody needs one.
 * That a token expires its holder can tell without asking.
 *
 * @param isOpen whether callers need no credential
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

/** Whether an API key is good for nothing any more. */
export async function isRevoked(
  db: Database,
  key: { readonly orgId: string; readonly keyId: string },
): Promise<boolean> {
  const row = await findApiKey(db.read, key)
  return row === undefined || row.revoked_at !== null
}
