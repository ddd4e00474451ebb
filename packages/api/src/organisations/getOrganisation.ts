import { findOrganisationSettings } from '@dowell-chat/db'
import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { authorise, requireOrganisation } from '../operation/access.ts'
import type { Deps } from '../operation/context.ts'
import { procedure } from '../operation/trpc.ts'
import { exampleOrganisation, Organisation, orgId, readSettings, toOrganisation } from './schema.ts'

const input = z.strictObject({ orgId })

/** An organisation's settings; the defaults for one that never set anything. @throws AppError FORBIDDEN, NOT_FOUND */
export async function getOrganisation(
  deps: Deps,
  actor: Actor,
  { orgId }: z.output<typeof input>,
): Promise<Organisation> {
  requireOrganisation(authorise(actor, 'getOrganisation'), orgId)
  return toOrganisation(
    orgId,
    readSettings(await findOrganisationSettings(deps.db.read, { orgId })),
  )
}

export const getOrganisationProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/organisations/{orgId}',
      tags: ['access'],
      summary: "Get an organisation's settings",
      description: 'Needs an admin key.',
    },
    output: Organisation,
    errors: ['NOT_FOUND'],
    example: { input: { orgId: exampleOrganisation.id }, output: exampleOrganisation },
  })
  .input(input)
  .query(({ ctx, input }) => getOrganisation(ctx.deps, ctx.actor, input))
