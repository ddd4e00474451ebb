import { z } from 'zod'
import { assertOrganisation, readers } from '../operation/access.ts'
import { subscription } from '../operation/operation.ts'
import { listing, roomIdentity } from '../rooms/schema.ts'
import { openStream, startInput } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ ...listing, userId: roomIdentity.userId, ...startInput })

/**
 * Streams the events of all rooms of one end user. A customer gets no events of other users.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE when too many
 *   streams are open
 */
export const onUserEvents = subscription({
  access: readers,
  cost: 'read',
  input,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    tag: 'events',
    path: '/api/v3/users/{userId}/events',
    summary: "Follow the events of a user's rooms",
    description: 'Live events of all rooms of one end user.',
  },
  example: { input: { orgId: exampleEvent.orgId, userId: 'ABCD12345' }, output: exampleEvent },
  async run(call, request) {
    assertOrganisation(call.scope, request.orgId)
    return openStream(call, request)
  },
})
