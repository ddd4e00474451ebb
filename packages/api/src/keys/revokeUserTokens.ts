import { saveUserTokenRevocation } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { name, time } from '../encoding/fields.ts'
import { assertOrganisation, tokenIssuers } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
import { orgId } from './schema.ts'

const input = z.strictObject({
  orgId,
  userId: name.meta({ description: 'The user of the tokens.', example: 'ABCD12345' }),
})

const output = z
  .object({
    revokedAt: time.meta({ description: 'Tokens issued up to this second are refused.' }),
  })
  .meta({ id: 'RevokeUserTokensResult', additionalProperties: true })

/**
 * Revokes all user tokens that a user was issued until now, of both sides, with the stream tokens made with them. The next
 * request on any instance is refused, and open streams end within seconds. New tokens are valid.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND
 */
export const revokeUserTokens = mutation({
  access: tokenIssuers,
  cost: 'write',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'DELETE',
    path: '/api/v3/user-tokens',
    tag: 'access',
    summary: "Revoke a user's tokens",
    description:
      'Needs an admin or support key. Ends all tokens of the user that were issued until now, on both sides, and the streams that they opened. New tokens are valid.',
  },
  example: {
    input: { orgId: 'DOWELL12345', userId: 'ABCD12345' },
    output: { revokedAt: '2023-08-29T05:10:21.000Z' },
  },
  async run({ deps, actor, scope }, { orgId, userId }) {
    assertOrganisation(scope, orgId)
    const now = deps.clock()
    await deps.db.write(async (tx) => {
      const action = 'userTokens.revoked'
      // First: it inserts the organisation if it is missing.
      await appendAuditEvent(deps, tx, { actor, orgId, action, target: userId })
      await saveUserTokenRevocation(tx, { orgId, userId, now })
    })
    return { revokedAt: new Date(now) }
  },
})
