import { readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type Sqlite from 'better-sqlite3'
import { sql } from 'kysely'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { DatabaseOptions, Transaction } from '../../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import { connect, reasonsOf } from '../support.ts'

// How writes meet SQLite's one lock, one file and statements without waiting.

/** A database with a table to scribble in, and a connection as another process would have it. */
async function createScratch(
  options: Omit<DatabaseOptions, 'url'> = {},
): Promise<TestDatabase & { other: Sqlite.Database; values(): number[] }> {
  const db = await createTestDb(options)
  const other = connect(db.location)
  other.exec('create table scratch (value integer primary key) strict')
  return {
    ...db,
    other,
    values: () =>
      other.prepare<[], number>('select value from scratch order by value').pluck().all(),
    async [Symbol.asyncDispose]() {
      other.close()
      await db[Symbol.asyncDispose]()
    },
  }
}

async function put(tx: Transaction, value: number): Promise<number> {
  await sql`insert into scratch (value) values (${value})`.execute(kyselyOn(tx))
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

test('a single write does not wait: it is committed before the next turn of the event loop', async () => {
  await using db = await createScratch()
  const order: string[] = []
  const write = db.write((tx) => put(tx, 1)).then(() => order.push(`durable ${db.values()}`))
  setImmediate(() => order.push('next turn'))
  await write
  await turn()
  expect(order).toEqual(['durable 1', 'next turn'])
})

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

test('a write lock held for too long rejects the write as busy; reads go on meanwhile', async () => {
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

test('each write waits its own time for the lock, however many batches precede it', async () => {
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
  // The lock is released at the first rejection; the waiting writes then get it.
  const released = early[0]?.catch(() => db.other.exec('rollback'))
  const results = await Promise.allSettled(early)
  expect(new Set(reasonsOf(results))).toEqual(new Set(['busy']))
  await released
  expect(await late).toBe(1000)
  expect(ran).toBe(1)
  expect(db.values()).toEqual([1000])
})

test.for(['another process', 'this process'] as const)(
  'while %s holds the lock, writes and exclusive jobs are rejected as busy, each in time',
  async (holder) => {
    const busyTimeout = 300
    await using db = await createScratch({ busyTimeout })
    const ended = Promise.withResolvers<void>()
    if (holder === 'another process') db.other.exec('begin immediate')
    else {
      const locked = Promise.withResolvers<void>()
      db.withWriteLock(async () => {
        locked.resolve()
        await ended.promise
      })
      await locked.promise
    }
    const order: number[] = []
    const waits = await Promise.all(
      [1, 2, 3].map(async (value) => {
        await sleep(100 * value)
        const asked = performance.now()
        await expect(db.write((tx) => put(tx, value))).rejects.toMatchObject({ reason: 'busy' })
        order.push(value)
        return performance.now() - asked
      }),
    )
    for (const waited of waits) expect(waited).toBeGreaterThan(busyTimeout - 50)
    expect(order).toEqual([1, 2, 3])
    if (holder === 'another process') {
      await expect(db.withWriteLock(async () => undefined)).rejects.toMatchObject({
        reason: 'busy',
      })
      db.other.exec('rollback')
    }
    ended.resolve()
    expect(await db.write((tx) => put(tx, 4))).toBe(4)
    expect(db.values()).toEqual([4])
  },
)

test('a write that arrives while the lock is awaited shares the commit', async () => {
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

test('a write lock that is released in time only delays the write', async () => {
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

test('closing finishes the waiting writes and leaves no log behind', async () => {
  await using db = await createScratch()
  const values = Array.from({ length: 300 }, (_, i) => i)
  const writes = Promise.all(values.map((value) => db.write((tx) => put(tx, value))))
  db.other.close()
  await db.close()
  expect(await writes).toEqual(values)
  expect(readdirSync(dirname(db.location))).toEqual(['test.db'])
  using after = connect(db.location)
  expect(after.prepare('select value from scratch order by value').pluck().all()).toEqual(values)
})

test('a statement that ends the transaction fails its write alone, with its own error', async () => {
  await using db = await createScratch()
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write((tx) => sql`insert or rollback into scratch (value) values (1)`.execute(kyselyOn(tx))),
    db.write((tx) => put(tx, 2)),
  ])
  expect(reasonsOf(results)).toEqual(['done', 'UNIQUE constraint failed: scratch.value', 'done'])
  expect(db.values()).toEqual([1, 2])
})

// On PostgreSQL no statement of a write ends its transaction, so the next write does not wait for the answer.
test('a write that hides the end of its transaction is rejected', async () => {
  await using db = await createScratch()
  const results = await Promise.allSettled([
    db.write((tx) => put(tx, 1)),
    db.write((tx) => sql`rollback`.execute(kyselyOn(tx))),
    db.write((tx) => put(tx, 2)),
  ])
  expect(reasonsOf(results)).toEqual(['done', expect.stringMatching(/savepoint/i), 'done'])
  expect(db.values()).toEqual([1, 2])
})

test('a full disk fails writes cleanly, and they work again when there is room', async () => {
  await using db = await createScratch()
  // Without a trigger SQLite ends the whole transaction on a full disk.
  db.other.exec('create table files (value integer primary key, data blob) strict')
  const files = () => db.other.prepare('select value from files').pluck().all()
  const pages = Number(db.other.pragma('page_count', { simple: true }))
  const limit = (most: number) =>
    db.write((tx) => sql`${sql.raw(`pragma max_page_count = ${most}`)}`.execute(kyselyOn(tx)))
  await limit(pages + 20)

  const attempt = (first: number) =>
    db.write(async (tx) => {
      for (const value of [first, first + 1]) {
        await sql`insert into files values (${value}, zeroblob(6000))`.execute(kyselyOn(tx))
      }
    })
  const firsts = Array.from({ length: 30 }, (_, i) => 2 * i + 1)
  const results = await Promise.allSettled(firsts.map(attempt))
  const errors = new Set(results.map((result) => 'reason' in result && result.reason.message))
  expect(errors).toEqual(new Set([false, 'the database cannot be used: the disk is full']))
  const done = firsts.filter((_, i) => results[i]?.status === 'fulfilled')
  expect(files()).toEqual(done.flatMap((first) => [first, first + 1]))

  await limit(pages + 1000)
  const refused = firsts.filter((first) => !done.includes(first))
  await Promise.all(refused.map(attempt))
  expect(files()).toEqual(firsts.flatMap((first) => [first, first + 1]))
  expect(db.other.pragma('integrity_check', { simple: true })).toBe('ok')
})
