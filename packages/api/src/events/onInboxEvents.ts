import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { authorise, requireOrganisation } from '../operation/access.ts'
import type { Deps, StreamReader } from '../operation/context.ts'
import { procedure } from '../operation/trpc.ts'
import { listing } from '../rooms/schema.ts'
import type { EventStream } from './live/stream.ts'
import { openStream, place, presence, roomIds } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ ...listing, roomIds, ...presence, ...place })

/**
 * What happens in an organisation's rooms; for a customer in their own.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE for one
 *   stream too many
 */
export async function onInboxEvents(
  deps: Deps,
  actor: Actor,
  wanted: z.output<typeof input>,
  reader: StreamReader,
): Promise<EventStream> {
  const scope = authorise(actor, 'onInboxEvents')
  requireOrganisation(scope, wanted.orgId)
  return openStream(deps, actor, scope, wanted, reader)
}

export const onInboxEventsProcedure = procedure
  .meta({
    stream: {
      path: '/api/v3/events',
      summary: "Follow the events of an organisation's rooms",
      description:
        'What happens in all rooms that the caller sees, or in those that are named, as it happens.',
    },
    errors: ['NOT_FOUND'],
    example: { input: { orgId: exampleEvent.orgId }, output: exampleEvent },
  })
  .input(input)
  .subscription(({ ctx, input }) => onInboxEvents(ctx.deps, ctx.actor, input, ctx))
