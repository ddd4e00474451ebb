import { z } from 'zod'
import { assertParticipantId, requireParticipant } from '../auth/participant.ts'
import { boolean, expiry, msLeft, name, time } from '../encoding/fields.ts'
import { writers } from '../operation/access.ts'
import { AppError } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { getRoomOrThrow } from '../rooms/policy.ts'
import { exampleRoom, roomId } from '../rooms/schema.ts'
import { toRoomRef } from './live/streamFilter.ts'

const input = z.strictObject({
  roomId,
  isTyping: boolean.meta({ description: 'True: the user types. False: the user has stopped.' }),
  userId: name
    .meta({ description: 'The user who types, for a caller without a user token.' })
    .optional(),
  side: boolean
    .meta({ description: 'The side of `userId`; required together with it.' })
    .optional(),
})

const output = z
  .object({
    expiresAt: time.meta({
      description: 'When the user counts as no longer typing, unless you repeat the call.',
    }),
    expiresInMs: msLeft,
  })
  .meta({ id: 'SetTypingResult', additionalProperties: true })

/**
 * Broadcasts that a participant types in a room, or stopped. A start expires after 6 seconds, or with their next message.
 * Repeated starts within 2 seconds are not broadcast.
 *
 * @throws AppError FORBIDDEN; BAD_REQUEST when a caller without a user token names no user; NOT_FOUND; ROOM_CLOSED
 */
export const setTyping = mutation({
  access: writers,
  cost: 'write',
  input,
  output,
  errors: ['NOT_FOUND', 'ROOM_CLOSED'],
  rest: {
    method: 'POST',
    path: '/api/v3/rooms/{roomId}/typing',
    tag: 'events',
    summary: 'Send a typing indicator',
    description:
      'Sent to the open streams, not stored. It expires after 6 seconds: repeat it every few seconds while the user types. Streams get it at most every 2 seconds.',
  },
  example: {
    input: { roomId: exampleRoom.id, isTyping: true, userId: exampleRoom.userId, side: false },
    output: { expiresAt: '2023-08-29T05:10:27.000Z', expiresInMs: 6000 },
  },
  async run({ deps, actor, scope }, { roomId, isTyping, userId, side }) {
    const room = await getRoomOrThrow({ deps, scope }, roomId)
    const participant = requireParticipant(actor, ['userId', userId], ['side', side])
    assertParticipantId(actor, 'userId', participant, room)
    if (room.is_active === 0) throw new AppError('ROOM_CLOSED')
    const { typing } = deps.live
    const expiresAt = isTyping
      ? typing.start(toRoomRef(room), participant)
      : typing.stop(roomId, participant)
    return expiry(expiresAt, deps.clock())
  },
})
