import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
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
} from '../../src/index.ts'
import { migrations } from '../../src/migrations/index.ts'
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
const tables = [
  'api_keys',
  'audit_events',
  'event_log',
  'events',
  'messages',
  'organisation_settings',
  'organisations',
  'read_markers',
  'room_labels',
  'rooms',
  'signing_keys',
]

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
    await saveOrganisationSettings(tx, { orgId: org_id, settings: '{"products":["a"]}' })
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

/** Adds a migration for the length of a test. */
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

test('goes up from nothing, down to nothing and up again', async () => {
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

test('running again changes nothing and keeps the data', async () => {
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

/** A fresh database as the version made it whose newest migration was this one. */
async function createTestDbAt(newest: string): Promise<TestDatabase> {
  const later = Object.entries(migrations).filter(([name]) => name > newest)
  for (const [name] of later) delete migrations[name]
  try {
    return await createTestDb()
  } finally {
    Object.assign(migrations, Object.fromEntries(later))
  }
}

/** What 001 knew of a room and of a message. */
const {
  version: _version,
  support_count: _roomSupportCount,
  subject: _subject,
  status: _status,
  assignee: _assignee,
  labels: _labels,
  custom: _custom,
  last_message_seq: _lastMessageSeq,
  last_message_type: _lastMessageType,
  last_message_side: _lastMessageSide,
  last_message_author: _lastMessageAuthor,
  last_message_at: _lastMessageAt,
  ...roomOf001
} = roomRow({ last_seq: 1, last_message: 'message' })
const {
  support_count: _supportCount,
  edited_at: _editedAt,
  deleted_at: _deletedAt,
  ...messageOf001
} = messageRow()

async function migrateDownTo(db: TestDatabase, newest: string): Promise<void> {
  for (const name of Object.keys(migrations).sort().reverse()) {
    if (name > newest) await db.migrateDown()
  }
}

test('002 keeps what a database at 001 holds, up and down', async () => {
  await using db = await createTestDbAt('001-rooms-and-messages')
  using connection = connect(db.location)
  const organisation = { id: room.org_id, created_at: 5, last_room_position: 1 }
  insertInto(connection, 'organisations', organisation)
  insertInto(connection, 'rooms', roomOf001)
  insertInto(connection, 'messages', messageOf001)
  const before = contents(db.location)
  expect(tablesOf(db.location)).toEqual(
    [...bookkeeping, 'messages', 'organisations', 'rooms'].sort(),
  )

  await db.migrateToLatest()
  expect(await kyselyOn(db.read).selectFrom('organisations').selectAll().execute()).toEqual([
    { ...organisation, last_key_position: 0, last_audit_position: 0, last_event_position: 0 },
  ])
  expect(await kyselyOn(db.read).selectFrom('rooms').selectAll().execute()).toEqual([
    roomRow({ ...roomOf001, ...latestOf(messageRow()) }),
  ])
  expect(await kyselyOn(db.read).selectFrom('messages').selectAll().execute()).toEqual([message])
  // What was there goes on, and what is new begins.
  await db.write(async (tx) => {
    const where = { orgId: room.org_id, now: 6 }
    expect(await nextPosition(tx, 'last_room_position', where)).toBe(2)
    expect(await nextPosition(tx, 'last_key_position', where)).toBe(1)
    expect(await nextPosition(tx, 'last_audit_position', where)).toBe(1)
    await insertApiKey(tx, apiKeyRow())
    await insertAuditEvent(tx, auditEventRow())
    await insertSigningKey(tx, { id: 'id', secret: 'secret', created_at: 0 })
    await sql`update organisations set last_room_position = 1`.execute(kyselyOn(tx))
  })

  await migrateDownTo(db, '001-rooms-and-messages')
  expect(contents(db.location)).toEqual(before)
})

test('003 counts what support wrote so far, and keeps what a database at 002 holds, up and down', async () => {
  await using db = await createTestDbAt('002-identity')
  using connection = connect(db.location)
  for (const id of [room.org_id, 'other']) {
    insertInto(connection, 'organisations', { id, created_at: 5, last_room_position: 9 })
  }
  // A room of each organisation and one without a message; the sides take turns in many ways.
  const sides = { 1: '0110100', 2: '1', 3: '', 4: '000', 5: '1111' }
  const wanted: unknown[] = []
  for (const [number, talk] of Object.entries(sides)) {
    const id = number.padStart(24, '0')
    const org_id = number === '2' ? 'other' : room.org_id
    insertInto(connection, 'rooms', {
      ...roomOf001,
      id,
      org_id,
      position: Number(number),
      user_id: number,
      last_seq: talk.length,
    })
    const messages = [...talk].map((side, i) => ({
      ...messageOf001,
      id: `${number}${i}`.padStart(24, '0'),
      org_id,
      room_id: id,
      seq: i + 1,
      side: Number(side),
      is_active: 1,
    }))
    for (const row of messages) insertInto(connection, 'messages', row)
    const counts = messages.map(
      ({ seq }) => messages.filter((other) => other.seq <= seq && other.side === 1).length,
    )
    wanted.push({ id, support_count: counts.at(-1) ?? 0, counts })
  }
  insertInto(connection, 'api_keys', key)
  const before = contents(db.location)

  await db.migrateToLatest()
  const rooms = await kyselyOn(db.read)
    .selectFrom('rooms')
    .select(['id', 'support_count'])
    .orderBy('id')
    .execute()
  const messages = await kyselyOn(db.read)
    .selectFrom('messages')
    .selectAll()
    .orderBy('seq')
    .execute()
  expect(
    rooms.map((row) => ({
      ...row,
      counts: messages.filter((m) => m.room_id === row.id).map((m) => m.support_count),
    })),
  ).toEqual(wanted)
  expect(messages.every((m) => m.edited_at === null && m.deleted_at === null)).toBe(true)
  // The log begins with what happens from now on.
  await db.write(async (tx) =>
    appendEvent(tx, { type: 'room.updated', org_id: room.org_id, room_id: room.id, created_at: 6 }),
  )
  expect(
    await kyselyOn(db.read).selectFrom('events').select(['org_id', 'position']).execute(),
  ).toEqual([{ org_id: room.org_id, position: 1 }])
  await db.write(async (tx) => {
    await kyselyOn(tx).insertInto('room_labels').values(roomLabel).execute()
    await kyselyOn(tx).insertInto('read_markers').values(readMarker).execute()
    await kyselyOn(tx).updateTable('rooms').set({ subject: 'lost', version: 3 }).execute()
    await kyselyOn(tx).updateTable('messages').set({ edited_at: 6 }).where('seq', '=', 1).execute()
  })

  await migrateDownTo(db, '002-identity')
  expect(contents(db.location)).toEqual(before)
})

test('004 cuts the text that a room repeats, describes its message, and gives the text back on the way down', async () => {
  await using db = await createTestDbAt('003-live')
  using connection = connect(db.location)
  insertInto(connection, 'organisations', {
    ...{ id: room.org_id, created_at: 5, last_room_position: 3 },
  })
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
      ...roomOf001,
      id,
      ...{ position: Number(number), user_id: number, last_seq: talk.length },
      last_message: last?.message_data ?? null,
    })
    for (const [i, own] of talk.entries()) {
      insertInto(connection, 'messages', {
        ...messageOf001,
        ...own,
        ...{ id: `${number}${i}`.padStart(24, '0'), room_id: id, seq: i + 1 },
      })
    }
  }
  const before = contents(db.location)

  await db.migrateToLatest()
  const rooms = await kyselyOn(db.read)
    .selectFrom('rooms')
    .selectAll()
    .orderBy('position')
    .execute()
  const none = latestOf(undefined)
  expect(rooms.map((row) => latestOf(undefined, row))).toEqual([
    {
      last_message: '🙂'.repeat(200),
      last_message_seq: 2,
      last_message_type: 'TEXT',
      last_message_side: 1,
      last_message_author: 'bo',
      last_message_at: messageRow().created_at,
    },
    none,
    none,
  ])

  await migrateDownTo(db, '003-live')
  expect(contents(db.location)).toEqual(before)
})

test('005 begins without settings, and keeps what a database before it holds, up and down', async () => {
  await using db = await createTestDbAt('003-live')
  using connection = connect(db.location)
  const organisation = { id: room.org_id, created_at: 5, last_room_position: 1 }
  insertInto(connection, 'organisations', organisation)
  insertInto(connection, 'rooms', { ...roomOf001, version: 3 })
  insertInto(connection, 'messages', messageOf001)
  const before = contents(db.location)

  await db.migrateToLatest()
  const settingsOf = (orgId: string) => findOrganisationSettings(db.read, { orgId })
  expect(await settingsOf(room.org_id)).toBeUndefined()
  await db.write(async (tx) => {
    await saveOrganisationSettings(tx, { orgId: room.org_id, settings: '{"products":["a"]}' })
    await saveOrganisationSettings(tx, { orgId: room.org_id, settings: '{"products":["b"]}' })
    await lockOrganisation(tx, { orgId: 'new', now: 6 })
    await lockOrganisation(tx, { orgId: room.org_id, now: 6 })
  })
  expect(await settingsOf(room.org_id)).toBe('{"products":["b"]}')
  expect(
    await kyselyOn(db.read).selectFrom('organisations').selectAll().orderBy('id').execute(),
  ).toEqual([
    expect.objectContaining(organisation),
    expect.objectContaining({ id: 'new', created_at: 6, last_room_position: 0 }),
  ])
  await db.write((tx) => kyselyOn(tx).deleteFrom('organisations').where('id', '=', 'new').execute())

  await migrateDownTo(db, '003-live')
  expect(contents(db.location)).toEqual(before)
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

test('a database of a newer version is refused and not touched', async () => {
  await using folder = await createFolder()
  const url = `sqlite:${join(folder.path, 'test.db')}`
  const older = openDatabase({ url })
  await older.migrateToLatest()
  await older.write((tx) =>
    sql`insert into schema_migrations values ('999-from-the-future', '2099-01-01')`.execute(
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

test('waits for the write lock, but not for ever', async () => {
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

test('writes that come during a migration wait for it', async () => {
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
  await expect(write.execute(kyselyOn(db.read))).rejects.toMatchObject({ code: 'SQLITE_READONLY' })
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
  ...['version', 'support_count', 'status', 'labels', 'custom'].map(
    (column): [string, object, string] => ['rooms', { ...room, [column]: null }, NULL],
  ),
  ['messages', { ...message, support_count: null }, NULL],
  ['organisation_settings', { org_id: room.org_id, settings: null }, NULL],
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
