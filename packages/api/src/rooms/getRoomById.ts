import { z } from 'zod'
import { readers } from '../operation/access.ts'
import { query } from '../operation/operation.ts'
import { getRoomOrThrow, roomViewOf } from './policy.ts'
import { exampleRoom, Room, roomId } from './schema.ts'

const input = z.strictObject({ roomId })

/** Returns a room; a deleted one too. @throws AppError FORBIDDEN; NOT_FOUND */
export const getRoomById = query({
  access: readers,
  cost: 'read',
  input,
  output: Room,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'GET',
    path: '/api/v3/rooms/{roomId}',
    tag: 'rooms',
    summary: 'Read a room',
    description: 'Deleted rooms stay readable, with `isActive` false.',
    resource: (room) => room,
  },
  example: { input: { roomId: exampleRoom.id }, output: exampleRoom },
  async run(call, { roomId }) {
    const view = await roomViewOf(call)
    const room = await getRoomOrThrow(call, roomId)
    call.atVersion?.(view.versionOf(room))
    return view.toRoom(room)
  },
})
