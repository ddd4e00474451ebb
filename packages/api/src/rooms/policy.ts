import {
  findOrganisationSettings,
  findRoom,
  findRoomsAtBounds,
  type RoomIdentity,
  type RoomRow,
  type Session,
} from '@dowell-chat/db'
import { isCustomer } from '../auth/actor.ts'
import type { Call, Deps } from '../operation/context.ts'
import { AppError } from '../operation/errors.ts'
import { internalRoomFields, readSettings } from '../organisations/schema.ts'
import { type HiddenColumns, hiddenValues, type Room, toRoom, withoutHidden } from './schema.ts'

export function roomNotFound(): AppError {
  return new AppError('NOT_FOUND', { message: 'There is no such room' })
}

/** @throws AppError NOT_FOUND, with the same text for a room that the caller may not see and one that does not exist */
export async function getRoomOrThrow(
  { deps, scope }: Pick<Call, 'deps' | 'scope'>,
  roomId: string,
): Promise<RoomRow> {
  const room = await findRoom(deps.db.read, { ...scope, roomId })
  if (!room) throw roomNotFound()
  return room
}

/** Identifies the state of a room and its messages: the same version means the same content. */
export function versionOf({ id, version, updated_at }: RoomRow): string {
  return `${id}.${version}.${updated_at}`
}

/** The columns of rooms that are hidden from an organisation's customers. */
export async function hiddenFromCustomers(
  settings: Deps['settings'],
  orgId: string,
): Promise<HiddenColumns> {
  const { customerRoomFields } = await settings.get(orgId)
  const hidden = internalRoomFields.filter((field) => !customerRoomFields.includes(field))
  return Object.fromEntries(hidden.map((field) => [field, hiddenValues[field]]))
}

/** What a caller sees of rooms. */
export interface RoomView {
  readonly hidden: HiddenColumns
  toRoom(row: RoomRow): Room
  /** As {@link versionOf}; different where callers see different things. */
  versionOf(row: RoomRow): string
}

const fullView: RoomView = { hidden: {}, toRoom, versionOf }

export async function roomViewOf({ deps, actor }: Pick<Call, 'deps' | 'actor'>): Promise<RoomView> {
  if (!isCustomer(actor)) return fullView
  const hidden = await hiddenFromCustomers(deps.settings, actor.orgId)
  const suffix = Object.keys(hidden).map((field) => `-${field}`)
  return {
    hidden,
    toRoom: (row) => toRoom(withoutHidden(row, hidden)),
    versionOf: (row) => [versionOf(row), ...suffix].join(''),
  }
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/**
 * Checks that a customer may open a room: the organisation lists the product, and the customer is below the room limits.
 *
 * @param db within a transaction that has locked the organisation, the check is exact
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
    // Without a limit the result is not used.
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
  const [longestWait] = [
    {
      rooms: roomsPerMinute,
      per: 'minute',
      waitMs: computeWaitMs(reached.ofMinute, MINUTE_MS, now),
    },
    { rooms: roomsPerHour, per: 'hour', waitMs: computeWaitMs(reached.ofHour, HOUR_MS, now) },
  ]
    .filter(({ rooms, waitMs }) => rooms > 0 && waitMs > 0)
    .sort((a, b) => b.waitMs - a.waitMs)
  if (longestWait) {
    throw new AppError('TOO_MANY_REQUESTS', {
      message: `A customer may open ${longestWait.rooms} rooms per ${longestWait.per}`,
      retryAfter: Math.ceil(longestWait.waitMs / 1000),
    })
  }
}

/** Returns the time until a room is older than the window, at most the window: the clocks of instances differ. */
function computeWaitMs(openedAt: number | null, windowMs: number, now: number): number {
  return openedAt === null ? 0 : Math.min(windowMs, openedAt + windowMs - now)
}
