import { insertApiKey, nextPosition } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { formatApiKey, hashSecret } from '../auth/apiKeySecret.ts'
import { assertOrganisationId } from '../auth/newIds.ts'
import { newName } from '../encoding/fields.ts'
import { newId } from '../identifiers.ts'
import { admins, assertOrganisation } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
import { ApiKey, exampleApiKey, orgId, right, toApiKey } from './schema.ts'

const input = z.strictObject({
  orgId,
  right,
  name: newName
    .default('API key')
    .meta({ description: 'A name of your choice.', example: 'help desk' }),
})

const output = z
  .object({
    apiKey: ApiKey,
    secret: z.string().meta({ description: 'The key itself. It is shown only once.' }),
  })
  .meta({ id: 'CreateApiKeyResult', additionalProperties: true })

/** Creates an API key. The secret is returned and not stored. @throws AppError BAD_REQUEST, FORBIDDEN, NOT_FOUND */
export const createApiKey = mutation({
  access: admins,
  cost: 'issue',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'POST',
    path: '/api/v3/api-keys',
    tag: 'access',
    summary: 'Create an API key',
    description: 'Needs an admin key. The secret is shown only once.',
    created: () => true,
  },
  example: {
    input: { orgId: 'DOWELL12345', right: 'support', name: 'help desk' },
    output: { apiKey: exampleApiKey, secret: 'dck_64ed7d9da57293efb539eb1b_…' },
  },
  async run({ deps, actor, scope }, { orgId, right, name }) {
    assertOrganisation(scope, orgId)
    await assertOrganisationId(deps.db.read, orgId)
    const keyId = newId(deps)
    const secret = deps.randomBytes(32)
    const row = await deps.db.write(async (tx) => {
      const now = deps.clock()
      const row = await insertApiKey(tx, {
        id: keyId,
        position: await nextPosition(tx, 'last_key_position', { orgId, now }),
        org_id: orgId,
        secret_hash: hashSecret(secret),
        access: right,
        name,
        created_at: now,
        last_used_at: null,
        revoked_at: null,
      })
      const details = { right, name }
      await appendAuditEvent(deps, tx, {
        actor,
        orgId,
        action: 'apiKey.created',
        target: keyId,
        details,
      })
      return row
    })
    return { apiKey: toApiKey(row), secret: formatApiKey(keyId, secret) }
  },
})
