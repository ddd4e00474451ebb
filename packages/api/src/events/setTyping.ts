import { z } from 'zod'
import { requireParticipant } from '../auth/participant.ts'
import { boolean, name, time } from '../encoding/fields.ts'
import { AppError } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { getRoomOrThrow } from '../rooms/policy.ts'
import { exampleRoom, roomId } from '../rooms/schema.ts'
import { toRoomRef } from './live/streamFilter.ts'

const input = z.strictObject({
  roomId,
  isTyping: boolean.meta({ description: 'Whether they type, or have stopped.' }),
  userId: name
    .meta({ description: 'The user who types, for a caller without a user token.' })
    .optional(),
  side: boolean.meta({ description: 'Their side, together with `userId`.' }).optional(),
})

const output = z
  .object({
    expiresAt: time.meta({
      description: 'When they count as silent unless they are said to type again.',
    }),
  })
  .meta({ id: 'SetTypingResult', additionalProperties: true })

/**
 * Tells those who listen that somebody types in a room, or stopped. It lapses after 6 seconds, and at once with their next
 * message. Of more than one start in 2 seconds nobody hears.
 *
 * @throws AppError FORBIDDEN; BAD_REQUEST when a caller without a user token names nobody; NOT_FOUND; ROOM_CLOSED
 */
export const setTyping = mutation({
  access: {
    open: 'any',
    adminKey: 'organisation',
    supportKey: 'organisation',
    readKey: 'none',
    supportToken: 'organisation',
    customerToken: 'own',
  },
  cost: 'write',
  input,
  output,
  errors: ['NOT_FOUND', 'ROOM_CLOSED'],
  rest: {
    method: 'POST',
    path: '/api/v3/rooms/{roomId}/typing',
    tag: 'events',
    summary: 'Say that somebody is typing',
    description:
      'Tells the streams, and is kept nowhere. It lapses after 6 seconds: say it again every few seconds while it lasts; more often than every 2 seconds changes nothing for the listeners.',
  },
  example: {
    input: { roomId: exampleRoom.id, isTyping: true, userId: exampleRoom.userId, side: false },
    output: { expiresAt: '2023-08-29T05:10:27.000Z' },
  },
  async run({ deps, actor, scope }, { roomId, isTyping, userId, side }) {
    const room = await getRoomOrThrow({ deps, scope }, roomId)
    const person = requireParticipant(actor, ['userId', userId], ['side', side])
    if (room.is_active === 0) throw new AppError('ROOM_CLOSED')
    const { typing } = deps.live
    const expiresAt = isTyping ? typing.start(toRoomRef(room), person) : typing.stop(roomId, person)
    return { expiresAt: new Date(expiresAt) }
  },
})
