import { findRoom, type RoomScope } from '@dowell-chat/db'
import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { boolean, id } from '../encoding/fields.ts'
import type { Call, Deps } from '../operation/context.ts'
import { AppError } from '../operation/errors.ts'
import { NOW } from './cursor.ts'
import type { EventStream } from './live/eventStream.ts'
import { isInFilter, type RoomRef, toRoomRef } from './live/streamFilter.ts'

const cursorText = z.string({ error: 'must be a cursor' })

/** Cursors are not validated: an invalid one leads to a `reset`, from which every client recovers. */
export const startInput = {
  after: cursorText
    .meta({
      description: `Begin after this cursor. Without it, or with \`${NOW}\`: with the next event.`,
    })
    .optional(),
  lastEventId: cursorText
    .meta({
      description:
        'The same, to resume a stream; takes precedence over `after`. In REST: Last-Event-ID.',
    })
    .optional(),
}

export const streamId = z.string({ error: 'must be text' }).regex(/^[A-Za-z0-9_-]{16,64}$/, {
  error: 'must have 16 to 64 of the characters A-Z, a-z, 0-9, _ and -',
})

export const presenceInput = {
  streamId: streamId
    .meta({
      description:
        'A random name for this stream. With it you promise `sendHeartbeat` every 20 seconds, and your side is shown as absent 50 seconds after the last one. Without it, your side is shown as present until the connection ends.',
    })
    .optional(),
  side: boolean
    .meta({
      description:
        'The side to show as present in the rooms, for a caller with an API key; a user token has its own side. Without it: no presence.',
    })
    .optional(),
}

const MAX_ROOMS = 50

export const roomIdsInput = z
  .array(id, { error: 'must be a list of room ids' })
  .min(1, { error: 'must name at least one room' })
  .max(MAX_ROOMS, { error: `must name at most ${MAX_ROOMS} rooms` })
  .meta({ description: 'Only these rooms. Rooms that the caller may not see have no events.' })
  .optional()

interface StreamRequest {
  readonly orgId: string
  readonly roomIds?: readonly string[] | undefined
  readonly userId?: string | undefined
  readonly productName?: string | undefined
  readonly side?: boolean | undefined
  readonly streamId?: string | undefined
  readonly after?: string | undefined
  readonly lastEventId?: string | undefined
}

/** Opens a stream of the requested events, restricted to the rooms that the caller may see. */
export async function openStream(
  { deps, actor, scope, address, payForReplay }: Call,
  request: StreamRequest,
): Promise<EventStream> {
  const side = resolveSide(actor, request.side)
  const { orgId, productName, roomIds } = request
  // Other users' rooms do not exist for a customer, so the stream stays empty rather than fail.
  const isOtherUser =
    scope.userId !== undefined && (request.userId ?? scope.userId) !== scope.userId
  const userId = scope.userId ?? request.userId
  const ids = roomIds ?? scope.roomIds
  const visible = isOtherUser ? [] : ids && (await findVisibleRooms(deps, { ...scope, orgId }, ids))
  // A token's rooms may be of other users and products than the stream.
  const rooms = visible?.filter((room) => isInFilter({ userId, productName }, room))
  return deps.live.open(
    actor,
    { orgId, rooms, userId, productName },
    {
      after: cursorIn(request.lastEventId) ?? cursorIn(request.after),
      side: roomIds ? side : undefined,
      streamId: request.streamId,
      address,
      payForReplay,
    },
  )
}

/** @returns undefined for an empty text, as a form or a header sends it, and for `now` */
function cursorIn(text: string | undefined): string | undefined {
  return text === '' || text === NOW ? undefined : text
}

/** @throws AppError FORBIDDEN when it is not the side of the token */
function resolveSide(actor: Actor, side: boolean | undefined): boolean | undefined {
  if (actor.kind !== 'user') return side
  if (side !== undefined && side !== actor.side) {
    throw new AppError('FORBIDDEN', {
      errors: { side: [`must be ${actor.side}, the side of the token`] },
    })
  }
  return actor.side
}

async function findVisibleRooms(
  deps: Deps,
  scope: RoomScope,
  roomIds: readonly string[],
): Promise<RoomRef[]> {
  const rows = await Promise.all(
    [...new Set(roomIds)].map((roomId) => findRoom(deps.db.read, { ...scope, roomId })),
  )
  return rows.filter((row) => row !== undefined).map(toRoomRef)
}
