import { z } from 'zod'
import type { Deps } from '../operation/context.ts'
import type { UserActor } from './actor.ts'
import { signToken, verifyToken } from './jwt.ts'

const userToken = {
  type: 'dowell-chat-user+jwt',
  claims: z.object({
    sub: z.string(),
    org: z.string(),
    side: z.boolean(),
    rooms: z.array(z.string()).optional(),
    key: z.string().optional(),
    exp: z.number(),
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
  readonly expiresAt: number
}

export function signUserToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  { orgId, userId, side, rooms, keyId, expiresAt }: UserTokenContent,
): Promise<string> {
  const claims = {
    sub: userId,
    org: orgId,
    side,
    ...(rooms ? { rooms: [...rooms] } : {}),
    ...(keyId ? { key: keyId } : {}),
    exp: expiresAt,
  }
  return signToken(deps, userToken, claims)
}

/** Returns the user of the token. @throws AppError UNAUTHORIZED */
export async function verifyUserToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  token: string,
): Promise<UserActor> {
  const claims = await verifyToken(deps, userToken, token)
  return {
    kind: 'user',
    orgId: claims.org,
    userId: claims.sub,
    side: claims.side,
    rooms: claims.rooms && new Set(claims.rooms),
    keyId: claims.key,
    expiresAt: claims.exp * 1000,
  }
}
