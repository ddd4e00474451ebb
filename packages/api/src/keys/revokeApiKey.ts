import { findApiKey, revokeApiKeyRow } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { id } from '../encoding/fields.ts'
import { admins } from '../operation/access.ts'
import { AppError } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { ApiKey, exampleApiKey, toApiKey } from './schema.ts'

const input = z.strictObject({
  keyId: id.meta({ description: "The key's id, not the key itself." }),
})

/**
 * Revokes an API key and every user token that it issued, from the next request on. Revoking it again does nothing.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND, also for another organisation's key
 */
export const revokeApiKey = mutation({
  access: admins,
  cost: 'write',
  input,
  output: ApiKey,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'DELETE',
    path: '/api/v3/api-keys/{keyId}',
    tag: 'access',
    summary: 'Revoke an API key',
    description: 'Needs an admin key. Also revokes the user tokens that the key issued.',
  },
  example: {
    input: { keyId: exampleApiKey.id },
    output: { ...exampleApiKey, revokedAt: '2023-08-30T08:00:00.000Z' },
  },
  async run({ deps, actor, scope }, { keyId }) {
    const { orgId } = scope
    return deps.db.write(async (tx) => {
      const revoked = await revokeApiKeyRow(tx, { orgId, keyId, now: deps.clock() })
      if (revoked) {
        const event = { actor, orgId: revoked.org_id, target: keyId }
        await appendAuditEvent(deps, tx, { ...event, action: 'apiKey.revoked' })
        return toApiKey(revoked)
      }
      const current = await findApiKey(tx, { orgId, keyId })
      if (!current) throw new AppError('NOT_FOUND', { message: 'There is no such API key' })
      return toApiKey(current)
    })
  },
})
