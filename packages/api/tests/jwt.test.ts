import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { Actor } from '../src/auth/actor.ts'
import type { AuthError } from '../src/auth/failure.ts'
import { signToken, type TokenKind, verifyToken } from '../src/auth/jwt.ts'
import { fixedSigningKeys } from '../src/auth/signingKeys.ts'

type Claims = { sub: string; iat: number; exp: number }
const claims = z.object({ sub: z.string(), iat: z.int(), exp: z.int() })
const maxSeconds = 100
const kinds: readonly TokenKind<Claims, Actor>[] = ['one+jwt', 'another+jwt'].map((type) => ({
  type,
  maxSeconds,
  claims,
  toActor: ({ sub, exp }, token) => ({
    kind: 'user',
    orgId: 'org',
    userId: sub,
    side: false,
    rooms: undefined,
    keyId: undefined,
    expiresAt: exp * 1000,
    token,
  }),
}))

const BEGIN = 1_700_000_000
const keyOf = (id: number) => ({ id: `key-${id}`, secret: Buffer.alloc(32, id + 1) })
const clockAt = (seconds: number) => () => seconds * 1000 + 500

async function outcomeOf(verifying: Promise<Actor>): Promise<unknown> {
  return verifying.catch((error: AuthError) => error.failure)
}

/** Tokens of each key and kind, and tampered ones. */
async function createTokens(): Promise<string[]> {
  const tokens: string[] = []
  for (const key of [keyOf(0), keyOf(1)]) {
    for (const kind of kinds) {
      const deps = { signingKeys: fixedSigningKeys([key]) }
      const token = await signToken(deps, kind, { sub: kind.type, iat: BEGIN, exp: BEGIN + 3 })
      const [head, body, signature] = token.split('.') as [string, string, string]
      const other = await signToken(deps, kind, { sub: 'another user', iat: BEGIN, exp: BEGIN + 9 })
      tokens.push(token, other, [head, other.split('.')[1], signature].join('.'))
      tokens.push([head, body, signature.replace(/^./, (a) => (a === 'A' ? 'B' : 'A'))].join('.'))
    }
  }
  return tokens
}

test('verifying a cached token gives the same result as verifying it the first time', async () => {
  const tokens = await createTokens()
  const step = fc.record({
    token: fc.constantFrom(...tokens),
    kind: fc.constantFrom(...kinds),
    seconds: fc.integer({ min: 0, max: 10 }),
    verifies: fc.constantFrom([0], [1], [0, 1]),
  })
  let verified = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
      const cachedKeys = [keyOf(0), keyOf(1)] as const
      for (const { token, kind, seconds, verifies } of steps) {
        const by = (keys: ReturnType<typeof keyOf>[]) => ({
          signingKeys: fixedSigningKeys(keys as [(typeof keys)[number]]),
          clock: clockAt(BEGIN + seconds),
        })
        const cached = verifies.map((id) => cachedKeys[id] as (typeof cachedKeys)[number])
        const fresh = verifies.map(keyOf)
        const outcome = await outcomeOf(verifyToken(by(cached), kind, token))
        expect(outcome).toEqual(await outcomeOf(verifyToken(by(fresh), kind, token)))
        if (typeof outcome === 'object') verified++
      }
    }),
  )
  expect(verified).toBeGreaterThan(0)
})
