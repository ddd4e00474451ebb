import { z } from 'zod'
import { assertOrganisation, readers } from '../operation/access.ts'
import { subscription } from '../operation/operation.ts'
import { listing, roomFilter } from '../rooms/schema.ts'
import { openStream, presenceInput, roomIdsInput, startInput } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({
  ...listing,
  userId: roomFilter.userId,
  roomIds: roomIdsInput,
  ...presenceInput,
  ...startInput,
})

/**
 * Streams the events of an organisation's rooms; a customer gets those of their own rooms.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE when too many
 *   streams are open
 */
export const onInboxEvents = subscription({
  access: readers,
  cost: 'read',
  input,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    tag: 'events',
    path: '/api/v3/events',
    summary: "Follow the events of an organisation's rooms",
    description:
      'Live events of all rooms that the caller may see, of the rooms in `roomIds`, or of the rooms of `userId`.',
  },
  example: { input: { orgId: exampleEvent.orgId }, output: exampleEvent },
  async run(call, request) {
    assertOrganisation(call.scope, request.orgId)
    return openStream(call, request)
  },
})
