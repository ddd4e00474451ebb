import { z } from 'zod'
import { signStreamToken } from '../auth/streamToken.ts'
import { time } from '../encoding/fields.ts'
import { mutation } from '../operation/operation.ts'

/** How long a stream token lives: long enough to open a stream, and again after a cut. */
const SECONDS = 10 * 60

const input = z.strictObject({})

const output = z
  .object({
    token: z.string().meta({
      description: 'For the URL of a stream: `?streamToken=…`. It opens streams and nothing else.',
    }),
    expiresAt: time,
  })
  .meta({ id: 'CreateStreamTokenResult', additionalProperties: true })

/** Makes a token that opens streams as the caller, for a browser's EventSource, which sends no headers. */
export const createStreamToken = mutation({
  access: {
    open: 'any',
    adminKey: 'organisation',
    supportKey: 'organisation',
    readKey: 'organisation',
    supportToken: 'organisation',
    customerToken: 'own',
  },
  cost: 'write',
  input,
  output,
  rest: {
    method: 'POST',
    path: '/api/v3/stream-tokens',
    tag: 'events',
    summary: 'Make a stream token',
    description:
      "For a browser's EventSource, which sends no headers: the token goes into the URL of a stream. It lives 10 minutes, never longer than the caller's own credential, and opens streams as the caller, as often as they are cut meanwhile. The streams go on when it has expired.",
    created: () => true,
  },
  example: {
    input: {},
    output: { token: 'eyJhbGciOiJIUzI1NiIs…', expiresAt: '2023-08-29T05:20:21.000Z' },
  },
  async run({ deps, actor }) {
    const wanted = Math.floor(deps.clock() / 1000) + SECONDS
    const expiresAt =
      actor.kind === 'user' ? Math.min(wanted, Math.floor(actor.expiresAt / 1000)) : wanted
    return {
      token: await signStreamToken(deps, actor, expiresAt),
      expiresAt: new Date(expiresAt * 1000),
    }
  },
})
