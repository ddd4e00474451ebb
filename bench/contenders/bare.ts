import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import SqliteDriver from 'better-sqlite3'
import { databaseFile, serve } from './serve.ts'

// What the machine allows: node:http, prepared statements, JSON.stringify, and nothing that a product needs. Answers
// as REST v3 does. Checks nothing: no authentication, no limits, no validation, no log.

const db = new SqliteDriver(databaseFile(), { timeout: 5000 })
db.pragma('journal_mode = WAL')
db.pragma('synchronous = FULL')
db.pragma('foreign_keys = ON')

interface MessageRow {
  id: string
  room_id: string
  seq: number
  message_data: string
  side: 0 | 1
  author: string
  message_type: string
  client_message_id: string | null
  is_active: 0 | 1
  created_at: number
  edited_at: number | null
  deleted_at: number | null
}

interface RoomRow {
  id: string
  org_id: string
  position: number
  event_id: string
  user_id: string
  portfolio_name: string
  product_name: string
  room_room_id: string
  is_active: 0 | 1
  subject: string | null
  status: string
  assignee: string | null
  labels: string
  custom: string
  last_seq: number
  last_message: string | null
  created_at: number
  updated_at: number
}

const sql = {
  begin: db.prepare('begin immediate'),
  commit: db.prepare('commit'),
  rollback: db.prepare('rollback'),
  advance: db.prepare(
    'update rooms set last_seq = last_seq + 1, last_message = ?, updated_at = ? where id = ? and is_active = 1 returning org_id, last_seq',
  ),
  insertMessage: db.prepare(
    `insert into messages (org_id, room_id, seq, id, side, author, message_type, message_data, client_message_id,
      is_active, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)`,
  ),
  room: db.prepare('select org_id, last_seq from rooms where id = ?'),
  // Without the casts SQLite looks at the values while it plans, and so plans anew at every call.
  page: db.prepare(
    `select id, room_id, seq, message_data, side, author, message_type, client_message_id, is_active, created_at,
      edited_at, deleted_at
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

/** Everything that arrives in one turn of the event loop is committed, and so synced, together. */
function write(res: ServerResponse, run: () => unknown): void {
  waiting.push({ res, run })
  if (waiting.length === 1) setImmediate(commit)
}

function commit(): void {
  const batch = waiting
  waiting = []
  try {
    sql.begin.run()
    const answers = batch.map((each) => each.run())
    sql.commit.run()
    batch.forEach(({ res }, index) => {
      answer(res, 201, answers[index])
    })
  } catch (error) {
    if (db.inTransaction) sql.rollback.run()
    for (const { res } of batch) answer(res, 500, { message: String(error) })
  }
}

const server = createServer((req, res) => {
  const url = req.url as string
  if (req.method === 'POST') {
    readBody(req, (body) => {
      if (url.endsWith('/messages')) createMessage(res, url.slice(14, 38), body)
      else createRoom(res, body)
    })
  } else if (url.startsWith('/api/v3/rooms/')) {
    getMessages(res, url.slice(14, 38), url)
  } else {
    listRooms(res, url)
  }
})

function readBody(req: IncomingMessage, done: (body: Record<string, string>) => void): void {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => done(JSON.parse(Buffer.concat(chunks).toString())))
}

function answer(res: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value))
  res.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': body.length,
  })
  res.end(body)
}

function createMessage(
  res: ServerResponse,
  roomId: string,
  body: { messageData?: string; side?: unknown; author?: string; messageType?: string },
): void {
  write(res, () => {
    const now = Date.now()
    const room = sql.advance.get(body.messageData, now, roomId) as
      | { org_id: string; last_seq: number }
      | undefined
    if (!room) throw new Error('no such room')
    const row = {
      id: newId(now),
      room_id: roomId,
      seq: room.last_seq,
      message_data: body.messageData as string,
      side: body.side ? 1 : 0,
      author: body.author as string,
      message_type: body.messageType as string,
      client_message_id: null,
      is_active: 1,
      created_at: now,
      edited_at: null,
      deleted_at: null,
    } as const
    sql.insertMessage.run(
      ...[room.org_id, roomId, row.seq, row.id, row.side, row.author],
      ...[row.message_type, row.message_data, null, now],
    )
    return { message: toMessage(row), replayed: false }
  })
}

function getMessages(res: ServerResponse, roomId: string, url: string): void {
  const room = sql.room.get(roomId) as { org_id: string; last_seq: number } | undefined
  if (!room) {
    answer(res, 404, { message: 'no such room' })
    return
  }
  const mark = url.indexOf('before=')
  const to =
    mark < 0
      ? room.last_seq
      : Number(
          Buffer.from(url.slice(mark + 7), 'base64url')
            .toString()
            .slice(2),
        )
  const from = Math.max(0, to - 50)
  const rows = sql.page.all(room.org_id, roomId, from, to) as MessageRow[]
  answer(res, 200, {
    items: rows.map(toMessage),
    before: cursor('m', from),
    after: cursor('m', to),
    hasBefore: from > 0,
    hasAfter: to < room.last_seq,
  })
}

function listRooms(res: ServerResponse, url: string): void {
  const orgId = new URLSearchParams(url.slice(url.indexOf('?') + 1)).get('orgId')
  const rows = sql.rooms.all(orgId, Number.MAX_SAFE_INTEGER, 51) as RoomRow[]
  const shown = rows.slice(0, 50).reverse()
  answer(res, 200, {
    items: shown.map(toRoom),
    before: cursor('r', (shown[0]?.position ?? 1) - 1),
    after: cursor('r', shown.at(-1)?.position ?? 0),
    hasBefore: rows.length > 50,
    hasAfter: false,
  })
}

function createRoom(res: ServerResponse, body: Record<string, string>): void {
  const identity = [body.orgId, body.userId, body.portfolioName, body.productName]
  const found = sql.findRoom.get(...identity) as RoomRow | undefined
  if (found) {
    answer(res, 200, { room: toRoom(found), created: false })
    return
  }
  write(res, () => {
    const meanwhile = sql.findRoom.get(...identity) as RoomRow | undefined
    if (meanwhile) return { room: toRoom(meanwhile), created: false }
    const now = Date.now()
    const { position } = sql.position.get(body.orgId, now) as { position: number }
    const seconds = String(Math.floor(now / 1000)).padStart(17, '0')
    const eventId = `FB101${seconds}#${String(randomBytes(4).readUInt32BE() % 1e7).padStart(7, '0')}`
    const row = sql.insertRoom.get(
      ...[newId(now), body.orgId, position, eventId, body.userId, body.portfolioName],
      ...[body.productName, `13-${body.userId}`, now, now],
    ) as RoomRow
    return { room: toRoom(row), created: true }
  })
}

function toMessage(row: MessageRow) {
  return {
    id: row.id,
    roomId: row.room_id,
    seq: row.seq,
    messageData: row.message_data,
    side: row.side === 1,
    author: row.author,
    messageType: row.message_type,
    clientMessageId: row.client_message_id,
    isActive: row.is_active === 1,
    createdAt: new Date(row.created_at),
    editedAt: row.edited_at === null ? null : new Date(row.edited_at),
    deletedAt: row.deleted_at === null ? null : new Date(row.deleted_at),
  }
}

function toRoom(row: RoomRow) {
  return {
    id: row.id,
    eventId: row.event_id,
    userId: row.user_id,
    orgId: row.org_id,
    portfolioName: row.portfolio_name,
    roomRoomId: row.room_room_id,
    productName: row.product_name,
    messageData: row.last_message ?? 'How may I help you',
    isActive: row.is_active === 1,
    subject: row.subject,
    status: row.status,
    assignee: row.assignee,
    labels: JSON.parse(row.labels),
    custom: JSON.parse(row.custom),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
  }
}

function newId(now: number): string {
  return Math.floor(now / 1000).toString(16) + randomBytes(8).toString('hex')
}

function cursor(list: string, boundary: number): string {
  return Buffer.from(`${list}:${boundary}`).toString('base64url')
}

serve(server, () => db.close())
