import { listRoomsPage, unreadCounts } from '@dowell-chat/db'
import { z } from 'zod'
import { type Participant, resolveParticipant } from '../auth/participant.ts'
import { reader } from '../encoding/fields.ts'
import { listPage } from '../encoding/listPage.ts'
import { DEFAULT_LIMIT, type Page, pageInput, pageOf, toPageRef } from '../encoding/paging.ts'
import { assertOrganisation, readers } from '../operation/access.ts'
import type { Deps } from '../operation/context.ts'
import { AppError, badField } from '../operation/errors.ts'
import { query } from '../operation/operation.ts'
import { type RoomView, roomViewOf } from './policy.ts'
import {
  exampleRoom,
  listing,
  type Room,
  RoomListItem,
  roomBytesAtMost,
  roomFilter,
  withoutHidden,
} from './schema.ts'

const input = z.strictObject({ ...listing, ...roomFilter, ...reader, ...pageInput })

const output = pageOf(RoomListItem).meta({ id: 'RoomPage', additionalProperties: true })

/** Adds the reader's unread counts to a page, with one statement for all rooms. */
async function withUnread(
  deps: Deps,
  orgId: string,
  reader: Participant | undefined,
  page: Page<Room>,
): Promise<Page<RoomListItem>> {
  const roomIds = page.items.map(({ id }) => id)
  const counts = reader && (await unreadCounts(deps.db.read, { orgId, roomIds, ...reader }))
  const items = page.items.map((room) => ({ ...room, unread: counts?.get(room.id) ?? null }))
  return { ...page, items }
}

/** A filter by a hidden field would tell its value. @throws AppError FORBIDDEN */
function assertNotHidden(
  { hidden }: RoomView,
  { assignee, label }: { assignee?: unknown; label?: unknown },
): void {
  const errors = {
    ...('assignee' in hidden && assignee !== undefined ? { assignee: NOT_SHOWN } : {}),
    ...('labels' in hidden && label !== undefined ? { label: NOT_SHOWN } : {}),
  }
  if (Object.keys(errors).length > 0) throw new AppError('FORBIDDEN', { errors })
}

const NOT_SHOWN = ['is not shown to customers of this organisation']

/**
 * Lists an organisation's rooms by creation time, oldest first, with the deleted ones; a customer gets their own rooms.
 * Without a cursor: the newest page.
 *
 * @throws AppError FORBIDDEN, also for a customer's filter by a field that customers do not see; NOT_FOUND for another organisation; BAD_REQUEST for an invalid cursor, or only one of
 *   readerId and readerSide
 */
export const listRooms = query({
  access: readers,
  cost: 'read',
  input,
  output,
  errors: ['NOT_FOUND', 'CURSOR_TOO_OLD'],
  rest: {
    method: 'GET',
    path: '/api/v3/rooms',
    tag: 'rooms',
    summary: "List an organisation's rooms",
    description:
      'Oldest first, in pages; without a cursor the newest page. Deleted rooms stay listed.',
  },
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
  async run(
    call,
    { limit = DEFAULT_LIMIT, before, after, around, readerId, readerSide, ...filter },
  ) {
    const { deps, actor, scope } = call
    assertOrganisation(scope, filter.orgId)
    const view = await roomViewOf(call)
    assertNotHidden(view, filter)
    const reader = resolveParticipant(actor, ['readerId', readerId], ['readerSide', readerSide])
    const { userId = filter.userId } = scope
    // Other users' rooms do not exist for a customer.
    const roomIds = userId === (filter.userId ?? userId) ? scope.roomIds : []
    const scopedFilter = { ...filter, userId, roomIds }
    const { read } = deps.db
    const page = await listPage(
      {
        tag: 'r',
        cursorEpoch: deps.cursorEpoch,
        next: (where) => listRoomsPage(read, { ...scopedFilter, ...where }),
        async positionOf(roomId) {
          const only = roomIds?.includes(roomId) === false ? [] : [roomId]
          const anywhere = { direction: 'after', boundary: 0, limit: 1 } as const
          const [room] = await listRoomsPage(read, { ...scopedFilter, roomIds: only, ...anywhere })
          if (!room) throw badField('around', 'is not the id of a room in this list')
          return room.position
        },
        toItem: view.toRoom,
        bytesAtMost: (row) => roomBytesAtMost(withoutHidden(row, view.hidden)),
      },
      limit,
      toPageRef('r', { before, after, around }),
    )
    return withUnread(deps, filter.orgId, reader, page)
  },
})
