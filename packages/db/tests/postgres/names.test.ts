import { type Kysely, sql } from 'kysely'
import { describe, expect, test } from 'vitest'
import {
  findActiveRoom,
  insertMessage,
  insertRoom,
  nextPosition,
  type Session,
} from '../../src/index.ts'
import {
  connectionOf,
  createSession,
  createTestDb,
  kyselyOn,
  type Statement,
  type TestDatabase,
} from '../../src/testing.ts'
import { idOf, longName, messageRow, roomRow } from '../support.ts'

const identity = {
  orgId: longName(1),
  userId: longName(2),
  portfolioName: longName(3),
  productName: longName(4),
}

function rowOf(product_name: string, position = 1) {
  const { orgId: org_id, userId: user_id, portfolioName: portfolio_name } = identity
  return roomRow({ id: idOf(position), org_id, position, user_id, portfolio_name, product_name })
}

async function openRoom(db: TestDatabase, product: string, position = 1): Promise<void> {
  await db.write(async (tx) => {
    await nextPosition(tx, 'last_room_position', { orgId: identity.orgId, now: 1 })
    await insertRoom(tx, rowOf(product, position))
  })
}

async function indexOf(db: TestDatabase): Promise<string> {
  const { rows } = await sql<{ indexdef: string }>`
    select indexdef from pg_indexes where indexname = 'rooms_one_active'
  `.execute(kyselyOn(db.read) as Kysely<unknown>)
  return rows[0]?.indexdef ?? ''
}

describe('the index of active rooms', () => {
  test('hashes the product, so the longest names fit, and one of them is active once', async () => {
    await using db = await createTestDb()
    await openRoom(db, identity.productName)
    await openRoom(db, longName(5), 2)
    expect(await findActiveRoom(db.read, identity)).toEqual(rowOf(identity.productName))
    const again = openRoom(db, identity.productName, 3)
    await expect(again).rejects.toSatisfy((error) => db.isUniqueViolation(error))
  })

  test.for(['\\', '\\x41', 'A', '\\\\', '\\101', "'", '\ud83d\ude00'])(
    'keeps %j apart from all others',
    async (product) => {
      await using db = await createTestDb()
      for (const [n, other] of ['\\', '\\x41', 'A', '\\\\', '\\101', "'", '😀'].entries()) {
        await openRoom(db, other, n + 1)
      }
      expect(await findActiveRoom(db.read, { ...identity, productName: product })).toMatchObject({
        product_name: product,
      })
    },
  )

  test('finds one room among a thousand of a user by all of its columns', async () => {
    await using db = await createTestDb()
    await openRoom(db, identity.productName)
    const { orgId, userId, portfolioName } = identity
    await db.write((tx) =>
      sql`insert into rooms (id, org_id, position, event_id, user_id, portfolio_name, product_name,
          room_room_id, is_active, last_seq, created_at, updated_at)
        select lpad(i::text, 24, 'f'), ${orgId}, i, '', ${userId}, ${portfolioName}, i::text, '', 1, 0, 0, 0
        from generate_series(2, 1000) as i`.execute(kyselyOn(tx)),
    )
    await sql`analyze`.execute(kyselyOn(db.read))
    const statements: Statement[] = []
    const recorder: Session = createSession({
      dialect: 'postgres',
      execute(statement) {
        statements.push(statement)
        return connectionOf(db.read).execute(statement)
      },
    })
    expect(await findActiveRoom(recorder, identity)).toMatchObject({ id: idOf(1) })
    const [{ sql: text, parameters } = { sql: '', parameters: [] }] = statements
    const plan = (await connectionOf(db.read).execute({
      sql: `explain (format json) ${text}`,
      parameters,
    })) as { 'QUERY PLAN': [{ Plan: Record<string, string> }] }[]
    const { Plan } = plan[0]?.['QUERY PLAN'][0] ?? { Plan: {} as Record<string, string> }
    expect(Plan['Index Name']).toBe('rooms_one_active')
    expect(Plan['Index Cond']).toMatch(/org_id = .*user_id = .*portfolio_name = .*sha256\(/)
  })

  test('migrates with the rooms of the version before, up and down', async () => {
    await using db = await createTestDb({ migration: '008-versions' })
    const before = await indexOf(db)
    await db.write(async (tx) => {
      await nextPosition(tx, 'last_room_position', { orgId: 'DOWELL12345', now: 1 })
      await insertRoom(tx, roomRow())
    })
    await expect(openRoom(db, identity.productName, 2)).rejects.toMatchObject({
      reason: 'not-storable',
    })
    await db.migrateTo('009-hashed-product')
    expect(await indexOf(db)).toContain('sha256')
    await db.migrateTo('008-versions')
    expect(await indexOf(db)).toBe(before)
    await db.migrateTo('009-hashed-product')
    await openRoom(db, identity.productName, 2)
    expect(await kyselyOn(db.read).selectFrom('rooms').select('id').execute()).toHaveLength(2)
  })
})

describe('a value that PostgreSQL cannot store', () => {
  test.for<[string, (db: TestDatabase) => Promise<unknown>]>([
    ['NUL', (db) => db.write((tx) => insertMessage(tx, messageRow({ message_data: 'a\0b' })))],
    [
      'a key that is too long for an index',
      (db) =>
        db.write((tx) =>
          nextPosition(tx, 'last_room_position', {
            orgId: Array.from({ length: 8 }, (_, n) => longName(n)).join(''),
            now: 1,
          }),
        ),
    ],
    ['NUL in a read', (db) => findActiveRoom(db.read, { ...identity, userId: '\0' })],
  ])('is told apart from a failure: %s', async ([, run]) => {
    await using db = await createTestDb()
    await expect(run(db)).rejects.toMatchObject({ name: 'DatabaseError', reason: 'not-storable' })
    await openRoom(db, 'still works')
  })
})
