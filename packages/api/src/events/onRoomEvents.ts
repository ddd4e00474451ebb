import { z } from 'zod'
import { subscription } from '../operation/operation.ts'
import { getRoomOrThrow } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { openStream, place, presence } from './openStream.ts'
import { exampleEvent } from './schema.ts'

const input = z.strictObject({ roomId, ...presence, ...place })

/**
 * What happens in one room, deleted ones too.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND; TOO_MANY_REQUESTS or SERVICE_UNAVAILABLE for one stream too many
 */
export const onRoomEvents = subscription({
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
    path: '/api/v3/rooms/{roomId}/events',
    summary: "Follow a room's events",
    description: 'What happens in one room, as it happens.',
  },
  example: { input: { roomId: exampleEvent.roomId }, output: exampleEvent },
  async run(call, { roomId, ...wanted }) {
    const room = await getRoomOrThrow(call, roomId)
    const asked = { ...wanted, orgId: room.org_id, roomIds: [roomId] }
    return openStream(call, asked)
  },
})
