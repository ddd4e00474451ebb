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
import { assertVersion, ifVersion } from '../operation/preconditions.ts'
import {
  defaults,
  exampleOrganisation,
  Organisation,
  orgId,
  readSettings,
  Settings,
  settings,
  settingsVersion,
  toOrganisation,
} from './schema.ts'

const input = z.strictObject({ orgId, ...Settings.partial().shape, ifVersion })

/**
 * Changes some settings of an organisation. They take effect with the commit; what customers see of rooms, on other
 * instances within a second.
 *
 * @throws AppError FORBIDDEN, NOT_FOUND, BAD_REQUEST, PRECONDITION_FAILED
 */
export const updateOrganisation = mutation({
  access: admins,
  cost: 'write',
  input,
  output: Organisation,
  errors: ['NOT_FOUND', 'PRECONDITION_FAILED'],
  rest: {
    method: 'PATCH',
    path: '/api/v3/organisations/{orgId}',
    tag: 'access',
    summary: "Change an organisation's settings",
    description: 'Needs an admin key. Settings that you leave out do not change.',
    resource: (organisation) => organisation,
    mergePatch: { members: Object.keys(settings), removed: defaults },
  },
  example: {
    input: { orgId: exampleOrganisation.id, products: exampleOrganisation.products },
    output: exampleOrganisation,
  },
  async run(call, { orgId, ifVersion, ...changes }) {
    const { deps, actor, scope } = call
    assertOrganisation(scope, orgId)
    await assertOrganisationId(deps.db.read, orgId)
    const organisation = await deps.db.write(async (tx) => {
      await lockOrganisation(tx, { orgId, now: deps.clock() })
      const stored = await findOrganisationSettings(tx, { orgId })
      const before = readSettings(stored)
      const version = settingsVersion(stored)
      assertVersion(call, ifVersion, version)
      const changed = Object.entries(changes).filter(
        ([key, value]) =>
          value !== undefined && !isDeepStrictEqual(value, before[key as keyof Settings]),
      )
      if (changed.length === 0) return toOrganisation(orgId, before, version)
      const details = Object.fromEntries(changed)
      // Settings never set are not stored, so that they follow the defaults. Settings of a newer version stay.
      const json = JSON.stringify({ ...JSON.parse(stored?.settings ?? '{}'), ...details })
      await saveOrganisationSettings(tx, { orgId, settings: json, version: version + 1 })
      const action = 'organisation.updated'
      await appendAuditEvent(deps, tx, { actor, orgId, action, target: orgId, details })
      return toOrganisation(orgId, { ...before, ...details }, version + 1)
    })
    deps.settings.forget(orgId)
    return organisation
  },
})
