import { sql } from 'kysely'
import { describe, expect, onTestFinished, test } from 'vitest'
import { migrationChecksums, nextPosition } from '../src/index.ts'
import { checksums, released } from '../src/migrations/checksums.ts'
import { type Migration, migrations } from '../src/migrations/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../src/testing.ts'

const names = Object.keys(migrations).sort()
const own = names.at(-1) as string

function change(db: TestDatabase, statement: string): Promise<unknown> {
  return db.write((tx) => sql.raw(statement).execute(kyselyOn(tx)))
}

const write = (db: TestDatabase) =>
  db.write((tx) => nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 }))

describe('a database that lacks a part of its schema is refused, and the part is named', () => {
  test.for([
    [
      'drop index rooms_by_status',
      'the index rooms_by_status on rooms (org_id, status, position), unique is missing',
    ],
    ['alter table rooms drop column subject', 'the column rooms.subject is missing'],
    ['drop table read_markers', 'the table read_markers is missing'],
  ])('%s', async ([statement = '', expected = '']) => {
    await using db = await createTestDb()
    await change(db, statement)
    for (const check of [() => db.migrateToLatest(), () => db.checkSchema()]) {
      await expect(check()).rejects.toMatchObject({
        reason: 'wrong-schema',
        message: expect.stringContaining(expected),
      })
    }
  })

  test('all parts at once, and an index of other columns', async () => {
    await using db = await createTestDb()
    for (const statement of [
      'drop index messages_by_id',
      'drop index rooms_one_active',
      'create index rooms_one_active on rooms (org_id, user_id)',
    ]) {
      await change(db, statement)
    }
    await expect(db.checkSchema()).rejects.toMatchObject({
      message:
        'the database does not have the schema of this version: the index rooms_one_active on rooms (org_id, user_id) should be rooms_one_active on rooms (org_id, user_id, portfolio_name, product_name), unique and partial; the index messages_by_id on messages (id), unique is missing. Create what is missing, or restore a backup',
    })
  })
})

test('what others added to the database is no difference', async () => {
  await using db = await createTestDb()
  await change(db, 'create table reports (id integer)')
  await change(db, 'create index rooms_for_reports on rooms (event_id)')
  await db.migrateToLatest()
  await db.checkSchema()
})

test('every migration is recorded with its checksum and the oldest version that may write beside it', async () => {
  await using db = await createTestDb()
  const { rows } = await sql`
    select name, checksum, oldest_writer from schema_migrations order by name
  `.execute(kyselyOn(db.read))
  const dialect = db.peers ? 'postgres' : 'sqlite'
  expect(rows).toEqual(
    names.map((name) => ({
      name,
      checksum: checksums[name]?.[dialect],
      oldest_writer: (migrations[name] as Migration).oldestWriter ?? name,
    })),
  )
})

test('a database of a version without these records gets them at its next start', async () => {
  await using db = await createTestDb()
  for (const column of ['checksum', 'oldest_writer']) {
    await change(db, `alter table schema_migrations drop column ${column}`)
  }
  await db.checkSchema()
  await db.migrateToLatest()
  const { rows } = await sql`select name from schema_migrations where checksum is null`.execute(
    kyselyOn(db.read),
  )
  expect(rows).toEqual([])
})

test('a database that ran another form of a migration is refused', async () => {
  await using db = await createTestDb()
  await change(db, `update schema_migrations set checksum = 'other' where name = '003-live'`)
  for (const check of [() => db.migrateToLatest(), () => db.checkSchema()]) {
    await expect(check()).rejects.toMatchObject({
      reason: 'wrong-schema',
      message: expect.stringContaining('the migration 003-live in another form'),
    })
  }
})

test('checksums.ts has the checksum of every migration, and those of released ones are unchanged', async () => {
  expect(
    checksums,
    'renew it with: npm run build. A migration up to `released` must not change',
  ).toEqual(await migrationChecksums())
  expect(names).toContain(released)
})

test('a checksum depends on the SQL of either database', async () => {
  const before = (await migrationChecksums())['999-note']
  migrations['999-note'] = {
    up: (db) => db.schema.alterTable('rooms').addColumn('note', 'text').execute(),
  }
  onTestFinished(() => {
    delete migrations['999-note']
  })
  const first = (await migrationChecksums())['999-note']
  migrations['999-note'] = {
    up: (db) => db.schema.alterTable('rooms').addColumn('note', 'integer').execute(),
  }
  const second = (await migrationChecksums())['999-note']
  expect(before).toBeUndefined()
  expect(first?.sqlite).not.toBe(second?.sqlite)
  expect(first?.postgres).not.toBe(second?.postgres)
  expect(first?.sqlite).not.toBe(first?.postgres)
})

describe('beside a newer version', () => {
  test.for([
    ['that allows it, a server writes', own, undefined],
    ['that allows an older one too, a server writes', names[0], undefined],
    ['that does not, a server refuses to write', '998-later', 'newer-schema'],
    ['that says nothing, a server refuses to write', null, 'newer-schema'],
  ] as const)('%s', async ([, oldestWriter, reason]) => {
    await using db = await createTestDb()
    await write(db)
    await db.write((tx) =>
      sql`insert into schema_migrations (name, timestamp, oldest_writer)
        values ('998-later', '', ${oldestWriter ?? null}), ('997-compatible', '', ${own})`.execute(
        kyselyOn(tx),
      ),
    )
    expect((await db.watchSchema())?.reason).toBe(reason)
    if (reason === undefined) {
      expect(await write(db)).toBe(2)
      await db.ping()
    } else {
      await expect(write(db)).rejects.toMatchObject({ reason })
      await expect(db.ping()).rejects.toMatchObject({ reason })
      expect(
        await kyselyOn(db.read).selectFrom('organisations').selectAll().execute(),
      ).toHaveLength(1)
    }
  })

  test('that was undone again, a server writes again', async () => {
    await using db = await createTestDb()
    migrations['999-note'] = {
      up: (tx) => tx.schema.alterTable('rooms').addColumn('note', 'text').execute(),
      down: (tx) => tx.schema.alterTable('rooms').dropColumn('note').execute(),
    }
    const { '999-note': note } = migrations
    onTestFinished(() => {
      delete migrations['999-note']
    })
    await db.migrateToLatest()
    delete migrations['999-note']
    await db.watchSchema()
    await expect(write(db)).rejects.toMatchObject({
      reason: 'newer-schema',
      message: expect.stringContaining('999-note'),
    })
    migrations['999-note'] = note as Migration
    await db.migrateDown()
    delete migrations['999-note']
    await db.watchSchema()
    expect(await write(db)).toBe(1)
  })
})

test('a server refuses to write after a migration of its own was undone', async () => {
  await using db = await createTestDb()
  await db.migrateDown()
  await db.watchSchema()
  await expect(write(db)).rejects.toMatchObject({ reason: 'older-schema' })
})
