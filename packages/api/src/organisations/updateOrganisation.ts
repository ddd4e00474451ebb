import { isDeepStrictEqual } from 'node:util'
import {
  findOrganisationSettings,
  lockOrganisation,
  saveOrganisationSettings,
} from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { assertOrganisationId } from '../auth/newIds.ts'
import { admins, assertOrganisation } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
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
 * Changes some settings of an organisation. They take effect on every instance with the commit.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND, BAD_REQUEST
 */
export const updateOrganisation = mutation({
  access: admins,
  cost: 'write',
  input,
  output: Organisation,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'PATCH',
    path: '/api/v3/organisations/{orgId}',
    tag: 'access',
    summary: "Change an organisation's settings",
    description: 'Needs an admin key. Settings that you leave out do not change.',
  },
  example: {
    input: { orgId: exampleOrganisation.id, products: exampleOrganisation.products },
    output: exampleOrganisation,
  },
  async run({ deps, actor, scope }, { orgId, ...changes }) {
    assertOrganisation(scope, orgId)
    await assertOrganisationId(deps.db.read, orgId)
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
      // Settings never set are not stored, so that they follow the defaults. Settings of a newer version stay.
      const settings = JSON.stringify({ ...JSON.parse(stored ?? '{}'), ...details })
      await saveOrganisationSettings(tx, { orgId, settings })
      const action = 'organisation.updated'
      await appendAuditEvent(deps, tx, { actor, orgId, action, target: orgId, details })
      return toOrganisation(orgId, { ...before, ...details })
    })
  },
})
