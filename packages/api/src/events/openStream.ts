import { findRoom, type RoomScope } from '@dowell-chat/db'
import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import { boolean, id } from '../encoding/fields.ts'
import type { Call, Deps } from '../operation/context.ts'
import { AppError } from '../operation/errors.ts'
import type { EventStream } from './live/eventStream.ts'
import { type RoomRef, toRoomRef } from './live/streamFilter.ts'

const cursorText = z.string({ error: 'must be a cursor' })

/** Where a stream begins. Not checked here: a cursor that is none gets a `reset`, so that a client finds its way back. */
export const place = {
  after: cursorText
    .meta({ description: 'The cursor after which to begin; left out: with what happens now.' })
    .optional(),
  lastEventId: cursorText
    .meta({
      description: 'The same for who resumes, and counts before `after`. In REST: Last-Event-ID.',
    })
    .optional(),
}

export const presence = {
  side: boolean
    .meta({
      description:
        'Whose side has the rooms open, for a caller with an API key; a token has its own. Left out: nobody sees it.',
    })
    .optional(),
}

const MAX_ROOMS = 50

export const roomIds = z
  .array(id, { error: 'must be a list of room ids' })
  .min(1, { error: 'must name at least one room' })
  .max(MAX_ROOMS, { error: `must name at most ${MAX_ROOMS} rooms` })
  .meta({ description: 'Only these rooms; those that the caller does not see bring nothing.' })
  .optional()

interface Wanted {
  readonly orgId: string
  readonly roomIds?: readonly string[] | undefined
  readonly userId?: string | undefined
  readonly productName?: string | undefined
  readonly side?: boolean | undefined
  readonly after?: string | undefined
  readonly lastEventId?: string | undefined
}

/** Opens a stream of the wanted events that the caller may see. */
export async function openStream(
  { deps, actor, scope, address, payForReplay }: Call,
  wanted: Wanted,
): Promise<EventStream> {
  const side = sideOf(actor, wanted.side)
  const { orgId, productName, roomIds } = wanted
  // What a customer does not see is not there: a stream of somebody else's rooms stays empty.
  const isForeign = scope.userId !== undefined && (wanted.userId ?? scope.userId) !== scope.userId
  const userId = scope.userId ?? wanted.userId
  const ids = roomIds ?? scope.roomIds
  const rooms = isForeign ? [] : ids && (await visibleRooms(deps, { ...scope, orgId }, ids))
  return deps.live.open(
    actor,
    { orgId, rooms, userId, productName },
    {
      after: wanted.lastEventId ?? wanted.after,
      side: roomIds ? side : undefined,
      address,
      payForReplay,
    },
  )
}

function sideOf(actor: Actor, side: boolean | undefined): boolean | undefined {
  if (actor.kind !== 'user') return side
  if (side !== undefined && side !== actor.side) {
    throw new AppError('FORBIDDEN', {
      errors: { side: [`must be ${actor.side}, the side of the token`] },
    })
  }
  return actor.side
}

async function visibleRooms(
  deps: Deps,
  scope: RoomScope,
  roomIds: readonly string[],
): Promise<RoomRef[]> {
  const rows = await Promise.all(
    [...new Set(roomIds)].map((roomId) => findRoom(deps.db.read, { ...scope, roomId })),
  )
  return rows.filter((row) => row !== undefined).map(toRoomRef)
}
