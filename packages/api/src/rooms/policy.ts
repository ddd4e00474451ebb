import {
  findOrganisationSettings,
  findRoom,
  findRoomsAtBounds,
  type RoomIdentity,
  type RoomRow,
  type Session,
} from '@dowell-chat/db'
import { authorise, type ProcedureName } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { AppError } from '../errors.ts'
import { readSettings } from '../organisations/schema.ts'

export function roomNotFound(): AppError {
  return new AppError('NOT_FOUND', { message: 'There is no such room' })
}

/**
 * The room, if it exists for this caller.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND, in the same words for another organisation's room and for none
 */
export async function readableRoom(
  deps: Deps,
  actor: Actor,
  procedure: ProcedureName,
  roomId: string,
): Promise<RoomRow> {
  const scope = authorise(actor, procedure)
  const room = await findRoom(deps.db.read, { ...scope, roomId })
  if (!room) throw roomNotFound()
  return room
}

/** What an answer about a room and its messages depends on: with the same version it is the same. */
export function versionOf({ id, version, updated_at }: RoomRow): string {
  return `${id}.${version}.${updated_at}`
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/**
 * Refuses a new room to a customer for whose organisation the product is none, or who has reached a bound.
 *
 * @param db a transaction that locks the organisation makes the answer exact
 * @throws AppError FORBIDDEN; TOO_MANY_REQUESTS
 */
export async function assertMayOpenRoom(
  deps: Deps,
  db: Session,
  { orgId, userId, productName }: RoomIdentity,
): Promise<void> {
  const { products } = readSettings(await findOrganisationSettings(db, { orgId }))
  if (products && !products.includes(productName)) {
    throw new AppError('FORBIDDEN', {
      message: 'The organisation lists the products for which customers may open rooms',
      errors: { productName: ['must be one of the products that the organisation lists'] },
    })
  }
  const { roomsPerCustomer, roomsPerMinute, roomsPerHour } = deps.limits
  const reached = await findRoomsAtBounds(db, {
    orgId,
    userId,
    // Where there is no limit, what is found is not looked at.
    active: Math.max(1, roomsPerCustomer),
    perMinute: Math.max(1, roomsPerMinute),
    perHour: Math.max(1, roomsPerHour),
  })
  if (roomsPerCustomer > 0 && reached.active !== null) {
    throw new AppError('TOO_MANY_REQUESTS', {
      message: `A customer may have ${roomsPerCustomer} active rooms: write in one of them, or have the support team delete one`,
    })
  }
  const now = deps.clock()
  const [longest] = [
    { rooms: roomsPerMinute, per: 'minute', waitMs: waitMs(reached.ofMinute, MINUTE_MS, now) },
    { rooms: roomsPerHour, per: 'hour', waitMs: waitMs(reached.ofHour, HOUR_MS, now) },
  ]
    .filter(({ rooms, waitMs }) => rooms > 0 && waitMs > 0)
    .sort((a, b) => b.waitMs - a.waitMs)
  if (longest) {
    throw new AppError('TOO_MANY_REQUESTS', {
      message: `A customer may open ${longest.rooms} rooms per ${longest.per}`,
      retryAfter: Math.ceil(longest.waitMs / 1000),
    })
  }
}

/** How long until a room is older than the window; the clocks of instances differ, so it may have been opened in the future. */
function waitMs(openedAt: number | null, windowMs: number, now: number): number {
  return openedAt === null ? 0 : Math.min(windowMs, openedAt + windowMs - now)
}
