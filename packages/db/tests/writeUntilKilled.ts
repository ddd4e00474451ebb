import { allOrganisations, appendEvent, appendMessage, openDatabase } from '../src/index.ts'
import { idOf, messageRow } from './support.ts'

/** A process that sends messages to the rooms 1 to 5 of a database, many at once, until it is killed. */
const db = openDatabase({ url: process.argv[2] ?? '' })
// Ids that no earlier process gave.
let number = Number(process.argv[3])

async function send(roomId: string): Promise<void> {
  await db.write(async (tx) => {
    const row = messageRow({ id: idOf(++number) })
    const message = await appendMessage(tx, { orgId: allOrganisations, roomId }, row)
    if (!message) throw new Error('no such room')
    const { org_id, seq } = message
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
