import { allOrganisations, findApiKey } from '@dowell-chat/db'
import type { Deps } from '../context.ts'
import { AppError } from '../errors.ts'
import type { Actor } from './actor.ts'
import { parseApiKey, sameHash } from './apiKeySecret.ts'
import { isRevoked } from './credentialCheck.ts'
import { verifyStreamToken } from './streamToken.ts'
import { verifyUserToken } from './userToken.ts'

/** The longest token that createUserToken can make (50 rooms, long names) has less; so has any header that node takes. */
const CREDENTIAL = /^Bearer +([^\s,]{1,8192})$/i

/**
 * Who holds the credential of an Authorization header: an API key or a user token.
 *
 * @throws AppError UNAUTHORIZED for one that is malformed, unknown, wrongly signed, expired or revoked
 */
export async function authenticate(deps: Deps, authorization: string): Promise<Actor> {
  const [, credential] = CREDENTIAL.exec(authorization.trim()) ?? []
  if (credential === undefined) {
    throw new AppError('UNAUTHORIZED', {
      message: 'The Authorization header must be "Bearer" and an API key or a user token',
    })
  }
  return credential.startsWith('dck_') ? keyActor(deps, credential) : userActor(deps, credential)
}

async function keyActor(deps: Deps, credential: string): Promise<Actor> {
  const refused = () => new AppError('UNAUTHORIZED', { message: 'The API key is not valid' })
  const parsed = parseApiKey(credential)
  if (!parsed) throw refused()
  const row = await findApiKey(deps.db.read, { orgId: allOrganisations, keyId: parsed.keyId })
  // Compared with itself where there is no such key, so that this takes as long.
  const same = sameHash(row?.secret_hash ?? parsed.secretHash, parsed.secretHash)
  if (!row || !same || row.revoked_at !== null) throw refused()
  deps.keyUse.note(row)
  return { kind: 'key', orgId: row.org_id, keyId: row.id, right: row.access }
}

async function userActor(deps: Deps, credential: string): Promise<Actor> {
  const actor = await verifyUserToken(deps, credential)
  await refuseRevoked(deps, actor)
  return actor
}

/**
 * Whom a stream token stands for. One who needs no credential must still be somebody who needs none.
 *
 * @throws AppError UNAUTHORIZED for a token that is none, wrongly signed, expired or revoked
 */
export async function authenticateStream(deps: Deps, token: string): Promise<Actor> {
  const actor = await verifyStreamToken(deps, token)
  await refuseRevoked(deps, actor)
  return actor
}

/** A token dies with the key that asked for it. */
async function refuseRevoked(deps: Deps, actor: Actor): Promise<void> {
  if (actor.kind === 'open' || actor.keyId === undefined) return
  const { orgId, keyId } = actor
  if (await isRevoked(deps.db, { orgId, keyId })) {
    throw new AppError('UNAUTHORIZED', { message: 'The token was revoked' })
  }
}
