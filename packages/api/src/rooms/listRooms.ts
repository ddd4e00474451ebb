import { findRoom, roomsNextTo } from '@dowell-chat/db'
import { z } from 'zod'
import { authorise, requireOrganisation } from '../auth/access.ts'
import type { Actor } from '../auth/actor.ts'
import type { Deps } from '../context.ts'
import { badField } from '../errors.ts'
import { DEFAULT_LIMIT, type Page, pageInput, pageOf, placeOf } from '../paging.ts'
import { positionPage } from '../positionPage.ts'
import { procedure } from '../trpc.ts'
import { exampleRoom, listing, Room, toRoom } from './schema.ts'

const input = z.strictObject({ ...listing, ...pageInput })

const output = pageOf(Room).meta({ id: 'RoomPage', additionalProperties: true })

/**
 * An organisation's rooms in the order in which they were opened, deleted ones too; for a customer only their own.
 * Without a cursor: the newest page.
 *
 * @throws AppError FORBIDDEN; NOT_FOUND for another organisation; BAD_REQUEST for an invalid cursor
 */
export async function listRooms(
  deps: Deps,
  actor: Actor,
  { limit = DEFAULT_LIMIT, orgId, productName, ...place }: z.output<typeof input>,
): Promise<Page<Room>> {
  const scope = authorise(actor, 'listRooms')
  requireOrganisation(scope, orgId)
  const seen = { ...scope, orgId }
  return positionPage(
    {
      tag: 'r',
      next: (where) => roomsNextTo(deps.db.read, { ...seen, productName, ...where }),
      async positionOf(roomId) {
        const room = await findRoom(deps.db.read, { ...seen, roomId })
        const listed = productName === undefined || room?.product_name === productName
        if (!room || !listed) {
          throw badField('around', 'is not the id of a room in this list')
        }
        return room.position
      },
      toItem: toRoom,
    },
    limit,
    placeOf('r', place),
  )
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
        items: [exampleRoom],
        before: 'cjow',
        after: 'cjox',
        hasBefore: false,
        hasAfter: false,
      },
    },
  })
  .input(input)
  .query(({ ctx, input }) => listRooms(ctx.deps, ctx.actor, input))
