import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { authorise } from '../operation/access.ts'
import type { Deps, StreamReader } from '../operation/context.ts'
import { procedure } from '../operation/trpc.ts'
import { readableRoom } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import type { EventStream } from './live/stream.ts'
import { openStream, place, presence } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ roomId, ...presence, ...place })

/**
 * What happens in one room, deleted ones too.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE for one stream too many
 */
export async function onRoomEvents(
  deps: Deps,
  actor: Actor,
  { roomId, ...wanted }: z.output<typeof input>,
  reader: StreamReader,
): Promise<EventStream> {
  const room = await readableRoom(deps, actor, 'onRoomEvents', roomId)
  const scope = authorise(actor, 'onRoomEvents')
  const asked = { ...wanted, orgId: room.org_id, roomIds: [roomId] }
  return openStream(deps, actor, scope, asked, reader)
}

export const onRoomEventsProcedure = procedure
  .meta({
    stream: {
      path: '/api/v3/rooms/{roomId}/events',
      summary: "Follow a room's events",
      description: 'What happens in one room, as it happens.',
    },
    errors: ['NOT_FOUND'],
    example: { input: { roomId: exampleEvent.roomId }, output: exampleEvent },
  })
  .input(input)
  .subscription(({ ctx, input }) => onRoomEvents(ctx.deps, ctx.actor, input, ctx))
