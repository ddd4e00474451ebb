import type { ServerResponse } from 'node:http'
import pg from 'pg'
import { createBareServer, sendJson } from './bareServer.ts'
import {
  type MessageRow,
  messagePage,
  type NewMessage,
  newMessageRow,
  PAGE_SIZE,
  type RoomRow,
  roomPage,
  toMessage,
} from './responses.ts'
import { databaseUrl, serve } from './serve.ts'

// The bare contender on PostgreSQL: one prepared statement per call, pipelined.

/** Connections for reads, besides one for writes. */
const READERS = 4

pg.types.setTypeParser(pg.types.builtins.INT8, Number)

const sql = {
  createMessage: {
    name: 'createMessage',
    text: `
      with room as (
        update rooms set last_seq = last_seq + 1, version = version + 1, last_message = $2, updated_at = $3,
          last_message_seq = last_seq + 1, last_message_side = $5, last_message_author = $6,
          last_message_type = $7, last_message_at = $3
        where id = $1 and is_active = 1 returning id, org_id, last_seq
      )
      insert into messages (org_id, room_id, seq, id, side, author, message_type, message_data, is_active, created_at)
      select org_id, id, last_seq, $4, $5, $6, $7, $2, 1, $3 from room returning seq`,
  },
  getMessages: {
    name: 'getMessages',
    text: `
      select messages.*, last_seq from rooms join messages on messages.org_id = rooms.org_id and room_id = rooms.id
        and seq > coalesce($2, last_seq) - ${PAGE_SIZE} and seq <= coalesce($2, last_seq)
      where rooms.id = $1 order by seq`,
  },
  listRooms: {
    name: 'listRooms',
    text: `select * from rooms where org_id = $1 order by position desc limit ${PAGE_SIZE + 1}`,
  },
}

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: databaseUrl(), pipeline: true })
  await client.connect()
  return client
}

const writer = await connect()
const readers = await Promise.all(Array.from({ length: READERS }, connect))
let next = 0

function read(statement: { name: string; text: string }, values: unknown[]) {
  const reader = readers[next++ % READERS] as pg.Client
  return reader.query({ ...statement, values })
}

interface Write {
  readonly res: ServerResponse
  readonly roomId: string
  readonly body: NewMessage
}

let waiting: Write[] = []
let isCommitting = false

/** Queues a write. All writes that arrive during a commit share the next one. */
function write(one: Write): void {
  waiting.push(one)
  if (waiting.length === 1 && !isCommitting) setImmediate(commit)
}

async function commit(): Promise<void> {
  const batch = waiting
  waiting = []
  isCommitting = true
  try {
    const now = Date.now()
    const rows = batch.map(({ roomId, body }) => newMessageRow(roomId, 0, body, now))
    const [, ...stored] = await Promise.all([
      writer.query('begin'),
      ...rows.map((row) =>
        writer.query<{ seq: number }>({
          ...sql.createMessage,
          values: [
            ...[row.room_id, row.message_data, row.created_at],
            ...[row.id, row.side, row.author, row.message_type],
          ],
        }),
      ),
      writer.query('commit'),
    ])
    rows.forEach((row, index) => {
      const seq = stored[index]?.rows[0]?.seq
      if (seq === undefined) throw new Error('no such room')
      sendJson(batch[index]?.res as ServerResponse, 201, {
        message: toMessage({ ...row, seq }),
        replayed: false,
      })
    })
  } catch (error) {
    for (const { res } of batch)
      if (!res.headersSent) sendJson(res, 500, { message: String(error) })
  }
  isCommitting = false
  if (waiting.length > 0) setImmediate(commit)
}

const server = createBareServer({
  createMessage: (res, roomId, body) => write({ res, roomId, body }),

  async getMessages(res, roomId, before) {
    const { rows } = await read(sql.getMessages, [roomId, before])
    const last = Number(rows[0]?.last_seq)
    sendJson(res, 200, messagePage(rows as MessageRow[], before ?? last, last))
  },

  async listRooms(res, orgId) {
    const { rows } = await read(sql.listRooms, [orgId])
    sendJson(res, 200, roomPage(rows as RoomRow[]))
  },

  createRoom(res) {
    sendJson(res, 404, { message: 'no such operation' })
  },
})

// Prepare all statements before calls are pipelined.
for (const reader of readers) {
  await reader.query({ ...sql.getMessages, values: ['', null] })
  await reader.query({ ...sql.listRooms, values: [''] })
}
await writer.query({ ...sql.createMessage, values: ['', '', 0, '', 0, '', ''] })

serve(server, () => void Promise.all([writer, ...readers].map((client) => client.end())))
