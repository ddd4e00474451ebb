import { z } from 'zod'
import { readers } from '../operation/access.ts'
import { subscription } from '../operation/operation.ts'
import { getRoomOrThrow } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { openStream, presenceInput, startInput } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ roomId, ...presenceInput, ...startInput })

/**
 * Streams the events of one room; a deleted one too.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE when too many streams are open
 */
export const onRoomEvents = subscription({
  access: readers,
  cost: 'read',
  input,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    tag: 'events',
    path: '/api/v3/rooms/{roomId}/events',
    summary: "Follow a room's events",
    description: 'Live events of one room.',
  },
  example: { input: { roomId: exampleEvent.roomId }, output: exampleEvent },
  async run(call, { roomId, ...request }) {
    const room = await getRoomOrThrow(call, roomId)
    return openStream(call, { ...request, orgId: room.org_id, roomIds: [roomId] })
  },
})
