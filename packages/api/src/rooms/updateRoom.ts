import { appendEvent, findRoomForUpdate, updateRoomDetails } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { supportTeam } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
import { roomNotFound } from './policy.ts'
import { exampleRoom, Room, roomDetails, roomId, toRoom } from './schema.ts'

const input = z.strictObject({ roomId, ...z.object(roomDetails).partial().shape })

/**
 * Changes some details of a room; a deleted one too. Repeating a change does nothing.
 *
 * @throws AppError FORBIDDEN, BAD_REQUEST, NOT_FOUND
 */
export const updateRoom = mutation({
  access: supportTeam,
  cost: 'write',
  input,
  output: Room,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'PATCH',
    path: '/api/v3/rooms/{roomId}',
    tag: 'rooms',
    summary: 'Update a room',
    description:
      'Sets subject, status, assignee, labels and your own data. Fields that you leave out do not change. For the support team.',
  },
  example: {
    input: { roomId: exampleRoom.id, status: 'pending', labels: ['billing'] },
    output: { ...exampleRoom, status: 'pending', labels: ['billing'] },
  },
  async run({ deps, actor, scope }, { roomId, ...changes }) {
    return deps.db.write(async (tx) => {
      const before = await findRoomForUpdate(tx, { ...scope, roomId })
      if (!before) throw roomNotFound()
      const {
        subject = before.subject,
        status = before.status,
        assignee = before.assignee,
      } = changes
      const labels = changes.labels ? JSON.stringify(changes.labels) : before.labels
      const custom = changes.custom ? JSON.stringify(changes.custom) : before.custom
      const details = { subject, status, assignee, labels, custom }
      const keys = Object.keys(details) as (keyof typeof details)[]
      const changed = keys.filter((key) => details[key] !== before[key])
      if (changed.length === 0) return toRoom(before)
      const now = deps.clock()
      const { org_id: orgId } = before
      const row = await updateRoomDetails(tx, { ...details, orgId, roomId, now })
      appendEvent(tx, { type: 'room.updated', org_id: orgId, room_id: roomId, created_at: now })
      // Without the values: the audit log keeps what it has for ever, and they may be about people.
      await appendAuditEvent(deps, tx, {
        actor,
        orgId,
        action: 'room.updated',
        target: roomId,
        details: { changed },
      })
      return toRoom(row)
    })
  },
})
