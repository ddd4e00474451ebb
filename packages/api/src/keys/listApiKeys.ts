import { findApiKey, listApiKeysPage } from '@dowell-chat/db'
import { z } from 'zod'
import { listPage } from '../encoding/listPage.ts'
import { DEFAULT_LIMIT, pageInput, pageOf, toPageRef } from '../encoding/paging.ts'
import { admins, assertOrganisation } from '../operation/access.ts'
import { badField } from '../operation/errors.ts'
import { query } from '../operation/operation.ts'
import { ApiKey, exampleApiKey, orgId, toApiKey } from './schema.ts'

const input = z.strictObject({ orgId, ...pageInput })

const output = pageOf(ApiKey).meta({ id: 'ApiKeyPage', additionalProperties: true })

/** Lists an organisation's API keys, oldest first, revoked ones too. @throws AppError FORBIDDEN, NOT_FOUND, BAD_REQUEST */
export const listApiKeys = query({
  access: admins,
  cost: 'read',
  input,
  output,
  errors: ['NOT_FOUND', 'CURSOR_TOO_OLD'],
  rest: {
    method: 'GET',
    path: '/api/v3/api-keys',
    tag: 'access',
    summary: "List an organisation's API keys",
    description: 'Needs an admin key. Oldest first, with the revoked ones, without the secrets.',
  },
  example: {
    input: { orgId: 'DOWELL12345', limit: 50 },
    output: {
      items: [exampleApiKey],
      before: 'azow',
      after: 'azox',
      hasBefore: false,
      hasAfter: false,
    },
  },
  async run({ deps, scope }, { orgId, limit = DEFAULT_LIMIT, ...page }) {
    assertOrganisation(scope, orgId)
    return listPage(
      {
        tag: 'k',
        cursorEpoch: deps.cursorEpoch,
        next: (where) => listApiKeysPage(deps.db.read, { ...where, orgId }),
        async positionOf(keyId) {
          const key = await findApiKey(deps.db.read, { orgId, keyId })
          if (!key) throw badField('around', 'is not the id of a key in this list')
          return key.position
        },
        toItem: toApiKey,
      },
      limit,
      toPageRef('k', page),
    )
  },
})
