import { type Database, findApiKey } from '@dowell-chat/db'
import type { Actor } from './actor.ts'
import type { SigningKeys } from './signingKeys.ts'

/** Returns the callers whose credential was revoked since they were let in. It does not check the expiry of tokens. */
export type FindRevoked = (actors: Iterable<Actor>) => Promise<ReadonlySet<Actor>>

/**
 * Creates a check of callers that were let in some time ago.
 *
 * @param isOpen whether the server is in open mode, for callers without a key
 */
export function createRevocationCheck(
  { db, signingKeys }: { readonly db: Database; readonly signingKeys: SigningKeys },
  isOpen: () => Promise<boolean>,
): FindRevoked {
  async function isStillValid(actor: Actor): Promise<boolean> {
    const { kind, token } = actor
    if (token && !(await signingKeys.find(token.signingKeyId))) return false
    if (kind === 'open' || actor.keyId === undefined) return isOpen()
    return !(await isRevoked(db, { orgId: actor.orgId, keyId: actor.keyId }))
  }

  return async (actors) => {
    // One check per API key and signing key, not per caller.
    const groups = Map.groupBy(actors, (actor) => {
      const keyId = actor.kind === 'open' ? undefined : actor.keyId
      return `${keyId} ${actor.token?.signingKeyId}`
    })
    const revoked = new Set<Actor>()
    for (const [, group] of groups) {
      const [first] = group
      if (first && !(await isStillValid(first))) for (const actor of group) revoked.add(actor)
    }
    return revoked
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
