import { appendEvent, findActiveRoom, insertRoom, nextPosition } from '@dowell-chat/db'
import { z } from 'zod'
import { assertNewRoom } from '../auth/newIds.ts'
import { newEventId, newId, roomRoomId } from '../identifiers.ts'
import { assertOrganisation, writers } from '../operation/access.ts'
import { AppError } from '../operation/errors.ts'
import { mutation } from '../operation/operation.ts'
import { assertMayOpenRoom, roomViewOf } from './policy.ts'
import { exampleRoom, Room, roomIdentity } from './schema.ts'

const input = z.strictObject(roomIdentity)

const output = z
  .object({
    room: Room,
    created: z.boolean().meta({ description: 'False when the room existed already.' }),
  })
  .meta({ id: 'CreateRoomResult', additionalProperties: true })

/**
 * Finds the active room of a user, organisation, portfolio and product, or opens it. Idempotent: concurrent calls open
 * one room.
 *
 * @throws AppError BAD_REQUEST for a new id or name that breaks the rules; FORBIDDEN; NOT_FOUND for another organisation; TOO_MANY_REQUESTS for a customer at a room limit
 */
export const createRoom = mutation({
  access: writers,
  cost: 'write',
  input,
  output,
  errors: ['NOT_FOUND'],
  rest: {
    method: 'POST',
    path: '/api/v3/rooms',
    tag: 'rooms',
    summary: 'Find or open a room',
    description:
      'Returns the active room of this user, organisation, portfolio and product (200), or opens one (201). Safe to repeat. A customer may open rooms only for the products that the organisation lists (403), and only a limited number (429).',
    created: (result: z.output<typeof output>) => result.created,
    repeated: { room: exampleRoom, created: false },
    resource: ({ room }) => room,
  },
  example: {
    input: {
      userId: 'ABCD12345',
      orgId: 'DOWELL12345',
      portfolioName: 'umair',
      productName: 'WIFIQRCODE',
    },
    output: { room: exampleRoom, created: true },
  },
  async run(call, identity) {
    const { deps, scope } = call
    assertOrganisation(scope, identity.orgId)
    if (scope.userId !== undefined && scope.userId !== identity.userId) {
      throw new AppError('FORBIDDEN', { errors: { userId: ['must be the user of the token'] } })
    }
    if (scope.roomIds) {
      throw new AppError('FORBIDDEN', { message: 'The token is limited to some rooms' })
    }
    const { db } = deps
    const { toRoom } = await roomViewOf(call)
    const existing = await findActiveRoom(db.read, identity)
    if (existing) return { room: toRoom(existing), created: false }
    await assertNewRoom(db.read, identity)
    const isCustomer = scope.userId !== undefined
    // Before the transaction, so that a refusal takes no lock.
    if (isCustomer) await assertMayOpenRoom(deps, db.read, identity)
    return db.write(async (tx) => {
      const concurrent = await findActiveRoom(tx, identity)
      if (concurrent) return { room: toRoom(concurrent), created: false }
      const now = deps.clock()
      const position = await nextPosition(tx, 'last_room_position', { orgId: identity.orgId, now })
      // nextPosition locked the organisation's row, so the count stays exact until the commit.
      if (isCustomer) await assertMayOpenRoom(deps, tx, identity)
      const row = await insertRoom(tx, {
        id: newId(deps),
        org_id: identity.orgId,
        position,
        event_id: newEventId(deps),
        user_id: identity.userId,
        portfolio_name: identity.portfolioName,
        product_name: identity.productName,
        room_room_id: roomRoomId(identity.productName, identity.userId),
        is_active: 1,
        last_seq: 0,
        last_message: null,
        created_at: now,
        updated_at: now,
      })
      appendEvent(tx, {
        type: 'room.created',
        org_id: row.org_id,
        room_id: row.id,
        created_at: now,
      })
      return { room: toRoom(row), created: true }
    })
  },
})
