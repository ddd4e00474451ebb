import { isDeepStrictEqual } from 'node:util'
import {
  findOrganisationSettings,
  lockOrganisation,
  saveOrganisationSettings,
} from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import type { Actor } from '../auth/actor.ts'
import { authorise, requireOrganisation } from '../operation/access.ts'
import type { Deps } from '../operation/context.ts'
import { procedure } from '../operation/trpc.ts'
import {
  exampleOrganisation,
  Organisation,
  orgId,
  readSettings,
  Settings,
  toOrganisation,
} from './schema.ts'

const input = z.strictObject({ orgId, ...Settings.partial().shape })

/**
 * Changes an organisation's settings; what is left out stays. Setting what is set already changes nothing. It takes effect
 * on every instance with the commit.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND, BAD_REQUEST
 */
export async function updateOrganisation(
  deps: Deps,
  actor: Actor,
  { orgId, ...changes }: z.output<typeof input>,
): Promise<Organisation> {
  requireOrganisation(authorise(actor, 'updateOrganisation'), orgId)
  return deps.db.write(async (tx) => {
    await lockOrganisation(tx, { orgId, now: deps.clock() })
    const stored = await findOrganisationSettings(tx, { orgId })
    const before = readSettings(stored)
    const changed = Object.entries(changes).filter(
      ([key, value]) =>
        value !== undefined && !isDeepStrictEqual(value, before[key as keyof Settings]),
    )
    if (changed.length === 0) return toOrganisation(orgId, before)
    const details = Object.fromEntries(changed)
    // What was never set is not stored, so that it follows the defaults; what only a newer version knows stays.
    const settings = JSON.stringify({ ...JSON.parse(stored ?? '{}'), ...details })
    await saveOrganisationSettings(tx, { orgId, settings })
    const action = 'organisation.updated'
    await appendAuditEvent(deps, tx, { actor, orgId, action, target: orgId, details })
    return toOrganisation(orgId, { ...before, ...details })
  })
}

export const updateOrganisationProcedure = procedure
  .meta({
    openapi: {
      method: 'PATCH',
      path: '/api/v3/organisations/{orgId}',
      tags: ['access'],
      summary: "Change an organisation's settings",
      description: 'Needs an admin key. What is left out stays as it is.',
    },
    output: Organisation,
    errors: ['NOT_FOUND'],
    example: {
      input: { orgId: exampleOrganisation.id, products: exampleOrganisation.products },
      output: exampleOrganisation,
    },
  })
  .input(input)
  .mutation(({ ctx, input }) => updateOrganisation(ctx.deps, ctx.actor, input))
