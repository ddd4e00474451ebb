import { listRoomsPage, unreadCounts } from '@dowell-chat/db'
import { z } from 'zod'
import { authorise, requireOrganisation } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import { type Person, personOf } from '../auth/person.ts'
import type { Deps } from '../context.ts'
import { badField } from '../errors.ts'
import { reader } from '../fields.ts'
import { DEFAULT_LIMIT, type Page, pageInput, pageOf, placeOf } from '../paging.ts'
import { positionPage } from '../positionPage.ts'
import { procedure } from '../trpc.ts'
import {
  exampleRoom,
  listing,
  type Room,
  RoomListItem,
  roomBytesAtMost,
  roomFilter,
  toRoom,
} from './schema.ts'

const input = z.strictObject({ ...listing, ...roomFilter, ...reader, ...pageInput })

const output = pageOf(RoomListItem).meta({ id: 'RoomPage', additionalProperties: true })

/**
 * An organisation's rooms in the order in which they were opened, deleted ones too; for a customer only their own.
 * Without a cursor: the newest page.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; BAD_REQUEST for an invalid cursor, or for
 *   half of a reader
 */
export async function listRooms(
  deps: Deps,
  actor: Actor,
  {
    limit = DEFAULT_LIMIT,
    before,
    after,
    around,
    readerId,
    readerSide,
    ...wanted
  }: z.output<typeof input>,
): Promise<Page<RoomListItem>> {
  const scope = authorise(actor, 'listRooms')
  requireOrganisation(scope, wanted.orgId)
  const reader = personOf(actor, ['readerId', readerId], ['readerSide', readerSide])
  const { userId = wanted.userId } = scope
  // A customer who asks for another's rooms finds none.
  const roomIds = userId === (wanted.userId ?? userId) ? scope.roomIds : []
  const listed = { ...wanted, userId, roomIds }
  const { read } = deps.db
  const page = await positionPage(
    {
      tag: 'r',
      next: (where) => listRoomsPage(read, { ...listed, ...where }),
      async positionOf(roomId) {
        const only = roomIds?.includes(roomId) === false ? [] : [roomId]
        const anywhere = { direction: 'after', boundary: 0, limit: 1 } as const
        const [room] = await listRoomsPage(read, { ...listed, roomIds: only, ...anywhere })
        if (!room) throw badField('around', 'is not the id of a room in this list')
        return room.position
      },
      toItem: toRoom,
      bytesAtMost: roomBytesAtMost,
    },
    limit,
    placeOf('r', { before, after, around }),
  )
  return withUnread(deps, wanted.orgId, reader, page)
}

/** Says of each room of a page what a reader has not read: one statement for all of them. */
async function withUnread(
  deps: Deps,
  orgId: string,
  reader: Person | undefined,
  page: Page<Room>,
): Promise<Page<RoomListItem>> {
  const roomIds = page.items.map(({ id }) => id)
  const counts = reader && (await unreadCounts(deps.db.read, { orgId, roomIds, ...reader }))
  const items = page.items.map((room) => ({ ...room, unread: counts?.get(room.id) ?? null }))
  return { ...page, items }
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
    output,
    errors: ['NOT_FOUND'],
    example: {
      input: { orgId: 'DOWELL12345', productName: 'WIFIQRCODE', limit: 50 },
      output: {
        items: [{ ...exampleRoom, unread: null }],
        before: 'cjow',
        after: 'cjox',
        hasBefore: false,
        hasAfter: false,
      },
    },
  })
  .input(input)
  .query(({ ctx, input }) => listRooms(ctx.deps, ctx.actor, input))
