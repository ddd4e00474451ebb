import { allOrganisations, type Database, findApiKey } from '@dowell-chat/db'
import type { Deps } from '../operation/context.ts'
import type { Actor } from './actor.ts'
import { isSameHash, parseApiKey } from './apiKeySecret.ts'
import { AuthError, type AuthFailure } from './failure.ts'
import { findRevocation, isRevoked } from './revocationCheck.ts'
import { verifyStreamToken } from './streamToken.ts'
import { verifyUserToken } from './userToken.ts'

/**
 * 8,192 characters: more than the longest user token (50 rooms, long names). Node removes the blanks around a header, and
 * no others are accepted.
 */
const CREDENTIAL = /^Bearer +([^\s,]{1,8192})$/i

/**
 * Authenticates the caller by an Authorization header with an API key or a user token.
 *
 * @throws AuthError when it is malformed, unknown, wrongly signed, expired or revoked
 */
export async function authenticate(deps: Deps, authorization: string): Promise<Actor> {
  const [, credential] = CREDENTIAL.exec(authorization) ?? []
  if (credential === undefined) {
    throw new AuthError('malformed', {
      message: 'The Authorization header must be "Bearer" and an API key or a user token',
    })
  }
  return credential.startsWith('dck_')
    ? authenticateKey(deps, credential)
    : authenticateUser(deps, credential)
}

async function authenticateKey(deps: Deps, credential: string): Promise<Actor> {
  const invalidKey = (failure: AuthFailure, actor?: Actor) =>
    new AuthError(failure, { message: 'The API key is not valid', actor })
  const parsed = parseApiKey(credential)
  if (!parsed) throw invalidKey('malformed')
  const row = await findApiKey(deps.db.read, { orgId: allOrganisations, keyId: parsed.keyId })
  // An unknown key is compared with itself, so that it takes as long as a known one.
  const isSame = isSameHash(row?.secret_hash ?? parsed.secretHash, parsed.secretHash)
  if (!row) throw invalidKey('unknown_key')
  if (!isSame) throw invalidKey('wrong_secret')
  const actor: Actor = { kind: 'key', orgId: row.org_id, keyId: row.id, right: row.access }
  if (row.revoked_at !== null) throw invalidKey('revoked_key', actor)
  deps.lastUsed.note(row)
  return actor
}

async function authenticateUser(deps: Deps, credential: string): Promise<Actor> {
  const actor = await verifyUserToken(deps, credential)
  await assertNotRevoked(deps, actor)
  return actor
}

/**
 * Authenticates the caller by a stream token. A token of open mode yields an `open` actor: the server must check that it
 * is still in open mode.
 *
 * @throws AuthError when it is malformed, wrongly signed, expired or revoked
 */
export async function authenticateStream(deps: Deps, token: string): Promise<Actor> {
  const actor = await verifyStreamToken(deps, token)
  await assertNotRevoked(deps, actor)
  return actor
}

/** A key ends with its tokens, and a user's tokens all at once. @throws AuthError */
async function assertNotRevoked({ db }: Deps, actor: Actor): Promise<void> {
  const failure = await failureOf(db, actor)
  if (failure) throw new AuthError(failure, { message: 'The token was revoked', actor })
}

async function failureOf(db: Database, actor: Actor): Promise<AuthFailure | undefined> {
  if (actor.kind === 'open') return undefined
  if (actor.kind === 'user') return findRevocation(db, actor)
  return (await isRevoked(db, actor)) ? 'revoked_key_of_token' : undefined
}
