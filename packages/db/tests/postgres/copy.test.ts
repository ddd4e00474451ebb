import { existsSync } from 'node:fs'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { type Insertable, sql } from 'kysely'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  appendEvent,
  type CopyProgress,
  copyDatabase,
  type Database,
  DatabaseError,
  nextPosition,
  openDatabase,
} from '../../src/index.ts'
import { type DataTable, primaryKeys, type Tables } from '../../src/tables.ts'
import { createTestDb, createTestStore, kyselyOn } from '../../src/testing.ts'
import {
  apiKeyRow,
  auditEventRow,
  connect,
  contentsOf,
  createFolder,
  idOf,
  longName,
  messageRow,
  roomRow,
} from '../support.ts'

type Table = DataTable
type Content = { [T in Table]: Insertable<Tables[T]>[] }

const tables = Object.keys(primaryKeys) as Table[]

/** Stores rows; a few at a time, so that their parameters are not too many for one statement. */
async function fill(url: string, content: Partial<Content>): Promise<void> {
  await using db = await migrated(url)
  await db.write(async (tx) => {
    for (const table of tables) {
      const rows = content[table] ?? []
      for (let from = 0; from < rows.length; from += 100) {
        await kyselyOn(tx)
          .insertInto(table)
          .values(rows.slice(from, from + 100) as never)
          .execute()
      }
    }
  })
}

async function migrated(url: string): Promise<Database & AsyncDisposable> {
  const db = openDatabase({ url })
  await db.migrateToLatest()
  return { ...db, [Symbol.asyncDispose]: () => db.close() }
}

/** Every row of every table, each as text, in an order that no database has a say in. */
async function rowsOf(url: string): Promise<Record<string, string[]>> {
  const db = openDatabase({ url })
  try {
    const all: Record<string, string[]> = {}
    for (const table of tables) {
      const rows = await kyselyOn(db.read).selectFrom(table).selectAll().execute()
      all[table] = rows.map((row) => JSON.stringify(Object.entries(row).sort())).sort()
    }
    return all
  } finally {
    await db.close()
  }
}

function copy(from: string, to: string, onProgress: (progress: CopyProgress) => void = () => {}) {
  return copyDatabase({ from, to, onProgress })
}

async function refusalOf(from: string, to: string): Promise<DatabaseError> {
  const error = await copy(from, to).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(DatabaseError)
  expect((error as DatabaseError).message).not.toContain('\n')
  return error as DatabaseError
}

/** Text as PostgreSQL stores it: everything but the character 0, which no request can bring. */
const text = fc.string({ unit: 'binary', maxLength: 12 }).map((it) => it.replaceAll('\0', ''))
const name = text.map((it) => `${it}!`)
const time = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const flag = fc.constantFrom(0 as const, 1 as const)
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value)

const someMessage = fc.record({
  side: flag,
  author: name,
  message_type: name,
  message_data: fc.oneof(
    text,
    text.map((it) => it.repeat(3_000)),
  ),
  is_active: flag,
  created_at: time,
  edited_at: maybe(time),
  deleted_at: maybe(time),
})

const someRoom = fc.record({
  own: fc.record({
    portfolio_name: text,
    subject: maybe(text),
    assignee: maybe(name),
    last_message: maybe(text),
    is_active: flag,
    status: fc.constantFrom('open' as const, 'pending' as const, 'resolved' as const),
    custom: fc.json(),
    version: fc.nat(),
    updated_at: time,
  }),
  labels: fc.uniqueArray(name, { maxLength: 3 }),
  messages: fc.array(someMessage, { maxLength: 6 }),
  readers: fc.uniqueArray(name, { maxLength: 3 }),
})

const someOrganisation = fc.record({
  settings: maybe(fc.json()),
  rooms: fc.array(someRoom, { maxLength: 4 }),
  keys: fc.array(fc.record({ name: text, last_used_at: maybe(time), revoked_at: maybe(time) }), {
    maxLength: 3,
  }),
  audit: fc.array(fc.record({ actor: name, details: fc.json() }), {
    maxLength: 3,
  }),
})

const someContent: fc.Arbitrary<Content> = fc
  .dictionary(name, someOrganisation, { maxKeys: 3 })
  .map((organisations) => {
    const content = Object.fromEntries(tables.map((table) => [table, [] as unknown[]])) as Content
    let ids = 0
    for (const [org_id, { settings, rooms, keys, audit }] of Object.entries(organisations)) {
      for (const [index, { own, labels, messages, readers }] of rooms.entries()) {
        const room_id = idOf(++ids)
        const position = index + 1
        content.rooms.push(
          roomRow({
            ...own,
            id: room_id,
            org_id,
            position,
            user_id: `user ${position}`,
            last_seq: messages.length,
            labels: JSON.stringify(labels),
          }),
        )
        for (const label of labels) content.room_labels.push({ org_id, label, position, room_id })
        for (const [at, message] of messages.entries()) {
          const id = idOf(++ids)
          const client_message_id = at % 2 === 0 ? `client-${id}` : null
          content.messages.push(
            messageRow({ ...message, id, org_id, room_id, seq: at + 1, client_message_id }),
          )
          content.first_texts.push({ org_id, room_id, seq: at + 1, hash: id })
          content.events.push({
            org_id,
            position: content.events.length + 1,
            room_id,
            type: 'message.created',
            message_seq: at + 1,
            marker_seq: null,
            user_id: null,
            side: null,
            created_at: message.created_at,
          })
        }
        for (const user_id of readers) {
          content.read_markers.push({
            org_id,
            room_id,
            side: 0,
            user_id,
            seq: 0,
            updated_at: index,
          })
        }
      }
      for (const [index, key] of keys.entries()) {
        content.api_keys.push(apiKeyRow({ ...key, id: idOf(++ids), org_id, position: index + 1 }))
      }
      for (const [index, entry] of audit.entries()) {
        content.audit_events.push(
          auditEventRow({ ...entry, id: idOf(++ids), org_id, position: index + 1 }),
        )
      }
      content.user_token_revocations.push({ org_id, user_id: org_id, revoked_at: ids })
      if (settings !== null) content.organisation_settings.push({ org_id, settings, version: 1 })
      content.first_text_keys.push({ org_id, secret: `secret of ${org_id}` })
      content.signing_keys.push({ id: idOf(++ids), secret: org_id, created_at: ids })
      content.organisations.push({
        id: org_id,
        created_at: ids,
        last_room_position: rooms.length,
        last_key_position: keys.length,
        last_audit_position: audit.length,
        last_event_position: content.events.length,
      })
    }
    return content
  })

/** More rows than are copied at once. */
function muchContent(): Partial<Content> {
  const org_id = 'DOWELL12345'
  const messages = Array.from({ length: 2_500 }, (_, index) =>
    messageRow({
      room_id: idOf(1 + (index % 3)),
      seq: 1 + Math.floor(index / 3),
      id: idOf(index),
      message_data: `message ${index}`,
    }),
  )
  return {
    organisations: [
      { id: org_id, created_at: 1, last_room_position: 3, last_event_position: messages.length },
    ],
    rooms: [1, 2, 3].map((position) =>
      roomRow({ id: idOf(position), position, user_id: `${position}`, last_seq: 834 }),
    ),
    messages,
    events: messages.map(({ room_id, seq }, index) => ({
      org_id,
      position: index + 1,
      room_id,
      type: 'message.created',
      message_seq: seq,
      created_at: index,
    })),
  }
}

test('any data survives a copy to PostgreSQL and back', async () => {
  await fc.assert(
    fc.asyncProperty(someContent, async (content) => {
      await using folder = await createFolder()
      await using there = await createTestStore()
      const file = join(folder.path, 'first.db')
      const back = join(folder.path, 'back.db')
      await fill(`sqlite:${file}`, content)
      const copied = await copy(`sqlite:${file}`, there.url)
      expect(await rowsOf(there.url)).toEqual(await rowsOf(`sqlite:${file}`))
      expect(await copy(there.url, `sqlite:${back}`)).toEqual(copied)
      using first = connect(file)
      using last = connect(back)
      const { rows, schema } = contentsOf(last)
      // The migrations' own table says when each was run.
      const withoutTimes = (all: unknown) =>
        (all as [string, unknown][]).filter(([table]) => !table.startsWith('schema_migrations'))
      const expected = contentsOf(first)
      expect(schema).toEqual(expected.schema)
      expect(withoutTimes(rows)).toEqual(withoutTimes(expected.rows))
    }),
    { numRuns: 8 },
  )
})

test('names of 200 characters of four bytes are copied to PostgreSQL and back', async () => {
  await using folder = await createFolder()
  await using there = await createTestStore()
  const source = `sqlite:${join(folder.path, 'source.db')}`
  const org_id = longName(1)
  await fill(source, {
    organisations: [{ id: org_id, created_at: 1, last_room_position: 2 }],
    rooms: [1, 2].map((position) =>
      roomRow({
        id: idOf(position),
        position,
        org_id,
        user_id: longName(2),
        portfolio_name: longName(3),
        product_name: longName(3 + position),
      }),
    ),
  })
  const back = `sqlite:${join(folder.path, 'back.db')}`
  const copied = await copy(source, there.url)
  expect(await copy(there.url, back)).toEqual(copied)
  expect(await rowsOf(back)).toEqual(await rowsOf(source))
})

test('a row that PostgreSQL cannot store is named', async () => {
  await using folder = await createFolder()
  await using there = await createTestStore()
  const source = `sqlite:${join(folder.path, 'source.db')}`
  await fill(source, muchContent())
  const db = openDatabase({ url: source })
  await db.write((tx) =>
    kyselyOn(tx)
      .updateTable('messages')
      .set({ message_data: 'a\0b' })
      .where('id', '=', idOf(1_234))
      .execute(),
  )
  await db.close()
  const { reason, message } = await refusalOf(source, there.url)
  expect(reason).toBe('cannot-copy')
  expect(message).toContain(
    `the row of messages with org_id "DOWELL12345", room_id "${idOf(2)}", seq 412 does not fit: `,
  )
})

test.for(['sqlite', 'postgres'] as const)(
  'an interrupted copy into %s continues where it stopped, and no server starts on it before',
  async (kind) => {
    await using folder = await createFolder()
    const source = `sqlite:${join(folder.path, 'source.db')}`
    await fill(source, muchContent())
    await using store = await createTestStore({ empty: true })
    const target = kind === 'sqlite' ? `sqlite:${join(folder.path, 'target.db')}` : store.url
    const starts: number[] = []
    for (;;) {
      let start: number | undefined
      const run = copy(source, target, ({ done }) => {
        start ??= done
        if (starts.length < 8 && done > start) throw new Error('interrupted')
      })
      const error = await run.then(
        () => undefined,
        (reason: Error) => reason,
      )
      starts.push(start as number)
      if (!error) break
      expect(error.message).toBe('interrupted')
      const half = openDatabase({ url: target })
      onTestFinished(() => half.close())
      await expect(half.migrateToLatest()).rejects.toMatchObject({
        reason: 'unfinished-copy',
        message: expect.stringContaining(`${folder.path}/source.db`),
      })
    }
    // Each run stored one batch: the organisation, the rooms, three of messages, three of events.
    expect(starts).toEqual([0, 1, 4, 1_004, 2_004, 2_504, 3_504, 4_504, 5_004])
    expect(await rowsOf(target)).toEqual(await rowsOf(source))
    await (await migrated(target)).close()
  },
)

describe('a copy that was interrupted', () => {
  /** A source and the half of it in a PostgreSQL database. */
  async function interrupted() {
    const folder = await createFolder()
    const store = await createTestStore({ empty: true })
    onTestFinished(async () => {
      await folder[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    })
    const source = `sqlite:${join(folder.path, 'source.db')}`
    await fill(source, muchContent())
    const stopped = copy(source, store.url, ({ done }) => {
      if (done > 1_004) throw new Error('interrupted')
    })
    await expect(stopped).rejects.toThrow('interrupted')
    return { source, target: store.url, folder }
  }

  async function change(url: string, statement: string): Promise<void> {
    const db = openDatabase({ url })
    await db.write((tx) => sql.raw(statement).execute(kyselyOn(tx)))
    await db.close()
  }

  test('is found to differ when one of its rows was changed', async () => {
    const { source, target } = await interrupted()
    await change(target, `update messages set message_data = 'message 4' where id = '${idOf(3)}'`)
    const { reason, message } = await refusalOf(source, target)
    expect(reason).toBe('copy-differs')
    expect(message).toContain('in messages (2500 rows in the source, 2500 in the target);')
    // Not the second time either: it stays unfinished.
    expect((await refusalOf(source, target)).reason).toBe('copy-differs')
  })

  test('is found to differ when one of its rows is gone', async () => {
    const { source, target } = await interrupted()
    await change(target, `delete from messages where id = '${idOf(0)}'`)
    expect((await refusalOf(source, target)).message).toContain('2499 in the target')
  })

  test('does not go on when its source was written to', async () => {
    const { source, target } = await interrupted()
    await using db = await migrated(source)
    await db.write(async (tx) => {
      const room_id = idOf(1)
      appendEvent(tx, { org_id: 'DOWELL12345', room_id, type: 'room.updated', created_at: 1 })
    })
    const { reason, message } = await refusalOf(source, target)
    expect(reason).toBe('cannot-copy')
    expect(message).toMatch(
      /^the target: it is an unfinished copy of .*source\.db, which .* has changed/,
    )
  })

  test('is no source', async () => {
    const { target, folder } = await interrupted()
    const { reason, message } = await refusalOf(target, `sqlite:${join(folder.path, 'other.db')}`)
    expect(reason).toBe('unfinished-copy')
    expect(message).toMatch(/^the source: the database is an unfinished copy of/)
    expect(existsSync(join(folder.path, 'other.db'))).toBe(false)
  })
})

test('a source under the write lock refuses writes and allows reads', async () => {
  await using folder = await createFolder()
  await using onServer = await createTestDb()
  for (const url of [`sqlite:${join(folder.path, 'a.db')}`, onServer.url]) {
    await using db = await migrated(url)
    const other = openDatabase({ url, busyTimeout: 500, statementTimeout: 100 })
    onTestFinished(() => other.close())
    const write = () =>
      other.write((tx) => nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 }))
    await db.withWriteLock(async (locked) => {
      const read = () => kyselyOn(locked).selectFrom('organisations').selectAll().execute()
      expect(await read()).toEqual([])
      await expect(write()).rejects.toMatchObject({ reason: 'busy' })
      await other.ping()
      expect(await read()).toEqual([])
    })
    await write()
  }
})

describe('a copy is refused', () => {
  test('into its own source, by whatever name', async () => {
    await using folder = await createFolder()
    const file = join(folder.path, 'a.db')
    await fill(`sqlite:${file}`, {})
    await symlink(folder.path, join(folder.path, 'other'))
    await using onServer = await createTestDb()
    const alias = new URL(onServer.url)
    alias.searchParams.set('application_name', 'another')
    for (const [from, to] of [
      [`sqlite:${file}`, `sqlite:${join(folder.path, 'other', 'a.db')}`],
      [onServer.url, alias.href],
    ] as const) {
      const { reason, message } = await refusalOf(from, to)
      expect({ reason, message }).toEqual({
        reason: 'cannot-copy',
        message: 'the target: it is the source itself',
      })
    }
  })

  test('into a database that has data', async () => {
    await using folder = await createFolder()
    const source = `sqlite:${join(folder.path, 'a.db')}`
    await fill(source, muchContent())
    await using target = await createTestDb()
    await target.write((tx) => nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 }))
    const before = await rowsOf(target.url)
    const { reason, message } = await refusalOf(source, target.url)
    expect(reason).toBe('cannot-copy')
    expect(message).toBe('the target: it has organisations already; copy into an empty one')
    expect(await rowsOf(target.url)).toEqual(before)
    // Nothing is left that would keep a server from it.
    await target.migrateToLatest()
  })

  test('into the finished copy', async () => {
    await using folder = await createFolder()
    const [source, target] = ['a', 'b'].map((it) => `sqlite:${join(folder.path, it)}`) as [
      string,
      string,
    ]
    await fill(source, muchContent())
    await copy(source, target)
    expect((await refusalOf(source, target)).reason).toBe('cannot-copy')
  })

  test('from and to a schema that is not this version’s', async () => {
    await using folder = await createFolder()
    await using newer = await createTestDb()
    await newer.write((tx) =>
      sql`insert into schema_migrations (name, timestamp) values ('999-later', '')`.execute(
        kyselyOn(tx),
      ),
    )
    await using older = await createTestDb()
    await older.migrateDown()
    await using empty = await createTestStore({ empty: true })
    const file = `sqlite:${join(folder.path, 'a.db')}`
    await fill(file, {})
    for (const [from, to, reason, words] of [
      [newer.url, file, 'newer-schema', /^the source: .*newer version .*999-later/],
      [file, newer.url, 'newer-schema', /^the target: .*newer version .*999-later/],
      [older.url, file, 'older-schema', /^the source: .*older version .*start the server/],
      [empty.url, file, 'older-schema', /^the source: this is no database of Dowell Chat$/],
    ] as const) {
      const refusal = await refusalOf(from, to)
      expect(refusal.reason).toBe(reason)
      expect(refusal.message).toMatch(words)
    }
  })

  test('from a file that is not there, which is not made', async () => {
    await using folder = await createFolder()
    const missing = join(folder.path, 'typo', 'a.db')
    const { reason, message } = await refusalOf(`sqlite:${missing}`, 'sqlite:/never')
    expect(reason).toBe('cannot-open')
    expect(message).toBe(`the source: cannot open the database ${missing}: there is no such file`)
    expect(existsSync(join(folder.path, 'typo'))).toBe(false)
  })

  test('from and to a server that does not answer, and a URL that is none', async () => {
    await using folder = await createFolder()
    const file = `sqlite:${join(folder.path, 'a.db')}`
    await fill(file, {})
    const nobody = 'postgres://chat:secret@127.0.0.1:1/chat'
    const unreachable = / postgres:\/\/chat@127\.0\.0\.1:1\/chat: nobody listens at this address$/
    for (const [from, to, reason, words] of [
      [nobody, file, 'cannot-open', new RegExp(`^the source: .*${unreachable.source}`)],
      [file, nobody, 'cannot-open', new RegExp(`^the target: .*${unreachable.source}`)],
      [
        'mysql://secret',
        file,
        'bad-url',
        /^the source: its URL must be .*"mysql:" .* not supported$/,
      ],
      [file, 'secret', 'bad-url', /^the target: its URL must be /],
    ] as const) {
      const refusal = await refusalOf(from, to)
      expect(refusal.reason).toBe(reason)
      expect(refusal.message).toMatch(words)
      expect(refusal.message).not.toContain('secret')
    }
  })
})

test('every data table is copied by its key, after the tables that it refers to', async () => {
  await using db = await createTestDb()
  const keys = await sql<{ name: string; columns: string[] }>`
    select c.relname as name, array(
      select a.attname::text from unnest(i.indkey) with ordinality as k(number, place)
      join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number order by k.place
    ) as columns
    from pg_index i join pg_class c on c.oid = i.indrelid
    where i.indisprimary and c.relnamespace = 'public'::regnamespace and c.relname !~ '^schema_migrations'
      and c.relname <> 'event_log'
  `.execute(kyselyOn(db.read))
  expect(Object.fromEntries(keys.rows.map((row) => [row.name, row.columns]))).toEqual(primaryKeys)
  const made = await kyselyOn(db.read).introspection.getTables()
  expect(
    made
      .map((table) => table.name)
      .filter((table) => !table.startsWith('schema_migrations'))
      .sort(),
  ).toEqual([...tables, 'event_log'].sort())
  const references = await sql<{ from: Table; to: Table }>`
    select a.relname as "from", b.relname as "to" from pg_constraint k
    join pg_class a on a.oid = k.conrelid join pg_class b on b.oid = k.confrelid where k.contype = 'f'
  `.execute(kyselyOn(db.read))
  expect(references.rows).not.toEqual([])
  for (const { from, to } of references.rows) {
    expect(tables.indexOf(to), `${from} refers to ${to}`).toBeLessThan(tables.indexOf(from))
  }
})
