import { findRoom, type RoomListing, roomsNextTo } from '@dowell-chat/db'
import { z } from 'zod'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { badField } from '../errors.ts'
import {
  DEFAULT_LIMIT,
  encodeCursor,
  type Page,
  type Place,
  pageInput,
  pageOf,
  placeOf,
} from '../paging.ts'
import { procedure } from '../trpc.ts'
import { exampleRoom, listing, Room, toRoom } from './schema.ts'

const input = z.strictObject({ ...listing, ...pageInput })

const output = pageOf(Room).meta({ id: 'RoomPage', additionalProperties: true })

/**
 * An organisation's rooms in the order in which they were opened, deleted ones too. Without a cursor: the newest page.
 *
 * @throws AppError BAD_REQUEST for an invalid cursor
 */
export async function listRooms(
  deps: Deps,
  _actor: Actor,
  { limit = DEFAULT_LIMIT, orgId, productName, ...place }: z.output<typeof input>,
): Promise<Page<Room>> {
  return roomPage(deps, { orgId, productName }, limit, placeOf('r', place))
}

/** The page of a listing at a place. */
export async function roomPage(
  deps: Deps,
  listing: RoomListing,
  limit: number,
  place: Place,
): Promise<Page<Room>> {
  const boundary = await boundaryOf(deps, listing, place)
  const mostEarlier = place.kind === 'after' ? 0 : limit
  const mostLater = place.kind === 'newest' || place.kind === 'before' ? 0 : limit
  // One row more than can be shown, on both sides, tells whether there is more.
  const next = (direction: 'before' | 'after', most: number) =>
    roomsNextTo(deps.db.read, { ...listing, direction, boundary, limit: most + 1 })
  const earlier = await next('before', mostEarlier)
  const later = await next('after', mostLater)

  // Around a boundary: half on each side, and what one side lacks the other gives.
  const half = Math.ceil(limit / 2)
  const ofEarlier = Math.max(half, limit - Math.min(later.length, mostLater))
  const shownEarlier = Math.min(earlier.length, mostEarlier, ofEarlier)
  const shownLater = Math.min(later.length, mostLater, limit - shownEarlier)
  const rows = [...earlier.slice(earlier.length - shownEarlier), ...later.slice(0, shownLater)]

  // An empty newest page means an empty list: its cursors lie before everything that will come.
  const beside = place.kind === 'newest' ? 0 : boundary
  return {
    items: rows.map(toRoom),
    before: encodeCursor('r', (rows[0]?.position ?? beside + 1) - 1),
    after: encodeCursor('r', rows.at(-1)?.position ?? beside),
    hasBefore: earlier.length > shownEarlier,
    hasAfter: later.length > shownLater,
  }
}

async function boundaryOf(deps: Deps, listing: RoomListing, place: Place): Promise<number> {
  if (place.kind === 'newest') return Number.MAX_SAFE_INTEGER
  if (place.kind !== 'aroundItem') return place.boundary
  const room = await findRoom(deps.db.read, { orgId: listing.orgId, roomId: place.id })
  const listed =
    room && (listing.productName === undefined || room.product_name === listing.productName)
  if (!listed) throw badField('around', 'is not the id of a room in this list')
  return room.position
}

export const listRoomsProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/rooms',
      tags: ['rooms'],
      summary: "List an organisation's rooms",
      description:
        'In the order in which they were opened, a page at a time; without a cursor the newest page. Deleted rooms stay listed.',
    },
    example: {
      input: { orgId: 'DOWELL12345', productName: 'WIFIQRCODE', limit: 50 },
      output: {
        items: [exampleRoom],
        before: 'cjow',
        after: 'cjox',
        hasBefore: false,
        hasAfter: false,
      },
    },
  })
  .input(input)
  .output(output)
  .query(({ ctx, input }) => listRooms(ctx.deps, ctx.actor, input))
