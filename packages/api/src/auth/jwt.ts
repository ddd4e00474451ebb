import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { LRUCache } from 'lru-cache'
import type { z } from 'zod'
import type { Deps } from '../operation/context.ts'
import type { Actor, TokenRef } from './actor.ts'
import { isCanonical } from './base64url.ts'
import { AuthError, type AuthFailure } from './failure.ts'
import { CLOCK_LEEWAY_SECONDS, type SigningKey } from './signingKeys.ts'

/** The only accepted algorithm, whatever the token's header names (RFC 8725, 3.1). */
const ALGORITHM = 'HS256'
const ISSUER = 'dowell-chat'

/** `iat` and `exp` are in whole seconds since the Unix epoch. */
type Claims = { iat: number; exp: number }

export interface TokenKind<T extends Claims, A extends Actor> {
  /** The `typ` header, so that other JWTs of the same signing key are rejected (RFC 8725, 3.11). */
  readonly type: string
  /** The longest lifetime. A leaked signing key makes none that lives longer. */
  readonly maxSeconds: number
  readonly claims: z.ZodType<T>
  /** The caller of a token. */
  toActor(claims: T, token: TokenRef): A
}

export async function signToken<T extends Claims>(
  deps: Pick<Deps, 'signingKeys'>,
  kind: TokenKind<T, Actor>,
  claims: T,
): Promise<string> {
  const key = await deps.signingKeys.current()
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: ALGORITHM, typ: kind.type, kid: key.id })
    .setIssuer(ISSUER)
    .setAudience(ISSUER)
    .sign(key.secret)
}

/**
 * Returns the caller of a token.
 *
 * @throws AuthError when it is malformed, wrongly signed, expired, lives too long, or was issued after its signing key was
 *   replaced
 */
export async function verifyToken<T extends Claims, A extends Actor>(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  kind: TokenKind<T, A>,
  token: string,
): Promise<A> {
  const kid = keyIdOf(token)
  if (kid === undefined) throw invalidToken('malformed')
  // Outside of a try: a database error must not become UNAUTHORIZED.
  const key = await deps.signingKeys.find(kid)
  if (!key) throw invalidToken('unknown_signing_key')
  const now = Math.floor(deps.clock() / 1000)
  const cache = verifiedCacheOf(key)
  const cacheKey = `${kind.type} ${token}`
  let verified = cache.get(cacheKey) as Verified<A> | undefined
  if (!verified) {
    const claims = await verifySignature(kind, token, key, now)
    const { iat, exp } = claims
    verified = { iat, exp, actor: kind.toActor(claims, { signingKeyId: key.id, issuedAt: iat }) }
    cache.set(cacheKey, verified)
  }
  const failure = timeFailure(verified, kind.maxSeconds, key, now)
  if (failure) throw invalidToken(failure, { actor: verified.actor })
  return verified.actor
}

/** What stays true of a token. Its times are compared at each use. */
interface Verified<A> extends Claims {
  readonly actor: A
}

/** @throws AuthError */
async function verifySignature<T extends Claims>(
  kind: TokenKind<T, Actor>,
  token: string,
  key: SigningKey,
  now: number,
): Promise<T> {
  // The signature covers the text of the other two parts, but nothing covers its own.
  if (!isCanonical(token.slice(token.lastIndexOf('.') + 1))) throw invalidToken('malformed')
  let payload: JWTPayload
  try {
    const verified = await jwtVerify(token, key.secret, {
      algorithms: [ALGORITHM],
      typ: kind.type,
      issuer: ISSUER,
      audience: ISSUER,
      currentDate: new Date(now * 1000),
      clockTolerance: CLOCK_LEEWAY_SECONDS,
    })
    payload = verified.payload
  } catch (cause) {
    if (!(cause instanceof errors.JWTExpired)) throw invalidToken(failureOf(cause), { cause })
    // jose checks it last, so the rest is right: the log names the caller.
    payload = cause.payload
  }
  const claims = kind.claims.safeParse(payload)
  if (!claims.success) throw invalidToken('wrong_content', { cause: claims.error })
  return claims.data
}

function failureOf(error: unknown): AuthFailure {
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad_signature'
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === 'nbf' ? 'not_yet_valid' : 'wrong_content'
  }
  return 'malformed'
}

/** Clocks of several servers differ, so each comparison with one has a leeway. */
function timeFailure(
  { iat, exp }: Claims,
  maxSeconds: number,
  { replacedAt }: SigningKey,
  now: number,
): AuthFailure | undefined {
  if (exp - iat > maxSeconds) return 'too_long_lived'
  if (exp + CLOCK_LEEWAY_SECONDS <= now) return 'expired'
  if (iat > now + CLOCK_LEEWAY_SECONDS) return 'not_yet_valid'
  const isReplaced = replacedAt !== undefined && iat > replacedAt / 1000 + CLOCK_LEEWAY_SECONDS
  return isReplaced ? 'replaced_signing_key' : undefined
}

/** Per signing key: some thousands of tokens. */
const MAX_CACHE_BYTES = 8 * 1024 * 1024

/**
 * Verified tokens per signing key, by token type and text. A caller sends the same token with each call, only time
 * invalidates it, and verifying it costs as much as the rest of a read.
 */
const verifiedCaches = new WeakMap<SigningKey, LRUCache<string, Verified<Actor>>>()

function verifiedCacheOf(key: SigningKey): LRUCache<string, Verified<Actor>> {
  const cache =
    verifiedCaches.get(key) ??
    new LRUCache({
      maxSize: MAX_CACHE_BYTES,
      // The text and its claims, each at most two bytes per character, plus the objects around them.
      sizeCalculation: (_, cacheKey) => 1_000 + 4 * cacheKey.length,
    })
  verifiedCaches.set(key, cache)
  return cache
}

/** The id of the token's signing key; undefined when it has none or is malformed. */
function keyIdOf(token: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(token)
    return typeof kid === 'string' ? kid : undefined
  } catch {
    return undefined
  }
}

function invalidToken(
  failure: AuthFailure,
  options: { cause?: unknown; actor?: Actor } = {},
): AuthError {
  return new AuthError(failure, { message: 'The token is not valid or has expired', ...options })
}
