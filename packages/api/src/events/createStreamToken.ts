import { z } from 'zod'
import { STREAM_TOKEN_SECONDS, signStreamToken } from '../auth/streamToken.ts'
import { expiry, msLeft, time } from '../encoding/fields.ts'
import { readers } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'

const input = z.strictObject({})

const output = z
  .object({
    token: z.string().meta({
      description: 'Send it in the URL of a stream: `?streamToken=…`. It only opens streams.',
    }),
    expiresAt: time,
    expiresInMs: msLeft,
  })
  .meta({ id: 'CreateStreamTokenResult', additionalProperties: true })

/** Creates a token that opens streams as the caller, for a browser's EventSource, which sends no headers. */
export const createStreamToken = mutation({
  access: readers,
  cost: 'write',
  input,
  output,
  rest: {
    method: 'POST',
    path: '/api/v3/stream-tokens',
    tag: 'events',
    summary: 'Create a stream token',
    description:
      "For a browser's EventSource, which sends no headers: send the token in the URL of a stream. It opens streams as the caller, any number of times for 10 minutes, never longer than the caller's own credential is valid. An open stream continues after the stream token expires.",
    created: () => true,
  },
  example: {
    input: {},
    output: {
      token: 'eyJhbGciOiJIUzI1NiIs…',
      expiresAt: '2023-08-29T05:20:21.000Z',
      expiresInMs: 599_750,
    },
  },
  async run({ deps, actor }) {
    const now = deps.clock()
    const issuedAt = Math.floor(now / 1000)
    const latest = issuedAt + STREAM_TOKEN_SECONDS
    const expiresAt =
      actor.kind === 'user' ? Math.min(latest, Math.floor(actor.expiresAt / 1000)) : latest
    return {
      token: await signStreamToken(deps, actor, { issuedAt, expiresAt }),
      ...expiry(expiresAt * 1000, now),
    }
  },
})
