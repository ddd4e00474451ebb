import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { LRUCache } from 'lru-cache'
import type { z } from 'zod'
import type { Deps } from '../operation/context.ts'
import { AppError } from '../operation/errors.ts'
import type { SigningKey } from './signingKeys.ts'

/** The one algorithm; whatever else a token's header asks for is refused, `none` first of all (RFC 8725, 3.1). */
const ALGORITHM = 'HS256'
const ISSUER = 'dowell-chat'

/** What a token says. `exp` is in seconds since the Unix epoch. */
type Claims = { exp: number }

export interface TokenKind<T extends Claims> {
  /** The `typ`: no other JWT that is signed with the same key can stand in (RFC 8725, 3.11). */
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

/** What a token of this kind says. @throws AppError UNAUTHORIZED for one that is none, wrongly signed or expired */
export async function verifyToken<T extends Claims>(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  kind: TokenKind<T>,
  token: string,
): Promise<T> {
  const kid = keyIdOf(token)
  // Outside the try: a database that does not answer is no fault of the token's.
  const key = kid === undefined ? undefined : await deps.signingKeys.find(kid)
  if (!key) throw notValid()
  const now = deps.clock()
  const known = verifiedBy(key)
  const name = `${kind.type} ${token}`
  const verified = known.get(name) as T | undefined
  if (verified) {
    if (verified.exp <= Math.floor(now / 1000)) throw notValid()
    return verified
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
    known.set(name, claims)
    return claims
  } catch (cause) {
    throw notValid(cause)
  }
}

/** Bytes that the tokens of a key may take in memory: some thousands. */
const MAX_VERIFIED = 8 * 1024 * 1024

/**
 * What the tokens say that a key was found to have signed, by their kind and text. A caller sends the same one with each
 * call, and nothing but the time can change whether it is valid; to verify it costs as much as the rest of a read.
 */
const verifiedBySome = new WeakMap<SigningKey, LRUCache<string, Claims>>()

function verifiedBy(key: SigningKey): LRUCache<string, Claims> {
  const known =
    verifiedBySome.get(key) ??
    new LRUCache({
      maxSize: MAX_VERIFIED,
      // The text and what it says, in at most two bytes a character, and the objects around.
      sizeCalculation: (_, name) => 1_000 + 4 * name.length,
    })
  verifiedBySome.set(key, known)
  return known
}

/** The signing key that a token names; undefined when it names none or is no token. */
function keyIdOf(token: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(token)
    return typeof kid === 'string' ? kid : undefined
  } catch {
    return undefined
  }
}

function notValid(cause?: unknown): AppError {
  return new AppError('UNAUTHORIZED', { message: 'The token is not valid or has expired', cause })
}
