import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import SqliteDriver from 'better-sqlite3'
import { root } from './folders.ts'

export interface SeedSize {
  /** Messages in the room that R reads. */
  readonly messages: number
  /** Rooms of the organisation. */
  readonly rooms: number
  /** Other rooms with more than one message. */
  readonly busyRooms: number
  /** Initial messages of each busy room. */
  readonly busyMessages: number
}

/** A seeded database, with the ids and keys that requests need. */
export interface Seed extends SeedSize {
  readonly file: string
  readonly orgId: string
  /** API key of that organisation. */
  readonly key: string
  /** Organisation for new rooms, so that the first one's lists do not change. */
  readonly newOrgId: string
  readonly newKey: string
  /** The room that R reads. */
  readonly roomId: string
  /** Up to {@link MAX_BUSY_ROOMS} busy rooms, evenly spaced. */
  readonly busyRoomIds: readonly string[]
}

export const DEFAULT_SIZE: SeedSize = {
  messages: 10_000,
  rooms: 10_000,
  busyRooms: 100,
  busyMessages: 100,
}

export const PORTFOLIO = 'umair'
export const PRODUCT = 'WIFIQRCODE'

/** Returns the user of the room at a position, which makes the room unique. */
export function userAt(position: number): string {
  return `USER${String(position).padStart(8, '0')}`
}

/** Creates a deterministic random number generator (mulberry32). */
export function createRandom(seed: number): () => number {
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

/** Creates texts of about 100 characters. One in sixteen is not plain ASCII. */
export function createTexts(count: number): string[] {
  const random = createRandom(7)
  return Array.from({ length: count }, (_, index) => {
    let text = index % 16 === 0 ? '₹ 1,250 – ' : ''
    while (text.length < 94) text += `${WORDS[Math.floor(random() * WORDS.length)]} `
    return text.trim()
  })
}

/** Maximum number of distinct rooms in requests. */
const MAX_BUSY_ROOMS = 2_000

/** Settings for speed without durability. The driver does not allow `journal_mode = off`. */
const FAST_PRAGMAS = [
  'journal_mode = memory',
  'locking_mode = exclusive',
  'synchronous = off',
  'foreign_keys = off',
  'cache_size = -250000',
]

/** Creates a database with the project's migrations and keys, and fills it with about 10 million messages per minute. */
export function buildSeed(file: string, size: SeedSize): Seed {
  const orgId = 'BENCH'
  const newOrgId = 'BENCHNEW'
  const key = createKey(file, orgId)
  const newKey = createKey(file, newOrgId)

  const db = new SqliteDriver(file)
  for (const pragma of FAST_PRAGMAS) db.pragma(pragma)
  // Building this index row by row would take half of the time.
  const { sql: createIndex } = db
    .prepare("select sql from sqlite_master where name = 'messages_by_id'")
    .get() as { sql: string }
  db.exec('drop index messages_by_id; create temp table texts (id integer primary key, text text)')
  const random = createRandom(1)
  const texts = createTexts(1024)
  const insertText = db.prepare('insert into texts values (?, ?)')
  const insertRoom = db.prepare(
    `insert into rooms (id, org_id, position, event_id, user_id, portfolio_name, product_name, room_room_id,
      is_active, last_seq, support_count, last_message, last_message_seq, last_message_type, last_message_side,
      last_message_author, last_message_at, created_at, updated_at)
      values (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 'text', ?, ?, ?, ?, ?)`,
  )
  // Both sides in turn, a hundred messages per second. Ids start with the time, as the server's do, so that their index
  // stays compact.
  const insertMessages = db.prepare(
    `with recursive numbers (seq) as (select 1 union all select seq + 1 from numbers where seq < @count)
      insert into messages (org_id, room_id, seq, id, side, author, message_type, message_data, is_active, created_at,
        support_count)
      select @orgId, @id, seq, printf('%08x%08x%08x', (@time + seq * 10) / 1000, @position, seq), seq % 2,
        iif(seq % 2, 'client', @user), 'text', (select text from texts where id = seq % 1024), 1, @time + seq * 10,
        (seq + 1) / 2
      from numbers`,
  )
  const roomIds: string[] = []
  db.transaction(() => {
    texts.forEach((text, id) => {
      insertText.run(id, text)
    })
    let time = Date.UTC(2024, 0, 1)
    for (let position = 1; position <= size.rooms; position++) {
      time += 60_000
      const id = (time / 1000).toString(16) + toHex(random()) + toHex(random())
      roomIds.push(id)
      const user = userAt(position)
      const count =
        position === 1 ? size.messages : position <= size.busyRooms + 1 ? size.busyMessages : 1
      const eventId = `FB101${String(time / 1000).padStart(17, '0')}#${String(position).padStart(7, '0')}`
      insertRoom.run(
        ...[id, orgId, position, eventId, user, PORTFOLIO, PRODUCT, `13-${user}`],
        ...[count, Math.ceil(count / 2), texts[count % texts.length], count, count % 2],
        ...[count % 2 ? 'client' : user, time + count * 10, time, time],
      )
      insertMessages.run({ count, orgId, id, time, position, user })
    }
    db.prepare('update organisations set last_room_position = ? where id = ?').run(
      size.rooms,
      orgId,
    )
  })()
  db.exec(createIndex)
  // Servers that start at the same time would conflict when they switch to WAL.
  db.pragma('journal_mode = wal')
  db.close()

  const [roomId = '', ...others] = roomIds
  const busy = others.slice(0, size.busyRooms)
  const step = Math.ceil(busy.length / MAX_BUSY_ROOMS)
  const busyRoomIds = busy.filter((_, index) => index % step === 0)
  return { ...size, file, orgId, key, newOrgId, newKey, roomId, busyRoomIds }
}

/** Creates an API key with the project's own command, which also migrates the schema. */
function createKey(file: string, orgId: string): string {
  const command = ['keys', 'create', '--org', orgId, '--right', 'support', '--name', 'bench']
  return runCli(command, { DATABASE_URL: `sqlite:${file}` }).trim()
}

/** Runs a command of the project's CLI. @returns its output */
export function runCli(command: readonly string[], env: Record<string, string> = {}): string {
  const cli = ['--import', 'tsx', join('apps', 'server', 'src', 'cli.ts')]
  return execFileSync(process.execPath, [...cli, ...command], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
}

function toHex(random: number): string {
  return Math.floor(random * 2 ** 32)
    .toString(16)
    .padStart(8, '0')
}
