import { z } from 'zod'
import type { Deps } from '../operation/context.ts'
import type { Actor } from './actor.ts'
import { signToken, verifyToken } from './jwt.ts'

/** Carries the whole {@link Actor}, so that a stream has the caller's access. */
const streamToken = {
  type: 'dowell-chat-stream+jwt',
  claims: z.object({
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
      }),
    ]),
    exp: z.number(),
  }),
}

/**
 * Signs a token that only opens event streams. It travels in a URL, for a browser's EventSource, which sends no headers.
 *
 * @param expiresAt seconds since the Unix epoch
 */
export function signStreamToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  actor: Actor,
  expiresAt: number,
): Promise<string> {
  return signToken(deps, streamToken, { actor: toClaim(actor), exp: expiresAt })
}

/** Returns the caller in the token, without checking that caller's own credential. @throws AppError UNAUTHORIZED */
export async function verifyStreamToken(
  deps: Pick<Deps, 'signingKeys' | 'clock'>,
  token: string,
): Promise<Actor> {
  const { actor } = await verifyToken(deps, streamToken, token)
  if (actor.kind !== 'user') return actor
  const { rooms, keyId } = actor
  return { ...actor, rooms: rooms && new Set(rooms), keyId }
}

function toClaim(actor: Actor): z.input<typeof streamToken.claims>['actor'] {
  if (actor.kind === 'open') return { kind: 'open', via: 'http' }
  return actor.kind === 'key' ? actor : { ...actor, rooms: actor.rooms && [...actor.rooms] }
}
