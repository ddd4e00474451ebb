import { findOrganisationSettings } from '@dowell-chat/db'
import { z } from 'zod'
import { admins, assertOrganisation } from '../operation/access.ts'
import { query } from '../operation/operation.ts'
import {
  exampleOrganisation,
  Organisation,
  orgId,
  readSettings,
  settingsVersion,
  toOrganisation,
} from './schema.ts'

const input = z.strictObject({ orgId })

/** Returns an organisation's settings, with defaults for those never set. @throws AppError FORBIDDEN, NOT_FOUND */
export const getOrganisation = query({
  access: admins,
  cost: 'read',
  input,
  output: Organisation,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    path: '/api/v3/organisations/{orgId}',
    tag: 'access',
    summary: "Get an organisation's settings",
    description: 'Needs an admin key.',
    resource: (organisation) => organisation,
  },
  example: { input: { orgId: exampleOrganisation.id }, output: exampleOrganisation },
  async run({ deps, scope }, { orgId }) {
    assertOrganisation(scope, orgId)
    const stored = await findOrganisationSettings(deps.db.read, { orgId })
    return toOrganisation(orgId, readSettings(stored), settingsVersion(stored))
  },
})
