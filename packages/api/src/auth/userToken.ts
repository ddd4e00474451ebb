import { z } from 'zod'
import type { Deps } from '../operation/context.ts'
import type { UserActor } from './actor.ts'
import { signToken, type TokenKind, verifyToken } from './jwt.ts'
import { MAX_TOKEN_SECONDS } from './signingKeys.ts'

const claims = z.object({
  sub: z.string(),
  org: z.string(),
  side: z.boolean(),
  rooms: z.array(z.string()).optional(),
  key: z.string().optional(),
  iat: z.int(),
  exp: z.int(),
})

const userToken: TokenKind<z.infer<typeof claims>, UserActor> = {
  type: 'dowell-chat-user+jwt',
  maxSeconds: MAX_TOKEN_SECONDS,
  claims,
  toActor: ({ org, sub, side, rooms, key, exp }, token) => ({
    kind: 'user',
    orgId: org,
    userId: sub,
    side,
    rooms: rooms && new Set(rooms),
    keyId: key,
    expiresAt: exp * 1000,
    token,
  }),
}

export interface UserTokenContent {
  readonly orgId: string
  readonly userId: string
  readonly side: boolean
  readonly rooms?: readonly string[] | undefined
  /** The issuing API key. Revoking it revokes the token. */
  readonly keyId?: string | undefined
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number
  readonly expiresAt: number
}

export function signUserToken(
  deps: Pick<Deps, 'signingKeys'>,
  { orgId, userId, side, rooms, keyId, issuedAt, expiresAt }: UserTokenContent,
): Promise<string> {
  return signToken(deps, userToken, {
    sub: userId,
    org: orgId,
    side,
    ...(rooms ? { rooms: [...rooms] } : {}),
    ...(keyId ? { key: keyId } : {}),
    iat: issuedAt,
    exp: expiresAt,
  })
}

/** Returns the user of the token. @throws AuthError */
export function verifyUserToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  token: string,
): Promise<UserActor> {
  return verifyToken(deps, userToken, token)
}
