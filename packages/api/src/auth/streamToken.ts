import { z } from 'zod'
import type { Deps } from '../operation/context.ts'
import type { Actor } from './actor.ts'
import { signToken, type TokenKind, verifyToken } from './jwt.ts'

/** Long enough to open a stream and to reopen it after a lost connection. */
export const STREAM_TOKEN_SECONDS = 10 * 60

/** Carries the whole {@link Actor}, so that a stream has the caller's access. */
const claims = z.object({
  actor: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('open'), via: z.literal('http') }),
    z.object({
      kind: z.literal('key'),
      orgId: z.string(),
      keyId: z.string(),
      right: z.enum(['admin', 'support', 'read']),
    }),
    z.object({
      kind: z.literal('user'),
      orgId: z.string(),
      userId: z.string(),
      side: z.boolean(),
      rooms: z.array(z.string()).optional(),
      keyId: z.string().optional(),
      expiresAt: z.number(),
      token: z.object({ signingKeyId: z.string(), issuedAt: z.int() }),
    }),
  ]),
  iat: z.int(),
  exp: z.int(),
})

const streamToken: TokenKind<z.infer<typeof claims>, Actor> = {
  type: 'dowell-chat-stream+jwt',
  maxSeconds: STREAM_TOKEN_SECONDS,
  claims,
  toActor({ actor }, token) {
    if (actor.kind !== 'user') return { ...actor, token }
    const { rooms, keyId } = actor
    return { ...actor, rooms: rooms && new Set(rooms), keyId }
  },
}

/**
 * Signs a token that only opens event streams. It travels in a URL, for a browser's EventSource, which sends no headers.
 *
 * @param times in seconds since the Unix epoch
 */
export function signStreamToken(
  deps: Pick<Deps, 'signingKeys'>,
  actor: Actor,
  times: { readonly issuedAt: number; readonly expiresAt: number },
): Promise<string> {
  const { issuedAt: iat, expiresAt: exp } = times
  return signToken(deps, streamToken, { actor: toClaim(actor), iat, exp })
}

/** Returns the caller in the token, without checking that caller's own credential. @throws AuthError */
export function verifyStreamToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  token: string,
): Promise<Actor> {
  return verifyToken(deps, streamToken, token)
}

function toClaim(actor: Actor): z.input<typeof claims>['actor'] {
  if (actor.kind === 'open') return { kind: 'open', via: 'http' }
  if (actor.kind === 'user') return { ...actor, rooms: actor.rooms && [...actor.rooms] }
  const { kind, orgId, keyId, right } = actor
  return { kind, orgId, keyId, right }
}
