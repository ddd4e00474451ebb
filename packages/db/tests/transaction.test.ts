import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, inject, onTestFinished, test } from 'vitest'
import { openDatabase, type Transaction } from '../src/index.ts'
import { createTestDb, kyselyOn, runs, type TestDatabase } from '../src/testing.ts'
import { reasonsOf } from './support.ts'

// Guarantees of a write on both databases. The folders sqlite and postgres have those of one.

const { dialect } = inject('testTarget')

/** Has two scratch tables. A row of `debts` without its row of `scratch` fails the commit. */
let db: TestDatabase
beforeAll(async () => {
  db = await createTestDb()
  await db.write(async (tx) => {
    await sql`create table scratch (value bigint primary key)`.execute(kyselyOn(tx))
    await sql`create table debts (owed bigint references scratch (value) deferrable initially deferred)`.execute(
      kyselyOn(tx),
    )
  })
})
beforeEach(empty)
afterAll(() => db[Symbol.asyncDispose]())

async function empty(): Promise<void> {
  await db.write((tx) => sql`delete from scratch`.execute(kyselyOn(tx)))
}

/** Reads the committed values. */
async function values(): Promise<number[]> {
  const { rows } = await sql<{ value: number }>`select value from scratch order by value`.execute(
    kyselyOn(db.read),
  )
  return rows.map(({ value }) => value)
}

async function put(tx: Transaction, value: number): Promise<number> {
  await sql`insert into scratch (value) values (${value})`.execute(kyselyOn(tx))
  return value
}

/** Ends the shared transaction, as a full disk does. */
async function endTransaction(tx: Transaction): Promise<void> {
  await sql`rollback`.execute(kyselyOn(tx))
}

test('a write resolves after its commit and not before', async () => {
  const seen = await Promise.all(
    [1, 2, 3].map(async (value) => {
      const result = await db.write(async (tx) => {
        await put(tx, value)
        // Another connection sees nothing of this batch while it runs.
        expect(await values()).toEqual([])
        return value
      })
      return [result, await values()]
    }),
  )
  expect(seen).toEqual([1, 2, 3].map((value) => [value, [1, 2, 3]]))
})

test("a failure caused by another write is passed on after that one's commit", async () => {
  const first = db.write((tx) => put(tx, 1))
  const second = db
    .write((tx) => put(tx, 1))
    .catch(async (error) => [db.isUniqueViolation(error), await values()])
  const third = db.write(async (tx) => {
    await turn()
    return put(tx, 2)
  })
  expect(await second).toEqual([true, [1, 2]])
  await Promise.all([first, third])
})

test.for([
  [
    'before its statements',
    async (_: Transaction): Promise<number> => {
      throw new Error('mine')
    },
  ],
  [
    'without a promise',
    (_: Transaction): Promise<number> => {
      throw new Error('mine')
    },
  ],
  [
    'between them',
    async (tx: Transaction): Promise<number> => {
      await put(tx, 10)
      if (tx) throw new Error('mine')
      return put(tx, 11)
    },
  ],
  [
    'after them',
    async (tx: Transaction): Promise<number> => {
      await put(tx, 10)
      await put(tx, 11)
      throw new Error('mine')
    },
  ],
] as const)('a write that throws %s undoes only itself', async ([, job]) => {
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write(job),
    db.write((tx) => put(tx, 2)),
  ])
  expect(reasonsOf(results)).toEqual(['done', 'mine', 'done'])
  expect(await values()).toEqual([1, 2])
})

test.for([undefined, null, 0, 'text', { a: 1 }])('a write may throw %o', async (thrown) => {
  const results = await Promise.allSettled([
    db.write(async (tx) => {
      await put(tx, 1)
      throw thrown
    }),
    db.write((tx) => put(tx, 2)),
  ])
  expect(results).toEqual([
    { status: 'rejected', reason: thrown },
    { status: 'fulfilled', value: 2 },
  ])
  expect(await values()).toEqual([2])
})

interface Write {
  /** Few different values, so that writes collide. */
  readonly values: readonly number[]
  readonly ending: 'returns' | 'throws' | 'throws text' | 'throws at once' | 'bomb'
}

// PostgreSQL runs conflicting writes and those undone by a bomb separately, in no order.
const failures = ['throws', 'throws text', 'throws at once'] as const
const endings = dialect === 'sqlite' ? ([...failures, 'bomb'] as const) : failures

const write: fc.Arbitrary<Write> = fc.record({
  values: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 3 }),
  ending: fc.oneof(
    { weight: 6, arbitrary: fc.constant('returns' as const) },
    { weight: 4, arbitrary: fc.constantFrom(...endings) },
  ),
})

/** The expected outcome of a write. Applies it to a model of the table. */
function expected({ values, ending }: Write, table: Set<number>): string {
  if (ending === 'throws at once') return ending
  const own = new Set<number>()
  for (const value of values) {
    if (table.has(value) || own.has(value)) return 'collides'
    own.add(value)
  }
  if (ending !== 'returns') return ending
  for (const value of own) table.add(value)
  return `returns ${values}`
}

test('any batches of writes have the result of the same writes in sequence', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(write, { maxLength: 12 }), { maxLength: 4 }),
      async (run) => {
        await empty()
        const table = new Set<number>()
        for (const batch of run) {
          const told: number[] = []
          const results = batch.map((write, index) =>
            db
              .write((tx) => {
                if (write.ending === 'throws at once') throw new Error(write.ending)
                return perform(tx, write)
              })
              .catch((error) =>
                db.isUniqueViolation(error)
                  ? 'collides'
                  : error instanceof Error
                    ? error.message
                    : error,
              )
              .finally(() => told.push(index)),
          )
          const wanted = batch.map((write) => expected(write, table))
          expect(await Promise.all(results)).toEqual(wanted)
          expect(await values()).toEqual([...table].sort((a, b) => a - b))
          // In the order of the calls; a bomb rejects at once.
          const calm = told.filter((index) => wanted[index] !== 'bomb')
          expect(calm).toEqual(calm.toSorted((a, b) => a - b))
        }
      },
    ),
    { numRuns: runs(60, 20) },
  )
})

async function perform(tx: Transaction, { values, ending }: Write): Promise<string> {
  for (const value of values) await put(tx, value)
  if (ending === 'bomb') await endTransaction(tx)
  if (ending === 'throws text') throw ending
  if (ending !== 'returns') throw new Error(ending)
  return `returns ${values}`
}

test('one write too many is refused, and nothing of it is written', async () => {
  const small = openDatabase({ url: db.url, maxWaiting: 3 })
  onTestFinished(() => small.close())
  let ran = 0
  const results = await Promise.allSettled(
    [1, 2, 3, 4, 5].map((value) =>
      small.write((tx) => {
        ran++
        return put(tx, value)
      }),
    ),
  )
  expect(reasonsOf(results)).toEqual(['done', 'done', 'done', 'overloaded', 'overloaded'])
  expect(ran).toBe(3)
  expect(await values()).toEqual([1, 2, 3])
  await small.write((tx) => put(tx, 4))
  expect(await values()).toEqual([1, 2, 3, 4])
})

test('closing finishes the waiting writes and refuses new ones', async () => {
  const closed = openDatabase({ url: db.url })
  const written = Array.from({ length: 300 }, (_, i) => i)
  const writes = Promise.all(written.map((value) => closed.write((tx) => put(tx, value))))
  const closing = closed.close()
  await expect(closed.write((tx) => put(tx, 999))).rejects.toMatchObject({ reason: 'closed' })
  expect(await writes).toEqual(written)
  await closing
  await expect(closed.write((tx) => put(tx, 999))).rejects.toMatchObject({ reason: 'closed' })
  expect(await values()).toEqual(written)
})

test('a write that ends the transaction fails alone, with its own error', async () => {
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write(async () => {
      throw new Error('mine')
    }),
    db.write(async (tx) => {
      await put(tx, 2)
      await endTransaction(tx)
      throw new Error('bomb')
    }),
    db.write((tx) => put(tx, 3)),
  ])
  expect(reasonsOf(results)).toEqual(['done', 'mine', 'bomb', 'done'])
  expect(await values()).toEqual([1, 3])
})

test('a failed commit rejects all its writes', async () => {
  const failed = expect.stringMatching(/foreign key constraint/i)
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write((tx) => sql`insert into debts values (-1)`.execute(kyselyOn(tx))),
    db.write((tx) => put(tx, 2)),
  ])
  expect(reasonsOf(results)).toEqual([failed, failed, failed])
  expect(await values()).toEqual([])
  await db.write((tx) => put(tx, 3))
  expect(await values()).toEqual([3])
})
