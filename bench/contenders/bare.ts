import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import SqliteDriver from 'better-sqlite3'
import { createBareServer, sendJson } from './bareServer.ts'
import {
  type MessageRow,
  messagePage,
  newId,
  newMessageRow,
  PAGE_SIZE,
  type RoomRow,
  roomPage,
  toMessage,
  toRoom,
} from './responses.ts'
import { databaseUrl, serve } from './serve.ts'

// The upper bound of the machine: node:http, prepared statements and JSON.stringify only.

const db = new SqliteDriver(databaseUrl().slice('sqlite:'.length), { timeout: 5000 })
db.pragma('journal_mode = WAL')
db.pragma('synchronous = FULL')
db.pragma('foreign_keys = ON')

const sql = {
  begin: db.prepare('begin immediate'),
  commit: db.prepare('commit'),
  rollback: db.prepare('rollback'),
  // This server's cache depends on the version if it opens this database later.
  advance: db.prepare(
    `update rooms set last_seq = last_seq + 1, version = version + 1, last_message = ?, last_message_seq = last_seq + 1,
      last_message_type = ?, last_message_side = ?, last_message_author = ?, last_message_at = ?, updated_at = ?
      where id = ? and is_active = 1 returning org_id, last_seq`,
  ),
  insertMessage: db.prepare(
    `insert into messages (org_id, room_id, seq, id, side, author, message_type, message_data, client_message_id,
      is_active, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)`,
  ),
  room: db.prepare('select org_id, last_seq from rooms where id = ?'),
  // Without the casts SQLite's plan depends on the values, so it plans again at every call.
  page: db.prepare(
    `select id, room_id, seq, message_data, side, author, message_type, client_message_id, is_active, created_at,
      edited_at, deleted_at, text_version
      from messages where org_id = cast(? as text) and room_id = cast(? as text) and seq > ? and seq <= ? order by seq`,
  ),
  rooms: db.prepare(
    'select * from rooms where org_id = cast(? as text) and position <= ? order by position desc limit ?',
  ),
  findRoom: db.prepare(
    `select * from rooms where org_id = ? and user_id = ? and portfolio_name = ? and product_name = ?
      and is_active = 1`,
  ),
  position: db.prepare(
    `insert into organisations (id, created_at, last_room_position) values (?, ?, 1)
      on conflict (id) do update set last_room_position = last_room_position + 1
      returning last_room_position as position`,
  ),
  insertRoom: db.prepare(
    `insert into rooms (id, org_id, position, event_id, user_id, portfolio_name, product_name, room_room_id,
      is_active, last_seq, last_message, created_at, updated_at)
      values (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, null, ?, ?) returning *`,
  ),
}

interface Write {
  readonly res: ServerResponse
  run(): unknown
}

let waiting: Write[] = []

/** Queues a write. All writes of one event-loop turn share a commit. */
function write(res: ServerResponse, run: () => unknown): void {
  waiting.push({ res, run })
  if (waiting.length === 1) setImmediate(commit)
}

function commit(): void {
  const batch = waiting
  waiting = []
  try {
    sql.begin.run()
    const results = batch.map((each) => each.run())
    sql.commit.run()
    batch.forEach(({ res }, index) => {
      sendJson(res, 201, results[index])
    })
  } catch (error) {
    if (db.inTransaction) sql.rollback.run()
    for (const { res } of batch) sendJson(res, 500, { message: String(error) })
  }
}

const server = createBareServer({
  createMessage(res, roomId, body) {
    write(res, () => {
      const now = Date.now()
      const { messageData, messageType = 'text', side, author } = body
      const latest = [messageData, messageType, side ? 1 : 0, author, now]
      const room = sql.advance.get(...latest, now, roomId) as
        | { org_id: string; last_seq: number }
        | undefined
      if (!room) throw new Error('no such room')
      const row = newMessageRow(roomId, room.last_seq, body, now)
      sql.insertMessage.run(
        ...[room.org_id, roomId, row.seq, row.id, row.side, row.author],
        ...[row.message_type, row.message_data, null, now],
      )
      return { message: toMessage(row), replayed: false }
    })
  },

  getMessages(res, roomId, before) {
    const room = sql.room.get(roomId) as { org_id: string; last_seq: number } | undefined
    if (!room) {
      sendJson(res, 404, { message: 'no such room' })
      return
    }
    const to = before ?? room.last_seq
    const rows = sql.page.all(room.org_id, roomId, Math.max(0, to - PAGE_SIZE), to) as MessageRow[]
    sendJson(res, 200, messagePage(rows, to, room.last_seq))
  },

  listRooms(res, orgId) {
    const rows = sql.rooms.all(orgId, Number.MAX_SAFE_INTEGER, PAGE_SIZE + 1) as RoomRow[]
    sendJson(res, 200, roomPage(rows))
  },

  createRoom(res, { orgId, userId, portfolioName, productName }) {
    const identity = [orgId, userId, portfolioName, productName]
    const found = sql.findRoom.get(...identity) as RoomRow | undefined
    if (found) {
      sendJson(res, 200, { room: toRoom(found), created: false })
      return
    }
    write(res, () => {
      const meanwhile = sql.findRoom.get(...identity) as RoomRow | undefined
      if (meanwhile) return { room: toRoom(meanwhile), created: false }
      const now = Date.now()
      const { position } = sql.position.get(orgId, now) as { position: number }
      const seconds = String(Math.floor(now / 1000)).padStart(17, '0')
      const eventId = `FB101${seconds}#${String(randomBytes(4).readUInt32BE() % 1e7).padStart(7, '0')}`
      const row = sql.insertRoom.get(
        ...[newId(now), orgId, position, eventId, userId, portfolioName],
        ...[productName, `13-${userId}`, now, now],
      ) as RoomRow
      return { room: toRoom(row), created: true }
    })
  },
})

serve(server, () => db.close())
