import { appendEvent, findRoomForUpdate, type RoomRow, updateRoomDetails } from '@dowell-chat/db'
import { z } from 'zod'
import { appendAuditEvent } from '../audit/append.ts'
import { trimBlanks } from '../encoding/text.ts'
import { supportTeam } from '../operation/access.ts'
import { badField } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { assertVersion, ifVersion } from '../operation/preconditions.ts'
import { customPatch, findSizeError } from './custom.ts'
import { mergePatch } from './mergePatch.ts'
import { roomNotFound } from './policy.ts'
import {
  addLabels,
  exampleRoom,
  MAX_LABELS,
  Room,
  removeLabels,
  roomDetails,
  roomId,
  toRoom,
} from './schema.ts'

const details = z.object(roomDetails).partial().shape

const input = z
  .strictObject({
    roomId,
    ...details,
    addLabels: addLabels.optional(),
    removeLabels: removeLabels.optional(),
    customPatch: customPatch.optional(),
    ifVersion,
  })
  .superRefine(checkOneWay)
type Input = z.output<typeof input>

/** Whether a list has a label, perhaps with blanks at its ends, which new labels lose. */
function names(labels: readonly string[], label: string): boolean {
  return labels.some((one) => one === label || trimBlanks(one) === label)
}

/** A field is either replaced or changed. */
function checkOneWay(
  { labels, addLabels, removeLabels = [], custom, customPatch }: Input,
  ctx: z.RefinementCtx,
): void {
  const refuse = (field: string, message: string) =>
    ctx.addIssue({ code: 'custom', path: [field], message })
  if (labels && (addLabels || removeLabels.length > 0)) {
    refuse('labels', 'must not be sent together with addLabels or removeLabels')
  }
  if (addLabels?.some((label) => names(removeLabels, label))) {
    refuse('removeLabels', 'must not have a label of addLabels')
  }
  if (custom && customPatch) refuse('custom', 'must not be sent together with customPatch')
}

/** Returns a room's new labels as stored. @throws AppError BAD_REQUEST for too many */
function changedLabels(before: RoomRow, { labels, addLabels = [], removeLabels = [] }: Input) {
  if (labels) return JSON.stringify(labels)
  if (addLabels.length === 0 && removeLabels.length === 0) return before.labels
  const kept = (JSON.parse(before.labels) as string[]).filter(
    (label) => !names(removeLabels, label),
  )
  const changed = [...new Set([...kept, ...addLabels])]
  if (addLabels.length > 0 && changed.length > MAX_LABELS) {
    throw badField('addLabels', `must leave the room with at most ${MAX_LABELS} labels`)
  }
  return JSON.stringify(changed)
}

/** Returns a room's new `custom` as stored. @throws AppError BAD_REQUEST for one that is too large after merging */
function changedCustom(before: RoomRow, { custom, customPatch }: Input) {
  if (custom) return JSON.stringify(custom)
  if (!customPatch) return before.custom
  const merged = mergePatch(JSON.parse(before.custom), customPatch)
  const error = findSizeError(merged)
  if (error !== undefined) throw badField('customPatch', `leaves an object that ${error}`)
  return JSON.stringify(merged)
}

/**
 * Changes some details of a room; a deleted one too. Repeating a change does nothing. Labels and keys of `custom` can be
 * changed one by one, so that two callers at once lose nothing.
 *
 * @throws AppError FORBIDDEN, BAD_REQUEST, NOT_FOUND, PRECONDITION_FAILED
 */
export const updateRoom = mutation({
  access: supportTeam,
  cost: 'write',
  input,
  output: Room,
  errors: ['NOT_FOUND', 'PRECONDITION_FAILED'],
  rest: {
    method: 'PATCH',
    path: '/api/v3/rooms/{roomId}',
    tag: 'rooms',
    summary: 'Update a room',
    description:
      'Sets subject, status, assignee, labels and your own data. Fields that you leave out do not change. For the support team.',
    resource: (room) => room,
    mergePatch: {
      members: Object.keys(roomDetails),
      removed: { labels: [], custom: {} },
      merged: { custom: 'customPatch' },
    },
  },
  example: {
    input: { roomId: exampleRoom.id, status: 'pending', labels: ['billing'] },
    output: { ...exampleRoom, status: 'pending', labels: ['billing'], version: 2 },
  },
  async run(call, input) {
    const { deps, actor, scope } = call
    const { roomId } = input
    return deps.db.write(async (tx) => {
      const before = await findRoomForUpdate(tx, { ...scope, roomId })
      if (!before) throw roomNotFound()
      assertVersion(call, input.ifVersion, before.details_version)
      const { subject = before.subject, status = before.status, assignee = before.assignee } = input
      const labels = changedLabels(before, input)
      const custom = changedCustom(before, input)
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
