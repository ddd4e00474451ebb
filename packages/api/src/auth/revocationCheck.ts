import {
  type Database,
  findApiKey,
  findUserTokenStatus,
  listUserTokenRevocations,
} from '@dowell-chat/db'
import type { Actor, TokenRef, UserActor } from './actor.ts'
import type { SigningKeys } from './signingKeys.ts'

/** Returns the callers whose credential was revoked since they were let in. It does not check the expiry of tokens. */
export type FindRevoked = (actors: Iterable<Actor>) => Promise<ReadonlySet<Actor>>

/** How long a revocation may take until it is committed, and how much two clocks may differ, together (ms). */
const LOOK_BACK_MS = 5 * 60_000

/**
 * Creates a check of callers that were let in some time ago.
 *
 * @param isOpen whether the server is in open mode, for callers without a key
 */
export function createRevocationCheck(
  deps: {
    readonly db: Database
    readonly signingKeys: SigningKeys
    readonly clock: () => number
  },
  isOpen: () => Promise<boolean>,
): FindRevoked {
  const { db, signingKeys, clock } = deps
  let checkedAt: number | undefined

  async function isStillValid(actor: Actor): Promise<boolean> {
    const { kind, token } = actor
    if (token && !(await signingKeys.find(token.signingKeyId))) return false
    if (kind === 'open' || actor.keyId === undefined) return isOpen()
    return !(await isRevoked(db, { orgId: actor.orgId, keyId: actor.keyId }))
  }

  /** Those since the last check, so that the number of users with streams does not matter. */
  async function recentRevocations(): Promise<Map<string, number>> {
    const now = clock()
    checkedAt ??= now
    const rows = await listUserTokenRevocations(db.read, {
      since: Math.min(checkedAt, now) - LOOK_BACK_MS,
    })
    checkedAt = now
    return new Map(rows.map((row) => [userKey(row.org_id, row.user_id), row.revoked_at]))
  }

  return async (actors) => {
    const revoked = new Set<Actor>()
    // One check per API key and signing key, not per caller.
    const groups = Map.groupBy(actors, (actor) => {
      const keyId = actor.kind === 'open' ? undefined : actor.keyId
      return `${keyId} ${actor.token?.signingKeyId}`
    })
    for (const [, group] of groups) {
      const [first] = group
      if (first && !(await isStillValid(first))) for (const actor of group) revoked.add(actor)
    }
    const times = await recentRevocations()
    if (times.size === 0) return revoked
    for (const [, group] of groups) {
      for (const actor of group) {
        if (actor.kind !== 'user') continue
        const revokedAt = times.get(userKey(actor.orgId, actor.userId))
        if (wasIssuedBefore(actor.token, revokedAt)) revoked.add(actor)
      }
    }
    return revoked
  }
}

function userKey(orgId: string, userId: string): string {
  return JSON.stringify([orgId, userId])
}

/** A token has the second in which it was issued. So a revocation ends all tokens of its own second. */
function wasIssuedBefore({ issuedAt }: TokenRef, revokedAt: number | null | undefined): boolean {
  return typeof revokedAt === 'number' && issuedAt <= Math.floor(revokedAt / 1000)
}

/** Why a genuine user token is refused, if it is. One statement for each call. */
export async function findRevocation(
  db: Database,
  { orgId, userId, keyId, token }: UserActor,
): Promise<'revoked_key_of_token' | 'revoked_user_tokens' | undefined> {
  const status = await findUserTokenStatus(db.read, { orgId, userId, keyId: keyId ?? '' })
  if (keyId !== undefined && status.has_key === 0) return 'revoked_key_of_token'
  return wasIssuedBefore(token, status.revoked_at) ? 'revoked_user_tokens' : undefined
}

/** Whether an API key is revoked or deleted. */
export async function isRevoked(
  db: Database,
  key: { readonly orgId: string; readonly keyId: string },
): Promise<boolean> {
  const row = await findApiKey(db.read, key)
  return row === undefined || row.revoked_at !== null
}
