import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Kysely, sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import {
  appendEvent,
  type EventRow,
  findOrganisationSettings,
  insertApiKey,
  insertAuditEvent,
  insertMessage,
  insertRoom,
  insertSigningKey,
  lockOrganisation,
  nextPosition,
  openDatabase,
  type ReadMarkerRow,
  saveOrganisationSettings,
  saveUserTokenRevocation,
} from '../../src/index.ts'
import { migrations } from '../../src/migrations/index.ts'
import { primaryKeys } from '../../src/tables.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import {
  apiKeyRow,
  auditEventRow,
  connect,
  contentsOf,
  createFolder,
  insertInto,
  latestOf,
  messageRow,
  roomRow,
} from '../support.ts'

const bookkeeping = ['schema_migrations', 'schema_migrations_lock']
const tables = [...Object.keys(primaryKeys), 'event_log'].sort()

function tablesOf(file: string): string[] {
  using connection = connect(file)
  return connection
    .prepare<[], string>("select name from sqlite_schema where type = 'table' order by name")
    .pluck()
    .all()
}

function contents(file: string): Record<string, unknown> {
  using connection = connect(file)
  return contentsOf(connection)
}

async function fill(db: TestDatabase): Promise<void> {
  await db.write(async (tx) => {
    const { org_id } = roomRow()
    await nextPosition(tx, 'last_room_position', { orgId: org_id, now: 1 })
    await insertRoom(tx, roomRow())
    await insertMessage(tx, messageRow())
    await nextPosition(tx, 'last_key_position', { orgId: org_id, now: 1 })
    await insertApiKey(tx, apiKeyRow())
    await nextPosition(tx, 'last_audit_position', { orgId: org_id, now: 1 })
    await insertAuditEvent(tx, auditEventRow())
    await insertSigningKey(tx, { id: 'id', secret: 'secret', created_at: 1 })
    await saveUserTokenRevocation(tx, { orgId: org_id, userId: 'user', now: 1 })
    await saveOrganisationSettings(tx, {
      orgId: org_id,
      settings: '{"products":["a"]}',
      version: 1,
    })
    await kyselyOn(tx).insertInto('room_labels').values(roomLabel).execute()
    await kyselyOn(tx).insertInto('read_markers').values(readMarker).execute()
    appendEvent(tx, {
      type: 'message.created',
      org_id,
      room_id: room.id,
      message_seq: 1,
      created_at: 1,
    })
  })
}

/** Adds a migration until the end of the test. */
function addMigration(name: string, up: (db: Kysely<unknown>) => Promise<void>): void {
  migrations[name] = { up, down: async () => {} }
  onTestFinished(() => {
    delete migrations[name]
  })
}

test('opening a database leaves its schema alone', async () => {
  await using folder = await createFolder()
  const db = openDatabase({ url: `sqlite:${join(folder.path, 'test.db')}` })
  expect(tablesOf(db.location)).toEqual([])
  await db.close()
})

test('the migrations run up, down and up again', async () => {
  await using db = await createTestDb()
  const schema = contents(db.location).schema
  expect(tablesOf(db.location)).toEqual([...tables, ...bookkeeping].sort())

  for (const _ of Object.keys(migrations)) await db.migrateDown()
  expect(tablesOf(db.location)).toEqual(bookkeeping)
  await db.migrateDown()
  expect(tablesOf(db.location)).toEqual(bookkeeping)

  await db.migrateToLatest()
  expect(contents(db.location).schema).toEqual(schema)
})

test('migrating again changes nothing and keeps the data', async () => {
  await using db = await createTestDb()
  await fill(db)
  const before = contents(db.location)
  await db.migrateToLatest()
  await Promise.all([db.migrateToLatest(), db.migrateToLatest()])
  expect(contents(db.location)).toEqual(before)
})

test('a new migration keeps the data', async () => {
  await using db = await createTestDb()
  await fill(db)
  addMigration('999-note', (trx) =>
    trx.schema.alterTable('rooms').addColumn('note', 'text').execute(),
  )
  await db.migrateToLatest()
  const rooms = await kyselyOn(db.read).selectFrom('rooms').selectAll().execute()
  expect(rooms).toEqual([{ ...roomRow(), note: null }])
})

test('migrations/index.ts lists every migration of its folder', () => {
  const files = readdirSync(new URL('../../src/migrations/', import.meta.url))
  const names = files.filter((file) => /^\d{3}-/.test(file)).map((file) => file.replace('.ts', ''))
  const listed = Object.keys(migrations)
  expect(
    listed,
    'packages/db/src/migrations/index.ts needs a line for every file of its folder',
  ).toEqual(names.sort())
  const numbers = listed.map((name) => Number.parseInt(name, 10))
  expect(numbers).toEqual(numbers.map((_, index) => index + 1))
})

// Each of these tests migrates to its own migration only, with rows of that time, so no later one changes it.

const { id: ROOM, org_id: ORG } = roomRow()

const organisationAt001 = { id: ORG, created_at: 5, last_room_position: 1 }

const roomAt001 = {
  id: ROOM,
  org_id: ORG,
  position: 1,
  event_id: 'FB10100000001693018738#5535526',
  user_id: 'ABCD12345',
  portfolio_name: 'umair',
  product_name: 'WIFIQRCODE',
  room_room_id: '13-ABCD12345',
  is_active: 1,
  last_seq: 1,
  last_message: 'message' as string | null,
  created_at: 1_693_018_738_000,
  updated_at: 1_693_018_738_000,
}

const messageAt001 = {
  org_id: ORG,
  room_id: ROOM,
  seq: 1,
  id: '1'.padStart(24, '0'),
  side: 0,
  author: 'client',
  message_type: 'text',
  message_data: 'message',
  client_message_id: null,
  is_active: 1,
  created_at: 1_693_018_738_000,
}

const keyAt002 = {
  id: '1'.padStart(24, '0'),
  org_id: ORG,
  position: 1,
  secret_hash: '0'.repeat(64),
  access: 'support',
  name: 'help desk',
  created_at: 1,
  last_used_at: null,
  revoked_at: null,
}

function rowsOf(file: string, table: string, order = 'rowid'): Record<string, unknown>[] {
  using connection = connect(file)
  return connection
    .prepare<[], Record<string, unknown>>(`select * from ${table} order by ${order}`)
    .all()
}

test('002 keeps the data of 001, up and down', async () => {
  await using db = await createTestDb({ migration: '001-rooms-and-messages' })
  using connection = connect(db.location)
  insertInto(connection, 'organisations', organisationAt001)
  insertInto(connection, 'rooms', roomAt001)
  insertInto(connection, 'messages', messageAt001)
  const before = contents(db.location)
  expect(tablesOf(db.location)).toEqual(
    [...bookkeeping, 'messages', 'organisations', 'rooms'].sort(),
  )

  await db.migrateTo('002-identity')
  expect(rowsOf(db.location, 'organisations', 'id')).toEqual([
    { ...organisationAt001, last_key_position: 0, last_audit_position: 0 },
  ])
  expect(rowsOf(db.location, 'rooms')).toEqual([roomAt001])
  expect(rowsOf(db.location, 'messages', 'seq')).toEqual([messageAt001])
  insertInto(connection, 'api_keys', keyAt002)
  const id = { id: 'id', created_at: 0 }
  insertInto(connection, 'signing_keys', { ...id, secret: 'secret' })
  insertInto(connection, 'audit_events', {
    ...id,
    ...{ org_id: ORG, position: 1, action: 'room.deleted', actor: 'a', target: 'b', details: '{}' },
  })

  await db.migrateTo('001-rooms-and-messages')
  expect(contents(db.location)).toEqual(before)
})

test('003 counts the messages of support so far and keeps the data of 002, up and down', async () => {
  await using db = await createTestDb({ migration: '002-identity' })
  using connection = connect(db.location)
  for (const id of [ORG, 'other']) {
    insertInto(connection, 'organisations', { ...organisationAt001, id, last_room_position: 9 })
  }
  // A room of each organisation and one without a message; the sides take turns in many ways.
  const sides = { 1: '0110100', 2: '1', 3: '', 4: '000', 5: '1111' }
  const wanted: unknown[] = []
  for (const [number, talk] of Object.entries(sides)) {
    const id = number.padStart(24, '0')
    const org_id = number === '2' ? 'other' : ORG
    insertInto(connection, 'rooms', {
      ...roomAt001,
      id,
      org_id,
      position: Number(number),
      user_id: number,
      last_seq: talk.length,
    })
    const messages = [...talk].map((side, i) => ({
      ...messageAt001,
      id: `${number}${i}`.padStart(24, '0'),
      org_id,
      room_id: id,
      seq: i + 1,
      side: Number(side),
    }))
    for (const row of messages) insertInto(connection, 'messages', row)
    const counts = messages.map(
      ({ seq }) => messages.filter((other) => other.seq <= seq && other.side === 1).length,
    )
    wanted.push({ id, support_count: counts.at(-1) ?? 0, counts })
  }
  insertInto(connection, 'api_keys', keyAt002)
  const before = contents(db.location)

  await db.migrateTo('003-live')
  const rooms = rowsOf(db.location, 'rooms', 'id')
  const messages = rowsOf(db.location, 'messages', 'seq')
  expect(
    rooms.map(({ id, support_count }) => ({
      id,
      support_count,
      counts: messages.filter((m) => m.room_id === id).map((m) => m.support_count),
    })),
  ).toEqual(wanted)
  expect(messages.every((m) => m.edited_at === null && m.deleted_at === null)).toBe(true)
  // The log begins empty.
  expect(rowsOf(db.location, 'events', 'position')).toEqual([])
  const inRoom = { org_id: ORG, room_id: ROOM }
  insertInto(connection, 'events', { ...inRoom, position: 1, type: 'room.updated', created_at: 6 })
  insertInto(connection, 'room_labels', { ...inRoom, label: 'urgent', position: 1 })
  insertInto(connection, 'read_markers', {
    ...inRoom,
    ...{ side: 1, user_id: 'agent', seq: 1, updated_at: 0 },
  })
  connection.exec("update rooms set subject = 'lost', version = 3")
  connection.exec('update messages set edited_at = 6 where seq = 1')

  await db.migrateTo('002-identity')
  expect(contents(db.location)).toEqual(before)
})

test('004 shortens the text in the room and describes its message; down restores the text', async () => {
  await using db = await createTestDb({ migration: '003-live' })
  using connection = connect(db.location)
  insertInto(connection, 'organisations', { ...organisationAt001, last_room_position: 3 })
  const long = '🙂'.repeat(300)
  const talks = {
    1: [
      { message_data: 'first', is_active: 1 },
      { message_data: long, is_active: 1, side: 1, author: 'bo', message_type: 'TEXT' },
      { message_data: '', is_active: 0 },
    ],
    2: [{ message_data: '', is_active: 0 }],
    3: [],
  } as const
  for (const [number, talk] of Object.entries(talks)) {
    const id = number.padStart(24, '0')
    const last = talk.findLast(({ is_active }) => is_active === 1)
    insertInto(connection, 'rooms', {
      ...roomAt001,
      id,
      ...{ position: Number(number), user_id: number, last_seq: talk.length },
      last_message: last?.message_data ?? null,
    })
    for (const [i, own] of talk.entries()) {
      insertInto(connection, 'messages', {
        ...messageAt001,
        ...own,
        ...{ id: `${number}${i}`.padStart(24, '0'), room_id: id, seq: i + 1 },
      })
    }
  }
  const before = contents(db.location)

  await db.migrateTo('004-last-message')
  const latest = rowsOf(db.location, 'rooms', 'position').map((row) => [
    row.last_message,
    row.last_message_seq,
    row.last_message_type,
    row.last_message_side,
    row.last_message_author,
    row.last_message_at,
  ])
  const none = [null, null, null, null, null, null]
  const shortened = ['🙂'.repeat(200), 2, 'TEXT', 1, 'bo', messageAt001.created_at]
  expect(latest).toEqual([shortened, none, none])

  await db.migrateTo('003-live')
  expect(contents(db.location)).toEqual(before)
})

type Connection = ReturnType<typeof connect>

interface Step {
  readonly from: string
  readonly to: string
  /** Inserts data of the version before. */
  insert(connection: Connection): void
  /** Checks what the migration made, and inserts data of its version. */
  whileUp(connection: Connection, file: string): void
  /** Checks what the way down removed. */
  afterwards?(connection: Connection): void
}

/** Migrates up and down again. The data of the version before must be the same. */
async function migrateUpAndDown({ from, to, insert, whileUp, afterwards }: Step): Promise<void> {
  await using db = await createTestDb({ migration: from })
  using connection = connect(db.location)
  insertInto(connection, 'organisations', organisationAt001)
  insert(connection)
  const before = contents(db.location)

  await db.migrateTo(to)
  whileUp(connection, db.location)

  await db.migrateTo(from)
  expect(contents(db.location)).toEqual(before)
  afterwards?.(connection)
}

test('005 begins without settings and keeps the data of 004, up and down', () =>
  migrateUpAndDown({
    from: '004-last-message',
    to: '005-organisation-settings',
    insert(connection) {
      insertInto(connection, 'rooms', { ...roomAt001, version: 3 })
      insertInto(connection, 'messages', messageAt001)
    },
    whileUp(connection, file) {
      expect(rowsOf(file, 'organisation_settings', 'org_id')).toEqual([])
      const settings = '{"products":["a"]}'
      insertInto(connection, 'organisation_settings', { org_id: ORG, settings })
    },
  }))

test('006 gives the logs their first epoch and keeps the data of 005, up and down', () =>
  migrateUpAndDown({
    from: '005-organisation-settings',
    to: '006-log-epoch',
    insert() {},
    whileUp(_, file) {
      const [log, ...others] = rowsOf(file, 'event_log')
      const { epoch, first_epoch } = log ?? {}
      expect(others).toEqual([])
      expect(log).toEqual({ id: 1, epoch: first_epoch, first_epoch: epoch, timeline: null })
      expect(epoch).toMatch(/^[\w-]{6}$/)
    },
  }))

test('007 begins without revocations and keeps the data of 006, up and down', () =>
  migrateUpAndDown({
    from: '006-log-epoch',
    to: '007-user-token-revocations',
    insert() {},
    whileUp(connection, file) {
      expect(rowsOf(file, 'user_token_revocations', 'org_id')).toEqual([])
      const row = { org_id: ORG, user_id: 'user', revoked_at: 1 }
      insertInto(connection, 'user_token_revocations', row)
    },
  }))

test('008 gives what is there its first version and keeps the data of 006, up and down', () =>
  migrateUpAndDown({
    from: '006-log-epoch',
    to: '008-versions',
    insert(connection) {
      insertInto(connection, 'rooms', { ...roomAt001, version: 3 })
      insertInto(connection, 'messages', messageAt001)
      insertInto(connection, 'organisation_settings', { org_id: ORG, settings: '{}' })
    },
    whileUp(connection, file) {
      expect(rowsOf(file, 'rooms')).toMatchObject([{ version: 3, details_version: 1 }])
      expect(rowsOf(file, 'messages', 'seq')).toMatchObject([{ text_version: 1 }])
      expect(rowsOf(file, 'organisation_settings', 'org_id')).toMatchObject([{ version: 1 }])
      insertInto(connection, 'first_text_keys', { org_id: ORG, secret: 'secret' })
      insertInto(connection, 'first_texts', { ...firstText, org_id: ORG, room_id: roomAt001.id })
    },
  }))

test('010 adds an index and keeps the data of 006, up and down', async () => {
  const unassigned = (connection: Connection) =>
    connection
      .prepare<[], number>(
        'select count(*) from rooms indexed by rooms_unassigned where assignee is null',
      )
      .pluck()
      .get()
  await migrateUpAndDown({
    from: '006-log-epoch',
    to: '010-unassigned-rooms',
    insert(connection) {
      insertInto(connection, 'rooms', { ...roomAt001, version: 3 })
    },
    whileUp: (connection) => expect(unassigned(connection)).toBe(1),
    afterwards: (connection) => expect(() => unassigned(connection)).toThrow('no such index'),
  })
})

test('011 begins the clock of the retention at the newest event and keeps the data of 006, up and down', () =>
  migrateUpAndDown({
    from: '006-log-epoch',
    to: '011-retention-clock',
    insert(connection) {
      insertInto(connection, 'rooms', { ...roomAt001, version: 3 })
      for (const [position, created_at] of [7, 9, 8].entries()) {
        const event = { org_id: ORG, room_id: roomAt001.id, type: 'room.created', created_at }
        insertInto(connection, 'events', { ...event, position: position + 1 })
      }
    },
    whileUp(_, file) {
      expect(rowsOf(file, 'event_log')).toMatchObject([
        { retention_time: 9, retention_seen_at: null },
      ])
    },
  }))

test('a database of the first version works after all migrations', async () => {
  await using db = await createTestDb({ migration: '001-rooms-and-messages' })
  using connection = connect(db.location)
  insertInto(connection, 'organisations', organisationAt001)
  insertInto(connection, 'rooms', roomAt001)
  insertInto(connection, 'messages', messageAt001)
  await db.migrateToLatest()
  const read = kyselyOn(db.read)
  expect(await read.selectFrom('rooms').selectAll().execute()).toEqual([
    roomRow({ last_seq: 1, ...latestOf(messageRow()) }),
  ])
  expect(await read.selectFrom('messages').selectAll().execute()).toEqual([messageRow()])
  const settings = () => findOrganisationSettings(db.read, { orgId: ORG })
  expect(await settings()).toBeUndefined()
  await db.write(async (tx) => {
    const where = { orgId: ORG, now: 6 }
    expect(await nextPosition(tx, 'last_room_position', where)).toBe(2)
    expect(await nextPosition(tx, 'last_key_position', where)).toBe(1)
    expect(await nextPosition(tx, 'last_audit_position', where)).toBe(1)
    await insertApiKey(tx, apiKeyRow())
    await insertAuditEvent(tx, auditEventRow())
    await insertSigningKey(tx, { id: 'id', secret: 'secret', created_at: 0 })
    await saveOrganisationSettings(tx, { orgId: ORG, settings: '{"products":["a"]}', version: 1 })
    await saveOrganisationSettings(tx, { orgId: ORG, settings: '{"products":["b"]}', version: 2 })
    await lockOrganisation(tx, { orgId: 'new', now: 6 })
    await lockOrganisation(tx, where)
    appendEvent(tx, { type: 'room.updated', org_id: ORG, room_id: ROOM, created_at: 6 })
  })
  expect(await settings()).toEqual({ settings: '{"products":["b"]}', version: 2 })
  const organisations = await read.selectFrom('organisations').selectAll().orderBy('id').execute()
  expect(organisations).toMatchObject([
    { ...organisationAt001, last_room_position: 2, last_event_position: 1 },
    { id: 'new', created_at: 6, last_room_position: 0 },
  ])
  expect(await read.selectFrom('events').select(['org_id', 'position']).execute()).toEqual([
    { org_id: ORG, position: 1 },
  ])
})

test('a migration that fails half-way leaves nothing, and the ones before it neither', async () => {
  await using db = await createTestDb()
  await fill(db)
  const before = contents(db.location)
  addMigration('998-fine', (trx) =>
    trx.schema.createTable('fine').addColumn('id', 'text').execute(),
  )
  addMigration('999-broken', async (trx) => {
    await trx.schema.createTable('half').addColumn('id', 'text').execute()
    await sql`update rooms set user_id = 'lost'`.execute(trx)
    throw new Error('broken half-way')
  })
  await expect(db.migrateToLatest()).rejects.toThrow('broken half-way')
  expect(contents(db.location)).toEqual(before)
  await expect(fill(db)).rejects.toThrow('UNIQUE')
})

test('a database of a newer version is refused and left unchanged', async () => {
  await using folder = await createFolder()
  const url = `sqlite:${join(folder.path, 'test.db')}`
  const older = openDatabase({ url })
  await older.migrateToLatest()
  await older.write((tx) =>
    sql`insert into schema_migrations (name, timestamp) values ('999-from-the-future', '2099-01-01')`.execute(
      kyselyOn(tx),
    ),
  )
  await older.close()
  const bytes = await readFile(older.location)

  const db = openDatabase({ url })
  const refusal = { name: 'DatabaseError', reason: 'newer-schema' }
  await expect(db.migrateToLatest()).rejects.toMatchObject({
    ...refusal,
    message: expect.stringContaining('999-from-the-future'),
  })
  await expect(db.migrateDown()).rejects.toMatchObject(refusal)
  await db.close()
  expect((await readFile(older.location)).equals(bytes)).toBe(true)
})

test('a migration waits for the write lock until its timeout', async () => {
  await using db = await createTestDb({ busyTimeout: 50 })
  using other = connect(db.location)
  other.exec('begin immediate')
  await expect(db.migrateToLatest()).rejects.toMatchObject({ reason: 'busy' })
  other.exec('rollback')
  await db.migrateToLatest()
})

test('a closed database is not migrated', async () => {
  await using db = await createTestDb()
  await db.close()
  await expect(db.migrateToLatest()).rejects.toMatchObject({ reason: 'closed' })
})

test('writes that arrive during a migration wait for it', async () => {
  await using db = await createTestDb()
  addMigration('999-scratch', (trx) =>
    trx.schema.createTable('scratch').addColumn('id', 'integer').execute(),
  )
  await Promise.all([
    db.migrateToLatest(),
    db.write((tx) => sql`insert into scratch values (1)`.execute(kyselyOn(tx))),
  ])
  expect(contents(db.location).rows).toContainEqual(['scratch', [{ id: 1 }]])
})

test('processes that open and migrate one new file at once all succeed', async () => {
  await using folder = await createFolder()
  const processes = [1, 2, 3].map(() => startMigrator())
  try {
    for (const { answer } of processes) expect(await answer()).toBe('ready')
    for (let round = 1; round <= 10; round++) {
      const file = join(folder.path, `${round}`, 'data', 'test.db')
      for (const { child } of processes) child.stdin?.write(`sqlite:${file}\n`)
      const answers = await Promise.all(processes.map(({ answer }) => answer()))
      expect(answers).toEqual(processes.map(() => 'migrated'))
      // Had it run twice, the second run would have met the tables of the first.
      using connection = connect(file)
      const applied = connection.prepare('select name from schema_migrations').pluck().all()
      expect(applied).toEqual(Object.keys(migrations))
    }
  } finally {
    for (const { child } of processes) child.stdin?.end()
    await Promise.all(processes.map(({ exited }) => exited))
  }
})

function startMigrator() {
  const script = fileURLToPath(new URL('../migrateOnDemand.ts', import.meta.url))
  const child: ChildProcess = spawn(process.execPath, [script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const iterator = lines[Symbol.asyncIterator]()
  return {
    child,
    exited: once(child, 'exit'),
    answer: async () => (await iterator.next()).value,
  }
}

test.for(['read', 'write'] as const)('the %s connection is configured', async (kind) => {
  await using db = await createTestDb()
  const pragma = async (name: string) => {
    const query = sql<Record<string, unknown>>`${sql.raw(`pragma ${name}`)}`
    const { rows } = await (kind === 'read'
      ? query.execute(kyselyOn(db.read))
      : db.write((tx) => query.execute(kyselyOn(tx))))
    return Object.values(rows[0] ?? {})[0]
  }
  expect(await pragma('foreign_keys')).toBe(1)
  expect(await pragma('journal_mode')).toBe('wal')
  expect(await pragma('synchronous')).toBe(2)
  expect(await pragma('trusted_schema')).toBe(0)
  expect(await pragma('query_only')).toBe(kind === 'read' ? 1 : 0)
  // A write that waited inside SQLite would block the event loop.
  if (kind === 'write') expect(await pragma('busy_timeout')).toBe(0)
})

test('the read connection cannot write', async () => {
  await using db = await createTestDb()
  const write = sql`insert into signing_keys values ('id', 'secret', 0)`
  await expect(write.execute(kyselyOn(db.read))).rejects.toMatchObject({
    cause: { code: 'SQLITE_READONLY' },
  })
  await expect(kyselyOn(db.read).schema.dropTable('messages').execute()).rejects.toThrow()
  expect(tablesOf(db.location)).toEqual(expect.arrayContaining(tables))
})

test('every table is strict', async () => {
  await using db = await createTestDb()
  using connection = connect(db.location)
  const strict = connection
    .prepare<[], { name: string; strict: number }>(
      "select name, strict from pragma_table_list where schema = 'main' and type = 'table'",
    )
    .all()
    .filter(({ name }) => !name.startsWith('sqlite_') && !bookkeeping.includes(name))
  expect(strict.map(({ name }) => name).sort()).toEqual(tables)
  expect(strict.every((table) => table.strict === 1)).toBe(true)
})

const room = roomRow()
const message = messageRow()
const key = apiKeyRow()
const event = auditEventRow()
const revocation = { org_id: room.org_id, user_id: 'user', revoked_at: 1 }
const signingKey = { id: 'id', secret: 'secret', created_at: 0 }
const happened: EventRow = {
  org_id: room.org_id,
  position: 1,
  room_id: room.id,
  type: 'message.created',
  message_seq: 1,
  marker_seq: null,
  user_id: null,
  side: null,
  created_at: 0,
}
const roomLabel = { org_id: room.org_id, label: 'urgent', position: 1, room_id: room.id }
const readMarker: ReadMarkerRow = {
  org_id: room.org_id,
  room_id: room.id,
  side: 1,
  user_id: 'agent',
  seq: 1,
  updated_at: 0,
}
const firstText = { org_id: room.org_id, room_id: room.id, seq: 1, hash: 'hash' }
const CHECK = 'SQLITE_CONSTRAINT_CHECK'
const TYPE = 'SQLITE_CONSTRAINT_DATATYPE'
const UNIQUE = 'SQLITE_CONSTRAINT_UNIQUE'
const KEY = 'SQLITE_CONSTRAINT_PRIMARYKEY'
const FOREIGN = 'SQLITE_CONSTRAINT_FOREIGNKEY'
const TRIGGER = 'SQLITE_CONSTRAINT_TRIGGER'
const NULL = 'SQLITE_CONSTRAINT_NOTNULL'

test.for<[table: string, row: object, code: string]>([
  ['rooms', { ...room, created_at: 'yesterday' }, TYPE],
  ['rooms', { ...room, is_active: 'true' }, TYPE],
  ['messages', { ...message, side: 'true' }, TYPE],
  ['organisations', { id: 'A', created_at: 0.5, last_room_position: 0 }, TYPE],
  [
    'organisations',
    { id: 'A', created_at: 0, last_room_position: 0, last_key_position: 'a' },
    TYPE,
  ],
  [
    'organisations',
    { id: 'A', created_at: 0, last_room_position: 0, last_audit_position: 'a' },
    TYPE,
  ],
  ['api_keys', { ...key, revoked_at: 'today' }, TYPE],
  ['api_keys', { ...key, last_used_at: 0.5 }, TYPE],
  ['audit_events', { ...event, created_at: 'today' }, TYPE],
  ['signing_keys', { ...signingKey, created_at: 'today' }, TYPE],
  [
    'organisations',
    { id: 'A', created_at: 0, last_room_position: 0, last_event_position: 'a' },
    TYPE,
  ],
  ['rooms', { ...room, version: 'new' }, TYPE],
  ['rooms', { ...room, support_count: 0.5 }, TYPE],
  ['rooms', { ...room, details_version: 'new' }, TYPE],
  ['messages', { ...message, text_version: 0.5 }, TYPE],
  ['first_texts', { ...firstText, seq: 'first' }, TYPE],
  ['messages', { ...message, support_count: 'many' }, TYPE],
  ['messages', { ...message, edited_at: 'today' }, TYPE],
  ['messages', { ...message, deleted_at: 'today' }, TYPE],
  ['events', { ...happened, created_at: 'today' }, TYPE],
  ['events', { ...happened, message_seq: 'first' }, TYPE],
  ['events', { ...happened, marker_seq: 0.5 }, TYPE],
  ['room_labels', { ...roomLabel, position: 'first' }, TYPE],
  ['read_markers', { ...readMarker, updated_at: 'today' }, TYPE],
  ['rooms', { ...room, id: 'short' }, CHECK],
  ['rooms', { ...room, position: 0 }, CHECK],
  ['rooms', { ...room, is_active: 2 }, CHECK],
  ['rooms', { ...room, last_seq: -1 }, CHECK],
  ['messages', { ...message, id: 'short' }, CHECK],
  ['messages', { ...message, seq: 0 }, CHECK],
  ['event_log', { id: 2, epoch: 'epoch', first_epoch: 'epoch' }, CHECK],
  ['messages', { ...message, side: 2 }, CHECK],
  ['messages', { ...message, is_active: 2 }, CHECK],
  ['api_keys', { ...key, id: 'short' }, CHECK],
  ['api_keys', { ...key, position: 0 }, CHECK],
  ['api_keys', { ...key, secret_hash: 'short' }, CHECK],
  ['api_keys', { ...key, access: 'owner' }, CHECK],
  ['api_keys', { ...key, access: 'Admin' }, CHECK],
  ['audit_events', { ...event, position: 0 }, CHECK],
  ['rooms', { ...room, status: 'Open' }, CHECK],
  ['events', { ...happened, position: 0 }, CHECK],
  ['events', { ...happened, side: 2 }, CHECK],
  ['read_markers', { ...readMarker, side: 2 }, CHECK],
  ['read_markers', { ...readMarker, seq: -1 }, CHECK],
  ['api_keys', { ...key, org_id: 'nobody' }, FOREIGN],
  ['audit_events', { ...event, org_id: 'nobody' }, FOREIGN],
  ['rooms', { ...room, org_id: 'nobody' }, FOREIGN],
  ['events', { ...happened, org_id: 'nobody' }, FOREIGN],
  ['organisation_settings', { org_id: 'nobody', settings: '{}' }, FOREIGN],
  ['user_token_revocations', { ...revocation, org_id: 'nobody' }, FOREIGN],
  ['first_text_keys', { org_id: 'nobody', secret: 'secret' }, FOREIGN],
  ['first_texts', { ...firstText, room_id: 'f'.repeat(24) }, FOREIGN],
  ['events', { ...happened, room_id: 'f'.repeat(24) }, FOREIGN],
  ['room_labels', { ...roomLabel, room_id: 'f'.repeat(24) }, FOREIGN],
  ['read_markers', { ...readMarker, room_id: 'f'.repeat(24) }, FOREIGN],
  ['messages', { ...message, room_id: 'f'.repeat(24) }, FOREIGN],
  ['rooms', { ...room, user_id: null }, NULL],
  ['messages', { ...message, message_data: null }, NULL],
  [
    'organisations',
    { id: 'A', created_at: 0, last_room_position: 0, last_key_position: null },
    NULL,
  ],
  [
    'organisations',
    { id: 'A', created_at: 0, last_room_position: 0, last_audit_position: null },
    NULL,
  ],
  ...['org_id', 'position', 'secret_hash', 'access', 'name', 'created_at'].map(
    (column): [string, object, string] => ['api_keys', { ...key, [column]: null }, NULL],
  ),
  ...Object.keys(event).map((column): [string, object, string] => [
    'audit_events',
    { ...event, [column]: null },
    NULL,
  ]),
  ['signing_keys', { ...signingKey, secret: null }, NULL],
  [
    'organisations',
    { id: 'A', created_at: 0, last_room_position: 0, last_event_position: null },
    NULL,
  ],
  ...['version', 'details_version', 'support_count', 'status', 'labels', 'custom'].map(
    (column): [string, object, string] => ['rooms', { ...room, [column]: null }, NULL],
  ),
  ['messages', { ...message, support_count: null }, NULL],
  ['messages', { ...message, text_version: null }, NULL],
  ['first_text_keys', { org_id: room.org_id, secret: null }, NULL],
  ['first_texts', { ...firstText, hash: null }, NULL],
  ['organisation_settings', { org_id: room.org_id, settings: null }, NULL],
  ...Object.keys(revocation).map((column): [string, object, string] => [
    'user_token_revocations',
    { ...revocation, [column]: null },
    NULL,
  ]),
  ...['org_id', 'position', 'room_id', 'type', 'created_at'].map(
    (column): [string, object, string] => ['events', { ...happened, [column]: null }, NULL],
  ),
  ...Object.keys(roomLabel).map((column): [string, object, string] => [
    'room_labels',
    { ...roomLabel, [column]: null },
    NULL,
  ]),
  ...Object.keys(readMarker).map((column): [string, object, string] => [
    'read_markers',
    { ...readMarker, [column]: null },
    NULL,
  ]),
  // Below, the room, the message, the API key, the audit event and what else has one with id …9 are there already, all at
  // position 9.
  ['events', { ...happened, position: 9 }, KEY],
  ['room_labels', { ...roomLabel, position: 9 }, KEY],
  ['room_labels', { ...roomLabel, label: 'nine', position: 10 }, UNIQUE],
  ['read_markers', readMarker, KEY],
  ['api_keys', { ...key, id: '9'.padStart(24, '0') }, KEY],
  ['api_keys', { ...key, position: 9 }, UNIQUE],
  ['audit_events', { ...event, position: 9 }, TRIGGER],
  ['audit_events', { ...event, id: '9'.padStart(24, '0') }, TRIGGER],
  ['signing_keys', { ...signingKey, id: '9' }, KEY],
  ['organisation_settings', { org_id: room.org_id, settings: '{}' }, KEY],
  ['user_token_revocations', revocation, KEY],
  ['first_text_keys', { org_id: room.org_id, secret: 'other' }, KEY],
  ['first_texts', { ...firstText, hash: 'other' }, KEY],
  ['rooms', { ...room, id: '9'.padStart(24, '0'), position: 10, user_id: 'other' }, KEY],
  ['rooms', { ...room, position: 9, user_id: 'other' }, UNIQUE],
  ['rooms', { ...room, position: 10, user_id: 'nine' }, UNIQUE],
  ['messages', { ...message, seq: 9 }, KEY],
  ['messages', { ...message, id: '9'.padStart(24, '0') }, UNIQUE],
  ['messages', { ...message, client_message_id: 'nine' }, UNIQUE],
])('%s refuses %o with %s', async ([table, row, code]) => {
  await using db = await createTestDb()
  using connection = connect(db.location)
  connection.pragma('foreign_keys = on')
  const insert = (into: string, values: object) => insertInto(connection, into, values)
  insert('organisations', { id: room.org_id, created_at: 0, last_room_position: 9 })
  const nine = '9'.padStart(24, '0')
  const eight = '8'.padStart(24, '0')
  insert('rooms', { ...room, id: nine, position: 9, user_id: 'nine' })
  insert('rooms', {
    ...room,
    id: eight,
    position: 8,
    user_id: 'nine',
    is_active: 0,
  })
  const inNine = { ...message, room_id: nine }
  insert('messages', { ...inNine, id: nine, seq: 9, client_message_id: 'nine' })
  insert('messages', { ...inNine, id: '8'.padStart(24, '0'), seq: 8 })
  insert('messages', { ...inNine, id: '7'.padStart(24, '0'), seq: 7 })

  insert('api_keys', { ...key, id: nine, position: 9 })
  insert('audit_events', { ...event, id: nine, position: 9 })
  insert('signing_keys', { ...signingKey, id: '9' })
  insert('organisation_settings', { org_id: room.org_id, settings: '{}' })
  insert('user_token_revocations', revocation)
  insert('first_text_keys', { org_id: room.org_id, secret: 'secret' })
  insert('first_texts', { ...firstText, room_id: nine })
  insert('events', { ...happened, room_id: eight, position: 9 })
  insert('room_labels', { ...roomLabel, room_id: eight, position: 9 })
  insert('room_labels', { ...roomLabel, room_id: nine, label: 'nine', position: 9 })
  insert('read_markers', { ...readMarker, room_id: nine })

  const bad = 'room_id' in row && row.room_id === room.id ? { ...row, room_id: nine } : row
  expect(() => insert(table, bad)).toThrow(expect.objectContaining({ code }))
})

test.for(['update', 'update or ignore', 'upsert', 'delete', 'replace', 'replace by id'] as const)(
  'audit events are append-only: no %s, by this process or any other',
  async (change) => {
    await using db = await createTestDb()
    await fill(db)
    const before = contents(db.location)
    const attempt = {
      update: "update audit_events set actor = 'nobody'",
      'update or ignore': "update or ignore audit_events set actor = 'nobody'",
      upsert: `insert into audit_events select * from audit_events where true
        on conflict do update set actor = 'nobody'`,
      delete: 'delete from audit_events',
      replace: `insert or replace into audit_events
        select org_id, position, id, action, 'nobody', target, details, created_at from audit_events`,
      'replace by id': `insert or replace into audit_events
        select org_id, 2, id, action, 'nobody', target, details, created_at from audit_events`,
    }[change]
    using connection = connect(db.location)
    const refused = 'audit events are append-only'
    expect(() => connection.exec(attempt)).toThrow(refused)
    await expect(db.write((tx) => sql`${sql.raw(attempt)}`.execute(kyselyOn(tx)))).rejects.toThrow(
      refused,
    )
    expect(contents(db.location)).toEqual(before)
  },
)
