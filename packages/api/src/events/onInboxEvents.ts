import { z } from 'zod'
import { assertOrganisation } from '../operation/access.ts'
import { subscription } from '../operation/operation.ts'
import { listing } from '../rooms/schema.ts'
import { openStream, place, presence, roomIds } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ ...listing, roomIds, ...presence, ...place })

/**
 * What happens in an organisation's rooms; for a customer in their own.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE for one
 *   stream too many
 */
export const onInboxEvents = subscription({
  access: {
    open: 'any',
    adminKey: 'organisation',
    supportKey: 'organisation',
    readKey: 'organisation',
    supportToken: 'organisation',
    customerToken: 'own',
  },
  cost: 'read',
  input,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    tag: 'events',
    path: '/api/v3/events',
    summary: "Follow the events of an organisation's rooms",
    description:
      'What happens in all rooms that the caller sees, or in those that are named, as it happens.',
  },
  example: { input: { orgId: exampleEvent.orgId }, output: exampleEvent },
  async run(call, wanted) {
    assertOrganisation(call.scope, wanted.orgId)
    return openStream(call, wanted)
  },
})
