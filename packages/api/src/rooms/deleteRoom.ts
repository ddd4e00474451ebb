import { appendEvent, findRoomForUpdate, setRoomActive } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { boolean } from '../encoding/fields.ts'
import { supportTeam } from '../operation/access.ts'
import { AppError } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { assertVersion, ifVersion } from '../operation/preconditions.ts'
import { roomNotFound } from './policy.ts'
import { exampleRoom, Room, roomId, toRoom } from './schema.ts'

export const isActive = boolean.meta({
  description: 'False (the default) deletes the room. True restores it.',
})

const input = z.strictObject({
  roomId,
  isActive: isActive.optional(),
  ifVersion,
})

/**
 * Deletes a room, or restores it. A deleted room keeps its data and takes no new messages. Repeating a call does nothing.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND; PRECONDITION_FAILED; ROOM_ALREADY_ACTIVE when restoring would make a second active room
 */
export const deleteRoom = mutation({
  access: supportTeam,
  cost: 'write',
  input,
  output: Room,
  errors: ['NOT_FOUND', 'PRECONDITION_FAILED', 'ROOM_ALREADY_ACTIVE'],
  rest: {
    method: 'DELETE',
    path: '/api/v3/rooms/{roomId}',
    tag: 'rooms',
    summary: 'Delete or restore a room',
    description:
      'A deleted room stays listed and readable, with `isActive` false, and takes no new messages. `isActive=true` restores it.',
    resource: (room) => room,
  },
  example: {
    input: { roomId: exampleRoom.id },
    output: { ...exampleRoom, isActive: false, version: 2 },
  },
  async run(call, { roomId, isActive = false, ifVersion }) {
    const { deps, actor, scope } = call
    try {
      return await deps.db.write(async (tx) => {
        const before = await findRoomForUpdate(tx, { ...scope, roomId })
        if (!before) throw roomNotFound()
        assertVersion(call, ifVersion, before.details_version)
        if ((before.is_active === 1) === isActive) return toRoom(before)
        const { org_id: orgId } = before
        const now = deps.clock()
        const row = await setRoomActive(tx, { orgId, roomId, isActive, now })
        const action = isActive ? 'room.restored' : 'room.deleted'
        appendEvent(tx, { type: action, org_id: orgId, room_id: roomId, created_at: now })
        await appendAuditEvent(deps, tx, { actor, orgId, action, target: roomId })
        return toRoom(row ?? before)
      })
    } catch (error) {
      if (deps.db.isUniqueViolation(error)) {
        throw new AppError('ROOM_ALREADY_ACTIVE', { cause: error })
      }
      throw error
    }
  },
})
