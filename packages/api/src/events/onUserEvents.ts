import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { authorise, requireOrganisation } from '../operation/access.ts'
import type { Deps, StreamReader } from '../operation/context.ts'
import { procedure } from '../operation/trpc.ts'
import { listing, roomIdentity } from '../rooms/schema.ts'
import type { EventStream } from './live/stream.ts'
import { openStream, place } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ ...listing, userId: roomIdentity.userId, ...place })

/**
 * What happens in all rooms of one end user. For a customer the rooms of others are empty.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE for one
 *   stream too many
 */
export async function onUserEvents(
  deps: Deps,
  actor: Actor,
  wanted: z.output<typeof input>,
  reader: StreamReader,
): Promise<EventStream> {
  const scope = authorise(actor, 'onUserEvents')
  requireOrganisation(scope, wanted.orgId)
  return openStream(deps, actor, scope, wanted, reader)
}

export const onUserEventsProcedure = procedure
  .meta({
    stream: {
      path: '/api/v3/users/{userId}/events',
      summary: "Follow the events of a user's rooms",
      description: 'What happens in all rooms of one end user, as it happens.',
    },
    errors: ['NOT_FOUND'],
    example: { input: { orgId: exampleEvent.orgId, userId: 'ABCD12345' }, output: exampleEvent },
  })
  .input(input)
  .subscription(({ ctx, input }) => onUserEvents(ctx.deps, ctx.actor, input, ctx))
