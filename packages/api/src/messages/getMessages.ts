import { findMessage, messagesInRange, type RoomRow } from '@dowell-chat/db'
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
import { readableRoom } from '../rooms/policy.ts'
import { roomId } from '../rooms/schema.ts'
import { procedure } from '../trpc.ts'
import { exampleMessage, Message, toMessage } from './schema.ts'

const input = z.strictObject({ roomId, ...pageInput })

const output = pageOf(Message).meta({ id: 'MessagePage', additionalProperties: true })

/**
 * A page of a room's messages, oldest first, of deleted rooms too. Without a cursor: the newest page.
 *
 * @throws AppError NOT_FOUND; BAD_REQUEST for an invalid cursor
 */
export async function getMessages(
  deps: Deps,
  actor: Actor,
  request: z.output<typeof input>,
): Promise<Page<Message>> {
  return (await getMessagesOfRoom(deps, actor, request)).page
}

/** The same with the room, as it was read for the page. */
export async function getMessagesOfRoom(
  deps: Deps,
  actor: Actor,
  { roomId, limit = DEFAULT_LIMIT, ...place }: z.output<typeof input>,
): Promise<{ room: RoomRow; page: Page<Message> }> {
  const where = placeOf('m', place)
  const room = await readableRoom(deps, actor, 'getMessages', roomId)
  if (where.kind !== 'newest') return { room, page: await messagePage(deps, room, limit, where) }
  const { newestPages } = deps
  const page =
    newestPages.find(room, limit) ??
    newestPages.keep(room, limit, await messagePage(deps, room, limit, where))
  return { room, page }
}

/**
 * The page of a room at a place. `seq` has no gaps and no message is ever removed, so a page is a range of positions:
 * one indexed read, however long the room is, and `room` alone says what lies on either side.
 */
async function messagePage(
  deps: Deps,
  room: RoomRow,
  limit: number,
  place: Place,
): Promise<Page<Message>> {
  const [from, to] = await rangeOf(deps, room, limit, place)
  const rows = await messagesInRange(deps.db.read, {
    orgId: room.org_id,
    roomId: room.id,
    from,
    to,
  })
  return {
    items: rows.map(toMessage),
    before: encodeCursor('m', from),
    after: encodeCursor('m', to),
    hasBefore: Math.min(from, room.last_seq) > 0,
    hasAfter: to < room.last_seq,
  }
}

/** The boundaries between which the page lies: the messages after the first, up to and including the second. */
async function rangeOf(
  deps: Deps,
  room: RoomRow,
  limit: number,
  place: Place,
): Promise<[from: number, to: number]> {
  const last = room.last_seq
  switch (place.kind) {
    case 'newest':
      return [Math.max(0, last - limit), last]
    case 'before': {
      const to = Math.min(place.boundary, last)
      return [Math.max(0, to - limit), to]
    }
    case 'after':
      return [place.boundary, Math.max(place.boundary, Math.min(place.boundary + limit, last))]
    case 'around':
      return middle(place.boundary, limit, last)
    case 'aroundItem': {
      const where = { orgId: room.org_id, roomId: room.id, messageId: place.id }
      const message = await findMessage(deps.db.read, where)
      if (!message) throw badField('around', 'is not the id of a message in this room')
      return middle(message.seq, limit, last)
    }
  }
}

/** Half of the page on each side of the boundary; what one side lacks the other gives. */
function middle(boundary: number, limit: number, last: number): [from: number, to: number] {
  const from = Math.max(0, Math.min(boundary - Math.ceil(limit / 2), last - limit))
  return [from, Math.min(last, from + limit)]
}

export const getMessagesProcedure = procedure
  .meta({
    openapi: {
      method: 'GET',
      path: '/api/v3/rooms/{roomId}/messages',
      tags: ['messages'],
      summary: "Read a room's messages",
      description: 'Oldest first, a page at a time; without a cursor the newest page.',
    },
    output,
    errors: ['NOT_FOUND'],
    example: {
      input: { roomId: exampleMessage.roomId, limit: 50 },
      output: {
        items: [exampleMessage],
        before: 'bTow',
        after: 'bTox',
        hasBefore: false,
        hasAfter: false,
      },
    },
  })
  .input(input)
  .query(({ ctx, input }) => getMessages(ctx.deps, ctx.actor, input))
