import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import SqliteDriver from 'better-sqlite3'
import { root } from './folders.ts'

export interface SeedSize {
  /** Messages in the room that is read. */
  readonly messages: number
  /** Rooms of the organisation. */
  readonly rooms: number
  /** How many of the other rooms have more than one message. */
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
  /** Of the busy rooms, as many as are asked for, from the first to the last. */
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

/** Rooms, at most, that are asked for one after the other. */
const ASKED_ROOMS = 2_000

/**
 * Nothing here need survive a crash. The journal in memory has the pages that were there before, so it is empty; the driver
 * does not allow to do without.
 */
const FAST = [
  'journal_mode = memory',
  'locking_mode = exclusive',
  'synchronous = off',
  'foreign_keys = off',
  'cache_size = -250000',
]

/** Makes a database with the project's own schema and keys, and fills it, with some 10 million messages in a minute. */
export function buildSeed(file: string, size: SeedSize): Seed {
  const orgId = 'BENCH'
  const newOrgId = 'BENCHNEW'
  const key = createKey(file, orgId)
  const newKey = createKey(file, newOrgId)

  const db = new SqliteDriver(file)
  for (const pragma of FAST) db.pragma(pragma)
  // Half of the time would go into the index on ids, row by row.
  const { sql: createIndex } = db
    .prepare("select sql from sqlite_master where name = 'messages_by_id'")
    .get() as { sql: string }
  db.exec('drop index messages_by_id; create temp table texts (id integer primary key, text text)')
  const random = randomNumbers(1)
  const texts = messageTexts(1024)
  const insertText = db.prepare('insert into texts values (?, ?)')
  const insertRoom = db.prepare(
    `insert into rooms (id, org_id, position, event_id, user_id, portfolio_name, product_name, room_room_id,
      is_active, last_seq, support_count, last_message, last_message_seq, last_message_type, last_message_side,
      last_message_author, last_message_at, created_at, updated_at)
      values (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 'text', ?, ?, ?, ?, ?)`,
  )
  // The customer and the support team in turn, a hundred messages a second. Ids begin with the time, as those of the
  // server do: that keeps the index on them compact.
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
      const id = (time / 1000).toString(16) + hex(random()) + hex(random())
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
  // Servers that start at once would stand in each other's way with it.
  db.pragma('journal_mode = wal')
  db.close()

  const [roomId = '', ...others] = roomIds
  const busy = others.slice(0, size.busyRooms)
  const step = Math.ceil(busy.length / ASKED_ROOMS)
  const busyRoomIds = busy.filter((_, index) => index % step === 0)
  return { ...size, file, orgId, key, newOrgId, newKey, roomId, busyRoomIds }
}

/** As an operator makes one; the command also brings the schema to its newest version. */
function createKey(file: string, orgId: string): string {
  const command = ['keys', 'create', '--org', orgId, '--right', 'support', '--name', 'bench']
  return runCli(command, { DATABASE_URL: `sqlite:${file}` }).trim()
}

/** Runs one of the project's own commands. @returns what it says */
export function runCli(command: readonly string[], env: Record<string, string> = {}): string {
  const cli = ['--import', 'tsx', join('apps', 'server', 'src', 'cli.ts')]
  return execFileSync(process.execPath, [...cli, ...command], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
}

function hex(random: number): string {
  return Math.floor(random * 2 ** 32)
    .toString(16)
    .padStart(8, '0')
}
