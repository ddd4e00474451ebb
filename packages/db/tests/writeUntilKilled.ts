import {
  advanceRoom,
  anyOrganisation,
  appendEvent,
  insertMessage,
  openDatabase,
} from '../src/index.ts'
import { idOf, messageRow } from './support.ts'

/** A process that sends messages to the rooms 1 to 5 of a database, many at once, until it is killed. */
const db = openDatabase({ url: process.argv[2] ?? '' })
// Ids that no earlier process gave.
let number = Number(process.argv[3])

async function send(roomId: string): Promise<void> {
  await db.write(async (tx) => {
    const room = await advanceRoom(tx, {
      orgId: anyOrganisation,
      roomId,
      lastMessage: 'message',
      side: false,
      now: 1,
    })
    if (!room) throw new Error('no such room')
    const { org_id, last_seq: seq } = room
    await insertMessage(tx, messageRow({ org_id, room_id: roomId, seq, id: idOf(++number) }))
    const event = { org_id, room_id: roomId, message_seq: seq, created_at: 1 }
    appendEvent(tx, { type: 'message.created', ...event })
  })
  process.stdout.write('.')
}

await Promise.all(
  Array.from({ length: 40 }, async (_, i) => {
    for (;;) await send(idOf((i % 5) + 1))
  }),
)
