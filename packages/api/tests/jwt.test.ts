import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { signToken, type TokenKind, verifyToken } from '../src/auth/jwt.ts'
import { fixedSigningKeys } from '../src/auth/signingKeys.ts'

type Claims = { sub: string; exp: number }
const claims = z.object({ sub: z.string(), exp: z.number() })
const kinds: readonly TokenKind<Claims>[] = [
  { type: 'one+jwt', claims },
  { type: 'another+jwt', claims },
]

const BEGIN = 1_700_000_000
const keyOf = (id: number) => ({ id: `key-${id}`, secret: Buffer.alloc(32, id + 1) })
const clockAt = (seconds: number) => () => seconds * 1000 + 500

async function outcomeOf(verifying: Promise<Claims>): Promise<unknown> {
  return verifying.catch((error: { code?: string }) => error.code)
}

/** By one key, of each kind, and some that are no tokens of ours. */
async function tokensOf(): Promise<string[]> {
  const tokens: string[] = []
  for (const key of [keyOf(0), keyOf(1)]) {
    for (const kind of kinds) {
      const deps = { signingKeys: fixedSigningKeys([key]), clock: clockAt(BEGIN) }
      const token = await signToken(deps, kind, { sub: kind.type, exp: BEGIN + 3 })
      const [head, body, signature] = token.split('.') as [string, string, string]
      const other = await signToken(deps, kind, { sub: 'somebody else', exp: BEGIN + 9 })
      tokens.push(token, other, [head, other.split('.')[1], signature].join('.'))
      tokens.push([head, body, signature.replace(/^./, (a) => (a === 'A' ? 'B' : 'A'))].join('.'))
    }
  }
  return tokens
}

test('a token that was verified before is told as if it were the first time', async () => {
  const tokens = await tokensOf()
  const step = fc.record({
    token: fc.constantFrom(...tokens),
    kind: fc.constantFrom(...kinds),
    seconds: fc.integer({ min: 0, max: 10 }),
    verifies: fc.constantFrom([0], [1], [0, 1]),
  })
  let verified = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
      const known = [keyOf(0), keyOf(1)] as const
      for (const { token, kind, seconds, verifies } of steps) {
        const by = (keys: ReturnType<typeof keyOf>[]) => ({
          signingKeys: fixedSigningKeys(keys as [(typeof keys)[number]]),
          clock: clockAt(BEGIN + seconds),
        })
        const again = verifies.map((id) => known[id] as (typeof known)[number])
        const anew = verifies.map(keyOf)
        const told = await outcomeOf(verifyToken(by(again), kind, token))
        expect(told).toEqual(await outcomeOf(verifyToken(by(anew), kind, token)))
        if (typeof told === 'object') verified++
      }
    }),
  )
  expect(verified).toBeGreaterThan(0)
})
