import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import SqliteDriver from 'better-sqlite3'
import { root } from './folders.ts'

export interface SeedSize {
  /** Messages in the room that is read. */
  readonly messages: number
  /** Rooms of the organisation. */
  readonly rooms: number
  /** How many of the rooms are written to, in turn. */
  readonly busyRooms: number
  /** Messages that each of those has to begin with. */
  readonly busyMessages: number
}

/** What the load generator must know of a database. */
export interface Seed extends SeedSize {
  readonly file: string
  readonly orgId: string
  /** An API key of that organisation. */
  readonly key: string
  /** An organisation for new rooms, so that the lists of the first one stay as they are. */
  readonly newOrgId: string
  readonly newKey: string
  /** The room that is read. */
  readonly roomId: string
  readonly busyRoomIds: readonly string[]
}

export const STANDARD_SIZE: SeedSize = {
  messages: 10_000,
  rooms: 10_000,
  busyRooms: 100,
  busyMessages: 100,
}

export const PORTFOLIO = 'umair'
export const PRODUCT = 'WIFIQRCODE'

/** The user of the room at a position; the position is what makes the room's identity unique. */
export function userAt(position: number): string {
  return `USER${String(position).padStart(8, '0')}`
}

/** Numbers that are the same in every run (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const WORDS =
  'hello please order number does not arrive yet could you check the code that was sent to my phone it says expired thank you for waiting we look into this now and write again today'.split(
    ' ',
  )

/** Texts of about 100 characters. One in sixteen is not plain ASCII, as in any chat. */
export function messageTexts(count: number): string[] {
  const random = randomNumbers(7)
  return Array.from({ length: count }, (_, index) => {
    let text = index % 16 === 0 ? '₹ 1,250 – ' : ''
    while (text.length < 94) text += `${WORDS[Math.floor(random() * WORDS.length)]} `
    return text.trim()
  })
}

/** Makes a database with the project's own schema and keys, and fills it fast: nothing here need survive a crash. */
export function buildSeed(file: string, size: SeedSize): Seed {
  const orgId = 'BENCH'
  const newOrgId = 'BENCHNEW'
  const key = createKey(file, orgId)
  const newKey = createKey(file, newOrgId)

  const db = new SqliteDriver(file)
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = OFF')
  db.pragma('foreign_keys = OFF')
  const random = randomNumbers(1)
  const texts = messageTexts(1024)
  const start = Date.UTC(2024, 0, 1)
  // Ids begin with the time, as those of the server do: that keeps the index on them compact.
  const idAt = (time: number) =>
    Math.floor(time / 1000)
      .toString(16)
      .padStart(8, '0') +
    hex(random()) +
    hex(random())

  const insertRoom = db.prepare(
    `insert into rooms (id, org_id, position, event_id, user_id, portfolio_name, product_name, room_room_id,
      is_active, last_seq, last_message, created_at, updated_at) values (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)`,
  )
  const insertMessage = db.prepare(
    `insert into messages (org_id, room_id, seq, id, side, author, message_type, message_data, client_message_id,
      is_active, created_at) values (?, ?, ?, ?, ?, ?, 'text', ?, null, 1, ?)`,
  )
  const roomIds: string[] = []
  db.transaction(() => {
    let time = start
    for (let position = 1; position <= size.rooms; position++) {
      time += 60_000
      const id = idAt(time)
      roomIds.push(id)
      const user = userAt(position)
      const count =
        position === 1 ? size.messages : position <= size.busyRooms + 1 ? size.busyMessages : 1
      const last = count === 0 ? null : (texts[count % texts.length] as string)
      const eventId = `FB101${String(time / 1000).padStart(17, '0')}#${String(position).padStart(7, '0')}`
      insertRoom.run(
        ...[id, orgId, position, eventId, user, PORTFOLIO, PRODUCT, `13-${user}`],
        ...[count, last, time, time],
      )
      for (let seq = 1; seq <= count; seq++) {
        const side = seq % 2
        const text = texts[seq % texts.length]
        const at = time + seq * 10
        insertMessage.run(orgId, id, seq, idAt(at), side, side ? 'client' : user, text, at)
      }
    }
    db.prepare('update organisations set last_room_position = ? where id = ?').run(
      size.rooms,
      orgId,
    )
  })()
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()

  const [roomId = '', ...others] = roomIds
  const busyRoomIds = others.slice(0, size.busyRooms)
  return { ...size, file, orgId, key, newOrgId, newKey, roomId, busyRoomIds }
}

/** As an operator makes one; the command also brings the schema to its newest version. */
function createKey(file: string, orgId: string): string {
  const cli = ['--import', 'tsx', join('apps', 'server', 'src', 'cli.ts')]
  const command = ['keys', 'create', '--org', orgId, '--right', 'support', '--name', 'bench']
  const output = execFileSync(process.execPath, [...cli, ...command], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, DATABASE_URL: `sqlite:${file}` },
  })
  return output.trim()
}

function hex(random: number): string {
  return Math.floor(random * 2 ** 32)
    .toString(16)
    .padStart(8, '0')
}
