import { readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type Sqlite from 'better-sqlite3'
import fc from 'fast-check'
import { sql } from 'kysely'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { DatabaseOptions, Tx } from '../src/index.ts'
import { createTestDb, type TestDatabase } from '../src/testing.ts'
import { connect } from './support.ts'

/** A database with a table to scribble in. Writing 666 into it ends the whole transaction, 7777 breaks its commit. */
async function createScratch(
  options: Omit<DatabaseOptions, 'url'> = {},
): Promise<TestDatabase & { other: Sqlite.Database; values(): number[] }> {
  const db = await createTestDb(options)
  const other = connect(db.location)
  other.exec(`
    create table scratch (value integer primary key) strict;
    create trigger bomb before insert on scratch when new.value = 666
      begin select raise(rollback, 'bomb'); end;
    create table debt (owed integer references scratch(value) deferrable initially deferred) strict;
    create trigger debtor after insert on scratch when new.value = 7777
      begin insert into debt values (-1); end;
  `)
  return {
    ...db,
    other,
    // Through a connection of its own: it sees only what is committed.
    values: () =>
      other.prepare<[], number>('select value from scratch order by value').pluck().all(),
    async [Symbol.asyncDispose]() {
      other.close()
      await db[Symbol.asyncDispose]()
    },
  }
}

async function put(tx: Tx, value: number): Promise<number> {
  await sql`insert into scratch (value) values (${value})`.execute(tx)
  return value
}

/** How many commits the write-ahead log holds: https://sqlite.org/fileformat2.html#the_write_ahead_log */
function commitsIn(file: string): number {
  const log = readFileSync(`${file}-wal`)
  const pageSize = log.readUInt32BE(8)
  const salt = log.subarray(16, 24)
  let commits = 0
  for (let at = 32; at + 24 + pageSize <= log.length; at += 24 + pageSize) {
    if (!log.subarray(at + 8, at + 16).equals(salt)) break
    // A frame that ends a transaction says how large the database is after it.
    if (log.readUInt32BE(at + 4) > 0) commits++
  }
  return commits
}

const reasonsOf = (results: PromiseSettledResult<unknown>[]) =>
  results.map((result) =>
    result.status === 'fulfilled' ? 'done' : (result.reason?.reason ?? result.reason?.message),
  )

test('writes that arrive together share one commit, up to 256 of them', async () => {
  await using db = await createScratch()
  const commitsOf = async (writes: () => Promise<unknown>) => {
    const before = commitsIn(db.location)
    await writes()
    return commitsIn(db.location) - before
  }
  const burst = (first: number, count: number) => () =>
    Promise.all(Array.from({ length: count }, (_, i) => db.write((tx) => put(tx, first + i))))
  expect(await commitsOf(burst(1000, 1))).toBe(1)
  expect(await commitsOf(burst(2000, 50))).toBe(1)
  expect(await commitsOf(burst(3000, 256))).toBe(1)
  expect(await commitsOf(burst(4000, 257))).toBe(2)
  expect(
    await commitsOf(async () => {
      for (const value of [1, 2, 3]) await db.write((tx) => put(tx, value))
    }),
  ).toBe(3)
  expect(db.values()).toHaveLength(1 + 50 + 256 + 257 + 3)
})

test('a lone write waits for nothing: it is durable before the next turn of the event loop', async () => {
  await using db = await createScratch()
  const order: string[] = []
  const write = db.write((tx) => put(tx, 1)).then(() => order.push(`durable ${db.values()}`))
  setImmediate(() => order.push('next turn'))
  await write
  await turn()
  expect(order).toEqual(['durable 1', 'next turn'])
})

test('a result is told when it is on the disk, and not before', async () => {
  await using db = await createScratch()
  const seen: [number, number[]][] = []
  await Promise.all(
    [1, 2, 3].map((value) =>
      db
        .write(async (tx) => {
          await put(tx, value)
          // Not yet: another connection sees nothing of this batch while it runs.
          expect(db.values()).toEqual([])
          return value
        })
        .then((result) => seen.push([result, db.values()])),
    ),
  )
  expect(seen).toEqual([1, 2, 3].map((value) => [value, [1, 2, 3]]))
})

test('a failure that comes of another write is told after that one is durable', async () => {
  await using db = await createScratch()
  const first = db.write((tx) => put(tx, 1))
  const second = db
    .write((tx) => put(tx, 1))
    .catch((error) => [db.isUniqueViolation(error), db.values()])
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
    async (_: Tx): Promise<number> => {
      throw new Error('mine')
    },
  ],
  [
    'without a promise',
    (_: Tx): Promise<number> => {
      throw new Error('mine')
    },
  ],
  [
    'between them',
    async (tx: Tx): Promise<number> => {
      await put(tx, 10)
      if (tx) throw new Error('mine')
      return put(tx, 11)
    },
  ],
  [
    'after them',
    async (tx: Tx): Promise<number> => {
      await put(tx, 10)
      await put(tx, 11)
      throw new Error('mine')
    },
  ],
] as const)('a write that throws %s undoes itself alone', async ([, job]) => {
  await using db = await createScratch()
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write(job),
    db.write((tx) => put(tx, 2)),
  ])
  expect(reasonsOf(results)).toEqual(['done', 'mine', 'done'])
  expect(db.values()).toEqual([1, 2])
})

test.for([undefined, null, 0, 'text', { a: 1 }])('a write may throw %o', async (thrown) => {
  await using db = await createScratch()
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
  expect(db.values()).toEqual([2])
})

interface Write {
  /** Few different values, so that writes collide. */
  readonly values: readonly number[]
  readonly ending: 'returns' | 'throws' | 'throws text' | 'throws at once' | 'bomb'
}

const write: fc.Arbitrary<Write> = fc.record({
  values: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 3 }),
  ending: fc.oneof(
    { weight: 6, arbitrary: fc.constant('returns' as const) },
    { weight: 4, arbitrary: fc.constantFrom('throws', 'throws text', 'throws at once', 'bomb') },
  ),
})

/** What must come of a write, told to a model of the table. */
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

test('any batches of writes do what the same writes would do one after the other', async () => {
  await using db = await createScratch()
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(write, { maxLength: 12 }), { maxLength: 4 }),
      async (run) => {
        db.other.exec('delete from scratch')
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
          expect(db.values()).toEqual([...table].sort((a, b) => a - b))
          // In the order in which they were asked for; a bomb is told of as soon as it went off.
          const calm = told.filter((index) => wanted[index] !== 'bomb')
          expect(calm).toEqual(calm.toSorted((a, b) => a - b))
        }
      },
    ),
    { numRuns: 60 },
  )
})

async function perform(tx: Tx, { values, ending }: Write): Promise<string> {
  for (const value of values) await put(tx, value)
  if (ending === 'bomb') await put(tx, 666)
  if (ending === 'throws text') throw ending
  if (ending !== 'returns') throw new Error(ending)
  return `returns ${values}`
}

test('writes run in the order in which they were asked for', async () => {
  await using db = await createScratch()
  const order: number[] = []
  const ask = (value: number) =>
    db.write(async (tx) => {
      // However long each takes.
      for (let i = value % 3; i > 0; i--) await turn()
      order.push(await put(tx, value))
    })
  const asked: Promise<void>[] = []
  for (let value = 1; value <= 300; value++) {
    asked.push(ask(value))
    if (value % 40 === 0) await turn()
  }
  await Promise.all(asked)
  expect(order).toEqual(Array.from({ length: 300 }, (_, i) => i + 1))
})

test('one write too many is refused, and nothing of it is written', async () => {
  await using db = await createScratch({ maxWaiting: 3 })
  let ran = 0
  const results = await Promise.allSettled(
    [1, 2, 3, 4, 5].map((value) =>
      db.write((tx) => {
        ran++
        return put(tx, value)
      }),
    ),
  )
  expect(reasonsOf(results)).toEqual(['done', 'done', 'done', 'overloaded', 'overloaded'])
  expect(ran).toBe(3)
  expect(db.values()).toEqual([1, 2, 3])
  await db.write((tx) => put(tx, 4))
  expect(db.values()).toEqual([1, 2, 3, 4])
})

test('a write lock that is held for too long is told as busy; meanwhile reads are answered', async () => {
  await using db = await createScratch({ busyTimeout: 150 })
  db.other.exec('begin immediate')
  let ran = 0
  let waiting = true
  const writes = Promise.allSettled(
    [1, 2].map((value) =>
      db.write((tx) => {
        ran++
        return put(tx, value)
      }),
    ),
  ).finally(() => {
    waiting = false
  })
  let reads = 0
  while (waiting) {
    await db.ping()
    await turn()
    reads++
  }
  expect(reasonsOf(await writes)).toEqual(['busy', 'busy'])
  expect(ran).toBe(0)
  // Waiting inside SQLite would have stopped the event loop: a read or two at most.
  expect(reads).toBeGreaterThan(3)

  db.other.exec('rollback')
  expect(db.values()).toEqual([])
  await db.write((tx) => put(tx, 3))
  expect(db.values()).toEqual([3])
})

test('each write waits its own time for the lock, however many batches stand before it', async () => {
  await using db = await createScratch({ busyTimeout: 5_000 })
  // Time goes on by hand.
  let now = 0
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now)
  onTestFinished(() => clock.mockRestore())
  db.other.exec('begin immediate')
  let ran = 0
  const ask = (value: number) =>
    db.write((tx) => {
      ran++
      return put(tx, value)
    })
  // More than share a commit.
  const early = Array.from({ length: 600 }, (_, i) => ask(i))
  now = 4_999
  const late = ask(1000)
  now = 5_000
  // The lock is let go of when the first is told: whoever is waiting then gets it.
  const released = early[0]?.catch(() => db.other.exec('rollback'))
  const results = await Promise.allSettled(early)
  expect(new Set(reasonsOf(results))).toEqual(new Set(['busy']))
  await released
  expect(await late).toBe(1000)
  expect(ran).toBe(1)
  expect(db.values()).toEqual([1000])
})

test('a write that comes while the lock is waited for shares the commit', async () => {
  await using db = await createScratch({ busyTimeout: 60_000 })
  db.other.exec('begin immediate')
  const first = db.write((tx) => put(tx, 1))
  await sleep(10)
  const second = db.write((tx) => put(tx, 2))
  const seen = first.then(() => db.values())
  db.other.exec('rollback')
  expect(await seen).toEqual([1, 2])
  await second
})

test('a write lock that is released in time delays a write and nothing more', async () => {
  await using db = await createScratch({ busyTimeout: 60_000 })
  db.other.exec('begin immediate')
  let settled = false
  const writes = Promise.all([1, 2].map((value) => db.write((tx) => put(tx, value)))).finally(
    () => {
      settled = true
    },
  )
  await sleep(30)
  expect(settled).toBe(false)
  db.other.exec('rollback')
  expect(await writes).toEqual([1, 2])
  expect(db.values()).toEqual([1, 2])
})

test('closing finishes the waiting writes, refuses new ones and leaves no log behind', async () => {
  await using db = await createScratch()
  const values = Array.from({ length: 300 }, (_, i) => i)
  const writes = Promise.all(values.map((value) => db.write((tx) => put(tx, value))))
  db.other.close()
  const closing = db.close()
  await expect(db.write((tx) => put(tx, 999))).rejects.toMatchObject({ reason: 'closed' })
  expect(await writes).toEqual(values)
  await closing
  await expect(db.write((tx) => put(tx, 999))).rejects.toMatchObject({ reason: 'closed' })
  expect(readdirSync(dirname(db.location))).toEqual(['test.db'])
  using after = connect(db.location)
  expect(after.prepare('select value from scratch order by value').pluck().all()).toEqual(values)
})

test('a write that ends the transaction fails alone, with its own error', async () => {
  await using db = await createScratch()
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write(async () => {
      throw new Error('mine')
    }),
    db.write(async (tx) => {
      await put(tx, 2)
      await put(tx, 666)
    }),
    db.write((tx) => put(tx, 3)),
    db.write((tx) => sql`insert or rollback into scratch (value) values (3)`.execute(tx)),
    db.write((tx) => put(tx, 4)),
  ])
  expect(reasonsOf(results)).toEqual([
    'done',
    'mine',
    'bomb',
    'done',
    'UNIQUE constraint failed: scratch.value',
    'done',
  ])
  expect(db.values()).toEqual([1, 3, 4])
})

test('a write that hides the end of the transaction is not told that it succeeded', async () => {
  await using db = await createScratch()
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write((tx) => put(tx, 666).catch(() => 'all is well')),
    db.write((tx) => put(tx, 2)),
  ])
  expect(reasonsOf(results)).toEqual(['done', expect.stringContaining('no such savepoint'), 'done'])
  expect(db.values()).toEqual([1, 2])
})

test('nobody is told of success when the commit itself fails', async () => {
  await using db = await createScratch()
  const failed = 'FOREIGN KEY constraint failed'
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write((tx) => put(tx, 7777)),
    db.write((tx) => put(tx, 2)),
  ])
  expect(reasonsOf(results)).toEqual([failed, failed, failed])
  expect(db.values()).toEqual([])
  await db.write((tx) => put(tx, 3))
  expect(db.values()).toEqual([3])
})

test('a full disk fails writes cleanly, and they work again when there is room', async () => {
  await using db = await createScratch()
  // Without a trigger SQLite ends the whole transaction when there is no room.
  db.other.exec('create table files (value integer primary key, data blob) strict')
  const files = () => db.other.prepare('select value from files').pluck().all()
  const pages = Number(db.other.pragma('page_count', { simple: true }))
  const limit = (most: number) =>
    db.write((tx) => sql`${sql.raw(`pragma max_page_count = ${most}`)}`.execute(tx))
  await limit(pages + 20)

  const attempt = (first: number) =>
    db.write(async (tx) => {
      for (const value of [first, first + 1]) {
        await sql`insert into files values (${value}, zeroblob(6000))`.execute(tx)
      }
    })
  const firsts = Array.from({ length: 30 }, (_, i) => 2 * i + 1)
  const results = await Promise.allSettled(firsts.map(attempt))
  const codes = new Set(results.map((result) => 'reason' in result && result.reason.code))
  expect(codes).toEqual(new Set([false, 'SQLITE_FULL']))
  const done = firsts.filter((_, i) => results[i]?.status === 'fulfilled')
  expect(files()).toEqual(done.flatMap((first) => [first, first + 1]))

  await limit(pages + 1000)
  const refused = firsts.filter((first) => !done.includes(first))
  await Promise.all(refused.map(attempt))
  expect(files()).toEqual(firsts.flatMap((first) => [first, first + 1]))
  expect(db.other.pragma('integrity_check', { simple: true })).toBe('ok')
})
