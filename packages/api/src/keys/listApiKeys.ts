import { findApiKey, listApiKeysPage } from '@dowell-chat/db'
import { z } from 'zod'
import { authorise, requireOrganisation } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { badField } from '../errors.ts'
import { DEFAULT_LIMIT, type Page, pageInput, pageOf, placeOf } from '../paging.ts'
import { positionPage } from '../positionPage.ts'
import { procedure } from '../trpc.ts'
import { ApiKey, exampleApiKey, orgId, toApiKey } from './schema.ts'

const input = z.strictObject({ orgId, ...pageInput })

const output = pageOf(ApiKey).meta({ id: 'ApiKeyPage', additionalProperties: true })

/** An organisation's API keys, oldest first, revoked ones too. @throws AppError FORBIDDEN, NOT_FOUND, BAD_REQUEST */
export async function listApiKeys(
  deps: Deps,
  actor: Actor,
  { orgId, limit = DEFAULT_LIMIT, ...place }: z.output<typeof input>,
): Promise<Page<ApiKey>> {
  requireOrganisation(authorise(actor, 'listApiKeys'), orgId)
  return positionPage(
    {
      tag: 'k',
      next: (where) => listApiKeysPage(deps.db.read, { ...where, orgId }),
      async positionOf(keyId) {
        const key = await findApiKey(deps.db.read, { orgId, keyId })
        if (!key) throw badField('around', 'is not the id of a key in this list')
        return key.position
      },
      toItem: toApiKey,
    },
    limit,
    placeOf('k', place),
  )
}

export const listApiKeysProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/api-keys',
      tags: ['access'],
      summary: "List an organisation's API keys",
      description: 'Needs an admin key. Oldest first, revoked ones too, never with their secrets.',
    },
    output,
    errors: ['NOT_FOUND'],
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
  })
  .input(input)
  .query(({ ctx, input }) => listApiKeys(ctx.deps, ctx.actor, input))
