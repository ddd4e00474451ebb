import { z } from 'zod'
import { assertOrganisation } from '../operation/access.ts'
import { subscription } from '../operation/operation.ts'
import { listing, roomIdentity } from '../rooms/schema.ts'
import { openStream, place } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ ...listing, userId: roomIdentity.userId, ...place })

/**
 * What happens in all rooms of one end user. For a customer the rooms of others are empty.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE for one
 *   stream too many
 */
export const onUserEvents = subscription({
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
    path: '/api/v3/users/{userId}/events',
    summary: "Follow the events of a user's rooms",
    description: 'What happens in all rooms of one end user, as it happens.',
  },
  example: { input: { orgId: exampleEvent.orgId, userId: 'ABCD12345' }, output: exampleEvent },
  async run(call, wanted) {
    assertOrganisation(call.scope, wanted.orgId)
    return openStream(call, wanted)
  },
})
