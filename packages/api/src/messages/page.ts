import { type Database, findMessage, messagesInRange, type RoomRow } from '@dowell-chat/db'
import { badField } from '../errors.ts'
import { encodeCursor, type Page, type Place, pageOf } from '../paging.ts'
import { exampleMessage, Message, toMessage } from './schema.ts'

export const MessagePage = pageOf(Message).meta({ id: 'MessagePage', additionalProperties: true })

/**
 * The page of a room at a place. `seq` has no gaps and no message is ever removed, so a page is a range of positions:
 * one indexed read, however long the room is, and `room` alone says what lies on either side.
 */
export async function messagePage(
  db: Database['read'],
  room: RoomRow,
  limit: number,
  place: Place,
): Promise<Page<Message>> {
  const [from, to] = await rangeOf(db, room, limit, place)
  const rows = await messagesInRange(db, {
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
  db: Database['read'],
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
      const message = await findMessage(db, where)
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

export const exampleMessagePage = {
  items: [exampleMessage],
  before: 'bTow',
  after: 'bTox',
  hasBefore: false,
  hasAfter: false,
}
