import { sql } from 'kysely'
import { expect, test } from 'vitest'
import type { Transaction } from '../../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'

// A write begins before PostgreSQL has answered the end of the one before it.

async function createScratch(): Promise<TestDatabase & { values(): Promise<number[]> }> {
  const db = await createTestDb()
  await db.write((tx) => sql`create table scratch (value bigint primary key)`.execute(kyselyOn(tx)))
  return {
    ...db,
    async values() {
      const query = sql<{ value: number }>`select value from scratch order by value`
      return (await query.execute(kyselyOn(db.read))).rows.map(({ value }) => value)
    },
  }
}

const put = async (tx: Transaction, value: number) => {
  await sql`insert into scratch values (${value})`.execute(kyselyOn(tx))
  return value
}

const outcomesOf = (results: PromiseSettledResult<unknown>[]) =>
  results.map((result) =>
    result.status === 'fulfilled' ? result.value : (result.reason as Error).message,
  )

/** PostgreSQL's error for every statement after a failed one. */
const aborted = expect.stringContaining('current transaction is aborted')

test.for([
  ['goes on', (tx: Transaction) => put(tx, 3)],
  [
    'throws an error of its own',
    async () => {
      throw new Error('mine')
    },
  ],
  [
    'fails by itself',
    async (tx: Transaction) => {
      await put(tx, 3)
      return put(tx, 3)
    },
  ],
  ['asks nothing', async () => 3],
] as const)(
  'a write that hides a failed statement is rejected and undone, when the next one %s',
  async ([, next]) => {
    await using db = await createScratch()
    const results = await Promise.allSettled([
      db.write((tx) => put(tx, 1)),
      db.write(async (tx) => {
        await put(tx, 2)
        await put(tx, 1).catch(() => undefined)
        return 2
      }),
      db.write<number>(next),
      db.write((tx) => put(tx, 4)),
    ])
    const [first, hiding, after, last] = outcomesOf(results)
    expect([first, hiding, last]).toEqual([1, aborted, 4])
    // The next write ran again, and has the end that it would have had alone.
    const expected = { 3: 3, mine: 'mine' }[String(after)] ?? expect.stringContaining('duplicate')
    expect(after).toEqual(expected)
    const isStored = after === 3 && results[2]?.status === 'fulfilled' && next.length > 0
    expect(await db.values()).toEqual(isStored ? [1, 3, 4] : [1, 4])
  },
)

test('a write that hides a failed statement as the last of its batch is rejected', async () => {
  await using db = await createScratch()
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write((tx) => put(tx, 1).catch(() => 'all is well')),
  ])
  expect(outcomesOf(results)).toEqual([1, aborted])
  expect(await db.values()).toEqual([1])
})
