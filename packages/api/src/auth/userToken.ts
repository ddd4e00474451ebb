import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { Deps } from '../context.ts'
import { AppError } from '../errors.ts'
import type { UserActor } from './actor.ts'

/** The one algorithm; whatever else a token's header asks for is refused, `none` first of all (RFC 8725, 3.1). */
const ALGORITHM = 'HS256'
const ISSUER = 'dowell-chat'
/** Says what kind of token this is, so that no other JWT signed with the same key can stand in (RFC 8725, 3.11). */
const TYPE = 'dowell-chat-user+jwt'

const Claims = z.object({
  sub: z.string(),
  org: z.string(),
  side: z.boolean(),
  rooms: z.array(z.string()).optional(),
  key: z.string().optional(),
  exp: z.number(),
})

export interface UserTokenContent {
  readonly orgId: string
  readonly userId: string
  readonly side: boolean
  readonly rooms?: readonly string[] | undefined
  /** The API key that asked for it: the token dies with the key. */
  readonly keyId?: string | undefined
  /** Seconds since the Unix epoch. */
  readonly expiresAt: number
}

export async function signUserToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  content: UserTokenContent,
): Promise<string> {
  const key = await deps.signingKeys.current()
  return new SignJWT({
    org: content.orgId,
    side: content.side,
    ...(content.rooms ? { rooms: content.rooms } : {}),
    ...(content.keyId ? { key: content.keyId } : {}),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: key.id })
    .setIssuer(ISSUER)
    .setAudience(ISSUER)
    .setSubject(content.userId)
    .setIssuedAt(Math.floor(deps.clock() / 1000))
    .setExpirationTime(content.expiresAt)
    .sign(key.secret)
}

/** The user that a token stands for. @throws AppError UNAUTHORIZED */
export async function verifyUserToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  token: string,
): Promise<UserActor> {
  const kid = keyIdOf(token)
  // Outside the try: a database that does not answer is no fault of the token's.
  const key = kid === undefined ? undefined : await deps.signingKeys.find(kid)
  if (!key) throw notValid()
  try {
    const { payload } = await jwtVerify(token, key.secret, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      issuer: ISSUER,
      audience: ISSUER,
      currentDate: new Date(deps.clock()),
    })
    const claims = Claims.parse(payload)
    return {
      kind: 'user',
      orgId: claims.org,
      userId: claims.sub,
      side: claims.side,
      rooms: claims.rooms && new Set(claims.rooms),
      keyId: claims.key,
      expiresAt: claims.exp * 1000,
    }
  } catch (cause) {
    throw notValid(cause)
  }
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
