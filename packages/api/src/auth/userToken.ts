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
  const [key] = await deps.signingKeys.list()
  if (!key) throw new Error('there is no signing key')
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

/** The user that a token stands for, and the key that asked for it. @throws AppError UNAUTHORIZED */
export async function verifyUserToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  token: string,
): Promise<{ actor: UserActor; keyId: string | undefined }> {
  try {
    const { kid } = decodeProtectedHeader(token)
    const key = (await deps.signingKeys.list()).find(({ id }) => id === kid)
    if (!key) throw new Error('unknown signing key')
    const { payload } = await jwtVerify(token, key.secret, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      issuer: ISSUER,
      audience: ISSUER,
      currentDate: new Date(deps.clock()),
    })
    const claims = Claims.parse(payload)
    return {
      actor: {
        kind: 'user',
        orgId: claims.org,
        userId: claims.sub,
        side: claims.side,
        rooms: claims.rooms && new Set(claims.rooms),
        expiresAt: claims.exp * 1000,
      },
      keyId: claims.key,
    }
  } catch (cause) {
    throw new AppError('UNAUTHORIZED', { message: 'The token is not valid or has expired', cause })
  }
}
