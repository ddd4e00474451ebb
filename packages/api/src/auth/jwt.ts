import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { LRUCache } from 'lru-cache'
import type { z } from 'zod'
import type { Deps } from '../operation/context.ts'
import { AppError } from '../operation/errors.ts'
import type { SigningKey } from './signingKeys.ts'

/** The only accepted algorithm, whatever the token's header names (RFC 8725, 3.1). */
const ALGORITHM = 'HS256'
const ISSUER = 'dowell-chat'

/** `exp` is in seconds since the Unix epoch. */
type Claims = { exp: number }

export interface TokenKind<T extends Claims> {
  /** The `typ` header, so that other JWTs of the same signing key are rejected (RFC 8725, 3.11). */
  readonly type: string
  readonly claims: z.ZodType<T>
}

export async function signToken<T extends Claims>(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  kind: TokenKind<T>,
  claims: T,
): Promise<string> {
  const key = await deps.signingKeys.current()
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: ALGORITHM, typ: kind.type, kid: key.id })
    .setIssuer(ISSUER)
    .setAudience(ISSUER)
    .setIssuedAt(Math.floor(deps.clock() / 1000))
    .sign(key.secret)
}

/** Returns the claims of a token. @throws AppError UNAUTHORIZED when it is malformed, wrongly signed or expired */
export async function verifyToken<T extends Claims>(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  kind: TokenKind<T>,
  token: string,
): Promise<T> {
  const kid = keyIdOf(token)
  // Outside the try: a database error must not become UNAUTHORIZED.
  const key = kid === undefined ? undefined : await deps.signingKeys.find(kid)
  if (!key) throw invalidToken()
  const now = deps.clock()
  const cache = verifiedCacheOf(key)
  const cacheKey = `${kind.type} ${token}`
  const cached = cache.get(cacheKey) as T | undefined
  if (cached) {
    if (cached.exp <= Math.floor(now / 1000)) throw invalidToken()
    return cached
  }
  try {
    const { payload } = await jwtVerify(token, key.secret, {
      algorithms: [ALGORITHM],
      typ: kind.type,
      issuer: ISSUER,
      audience: ISSUER,
      currentDate: new Date(now),
    })
    const claims = kind.claims.parse(payload)
    cache.set(cacheKey, claims)
    return claims
  } catch (cause) {
    throw invalidToken(cause)
  }
}

/** Per signing key: some thousands of tokens. */
const MAX_CACHE_BYTES = 8 * 1024 * 1024

/**
 * Claims of verified tokens per signing key, by token type and text. A caller sends the same token with each call, only
 * time invalidates it, and verifying it costs as much as the rest of a read.
 */
const verifiedCaches = new WeakMap<SigningKey, LRUCache<string, Claims>>()

function verifiedCacheOf(key: SigningKey): LRUCache<string, Claims> {
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

function invalidToken(cause?: unknown): AppError {
  return new AppError('UNAUTHORIZED', { message: 'The token is not valid or has expired', cause })
}
