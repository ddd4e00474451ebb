import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import {
  type Database,
  insertAuditEvent,
  nextPosition,
  openDatabase,
  type Session,
} from '../../src/index.ts'
import { migrations } from '../../src/migrations/index.ts'
import { createTestDb, createTestStore, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import { auditEventRow } from '../support.ts'

/** Every column, index, constraint and trigger, for a comparison of before and after. */
async function schemaOf(db: Pick<TestDatabase, 'read'>): Promise<unknown[]> {
  const { rows } = await sql`
    select table_name, column_name, data_type, collation_name, is_nullable, column_default
    from information_schema.columns where table_schema = 'public'
    union all select tablename, indexname, indexdef, '', '', '' from pg_indexes where schemaname = 'public'
    union all select conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
      from pg_constraint where connamespace = 'public'::regnamespace
    union all select tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', '', ''
      from pg_trigger where not tgisinternal
    union all select proname, '', '', '', '', '' from pg_proc where pronamespace = 'public'::regnamespace
    order by 1, 2, 3
  `.execute(kyselyOn(db.read))
  return rows
}

test('the migrations run up, down and up again', async () => {
  await using db = await createTestDb({ empty: true })
  const schema = await schemaOf(db)
  expect(schema.length).toBeGreaterThan(80)
  for (const _ of Object.keys(migrations)) await db.migrateDown()
  const left = (await schemaOf(db)) as { table_name: string }[]
  expect(left.filter(({ table_name }) => !table_name.startsWith('schema_migrations'))).toEqual([])
  await db.migrateToLatest()
  expect(await schemaOf(db)).toEqual(schema)
})

test('times and counts have 8 bytes, and text is compared byte by byte', async () => {
  await using db = await createTestDb()
  const { rows } = await sql`
    select distinct data_type, collation_name from information_schema.columns
    where table_schema = 'public' and table_name not like 'schema_migrations%'
    order by data_type
  `.execute(kyselyOn(db.read))
  expect(rows).toEqual([
    { data_type: 'bigint', collation_name: null },
    { data_type: 'text', collation_name: 'C' },
  ])
})

test('any number of processes that start together migrate once', async () => {
  await using store = await createTestStore({ empty: true })
  const open = Array.from({ length: 8 }, () => openDatabase({ url: store.url, poolSize: 2 }))
  onTestFinished(async () => {
    for (const db of open) await db.close()
  })
  migrations['999-count'] = {
    up: async (tx) => {
      await sql`create table count_of_runs (run integer)`.execute(tx)
      await sql`insert into count_of_runs values (1)`.execute(tx)
    },
  }
  onTestFinished(() => {
    delete migrations['999-count']
  })
  await Promise.all(open.map((db) => db.migrateToLatest()))
  const [first] = open
  const runs = sql`select run from count_of_runs`.execute(kyselyOn((first as Database).read))
  expect((await runs).rows).toHaveLength(1)
  for (const db of open) await db.close()
})

test('a migration that fails half-way leaves nothing, and the next start does it all', async () => {
  await using store = await createTestStore({ empty: true })
  const db = openDatabase({ url: store.url })
  onTestFinished(() => db.close())
  migrations['999-broken'] = {
    up: async (tx) => {
      await tx.schema.createTable('half').execute()
      throw new Error('broken')
    },
  }
  onTestFinished(() => {
    delete migrations['999-broken']
  })
  await expect(db.migrateToLatest()).rejects.toThrow('broken')
  expect(await schemaOf(db)).toEqual([])
  delete migrations['999-broken']
  await db.migrateToLatest()
  await db.close()
})

test('a database of a newer version is refused', async () => {
  await using db = await createTestDb()
  await db.write((tx) =>
    sql`insert into schema_migrations (name, timestamp) values ('998-later', '')`.execute(
      kyselyOn(tx),
    ),
  )
  await expect(db.migrateToLatest()).rejects.toMatchObject({ reason: 'newer-schema' })
})

test.for([
  "update audit_events set actor = 'nobody'",
  "insert into audit_events select * from audit_events on conflict (id) do update set actor = 'nobody'",
  'delete from audit_events',
  'truncate audit_events',
])('audit events are append-only: %s', async (change) => {
  await using db = await createTestDb()
  const row = auditEventRow()
  await db.write(async (tx) => {
    await nextPosition(tx, 'last_audit_position', { orgId: row.org_id, now: 1 })
    await insertAuditEvent(tx, row)
  })
  await expect(db.write((tx) => sql.raw(change).execute(kyselyOn(tx)))).rejects.toThrow(
    /append-only/,
  )
  expect(await kyselyOn(db.read).selectFrom('audit_events').selectAll().execute()).toEqual([row])
})

type Ask = (db: TestDatabase) => Promise<unknown[]>

const byId = (db: Session) =>
  kyselyOn(db).selectFrom('signing_keys').selectAll().where('id', '=', 'a').execute()
const bySecret = (db: Session) =>
  kyselyOn(db).selectFrom('signing_keys').selectAll().where('secret', '=', 'a').execute()

const find = async (tx: Session) => [...(await byId(tx)), ...(await bySecret(tx))]

test.for<[string, Ask]>([
  ['read', async (db) => (await Promise.all([byId(db.read), bySecret(db.read)])).flat()],
  ['snapshot', (db) => db.snapshot(find)],
  ['write', (db) => db.write(find)],
])('a %s with statements prepared before a schema change works after it', async ([, ask]) => {
  await using db = await createTestDb()
  // On several connections.
  const askAll = () => Promise.all([ask(db), ask(db), ask(db)])
  await askAll()
  migrations['999-note'] = {
    up: (tx) => tx.schema.alterTable('signing_keys').addColumn('note', 'text').execute(),
  }
  onTestFinished(() => {
    delete migrations['999-note']
  })
  await db.migrateToLatest()
  expect(await askAll()).toEqual([[], [], []])
})
