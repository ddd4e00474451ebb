import { setTimeout as sleep } from 'node:timers/promises'
import { findUserTokenStatus } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { assertUserId } from '../auth/newIds.ts'
import { MAX_TOKEN_SECONDS } from '../auth/signingKeys.ts'
import { signUserToken } from '../auth/userToken.ts'
import { boolean, expiry, id, msLeft, name, time } from '../encoding/fields.ts'
import { assertOrganisation, tokenIssuers } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
import { orgId } from './schema.ts'

const DEFAULT_SECONDS = 60 * 60
const MIN_SECONDS = 60
const MAX_ROOMS = 50

const secondsError = `must be a whole number of seconds from ${MIN_SECONDS} to ${MAX_TOKEN_SECONDS}`

const input = z.strictObject({
  orgId,
  userId: name.meta({ description: 'The user of the token.', example: 'ABCD12345' }),
  side: boolean.meta({ description: 'False: a customer. True: one of the support team.' }),
  rooms: z
    .array(id, { error: 'must be a list of room ids' })
    .min(1, { error: 'must name at least one room' })
    .max(MAX_ROOMS, { error: `must name at most ${MAX_ROOMS} rooms` })
    .meta({ description: 'Limits the token to these rooms. Without it: no such limit.' })
    .optional(),
  expiresIn: z
    .int({ error: secondsError })
    .min(MIN_SECONDS, { error: secondsError })
    .max(MAX_TOKEN_SECONDS, { error: secondsError })
    .default(DEFAULT_SECONDS)
    .meta({ description: 'Lifetime of the token in seconds.', example: DEFAULT_SECONDS }),
})

const output = z
  .object({
    token: z.string().meta({ description: 'A JWT. Send it as `Authorization: Bearer …`.' }),
    expiresAt: time,
    expiresInMs: msLeft,
  })
  .meta({ id: 'CreateUserTokenResult', additionalProperties: true })

/**
 * Creates a short-lived token for one person: a customer, who sees their own rooms, or one of the support team.
 *
 * @throws AppError BAD_REQUEST, FORBIDDEN, NOT_FOUND
 */
export const createUserToken = mutation({
  access: tokenIssuers,
  cost: 'issue',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'POST',
    path: '/api/v3/user-tokens',
    tag: 'access',
    summary: 'Create a user token',
    description:
      'Needs an admin or support key. The token is short-lived and for one person. Give their browser the token, never the key.',
    created: () => true,
  },
  example: {
    input: { orgId: 'DOWELL12345', userId: 'ABCD12345', side: false, expiresIn: 3600 },
    output: {
      token: 'eyJhbGciOiJIUzI1NiIs…',
      expiresAt: '2023-08-29T06:10:21.000Z',
      expiresInMs: 3_599_750,
    },
  },
  async run({ deps, actor, scope }, { orgId, userId, side, rooms, expiresIn }) {
    assertOrganisation(scope, orgId)
    await assertUserId(deps.db.read, { orgId, userId })
    const nowMs = deps.clock()
    const now = Math.floor(nowMs / 1000)
    const expiresAt = now + expiresIn
    const keyId = actor.kind === 'key' ? actor.keyId : undefined
    const { revoked_at: revokedAt } = await findUserTokenStatus(deps.db.read, {
      orgId,
      userId,
      keyId: keyId ?? '',
    })
    // A revocation ends the tokens of its whole second, and a new one made right after it must be valid.
    const issuedAt = revokedAt === null ? now : Math.max(now, Math.floor(revokedAt / 1000) + 1)
    // Otherwise another revocation in this second would miss the token.
    if (issuedAt > now) await sleep(Math.min(issuedAt * 1000 - nowMs, 1000))
    const times = { issuedAt, expiresAt }
    const token = await signUserToken(deps, { orgId, userId, side, rooms, keyId, ...times })
    const details = { side, expiresIn, ...(rooms ? { rooms } : {}) }
    await deps.db.write((tx) =>
      appendAuditEvent(deps, tx, {
        actor,
        orgId,
        action: 'userToken.created',
        target: userId,
        details,
      }),
    )
    return { token, ...expiry(expiresAt * 1000, deps.clock()) }
  },
})
