import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import { type Database, openDatabase, type Session, type Transaction } from '../../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import { createProxy } from '../proxy.ts'

// Locks of a process that is gone without closing its connection: stopped, or without its host or network.

async function createScratch(): Promise<TestDatabase> {
  const db = await createTestDb()
  await db.write((tx) =>
    sql`create table scratch (value bigint primary key, count bigint not null default 0)`.execute(
      kyselyOn(tx),
    ),
  )
  await db.write((tx) => sql`insert into scratch values (0)`.execute(kyselyOn(tx)))
  return db
}

const count = (tx: Transaction) =>
  sql`update scratch set count = count + 1 where value = 0`.execute(kyselyOn(tx))

async function counted(db: Database): Promise<number | undefined> {
  const { rows } = await sql<{ count: number }>`select count from scratch`.execute(
    kyselyOn(db.read),
  )
  return rows[0]?.count
}

/** How many sessions have begun a transaction and are silent in it. */
async function idleInTransaction(db: Database): Promise<number> {
  const { rows } = await sql`
    select from pg_stat_activity
    where datname = current_database() and state like 'idle in transaction%'
  `.execute(kyselyOn(db.read))
  return rows.length
}

/** Retries a write until the row is free. @returns the milliseconds it took */
async function countWhenFree(db: Database): Promise<number> {
  const began = performance.now()
  for (;;) {
    const isDone = await db.write(count).then(
      () => true,
      () => false,
    )
    if (isDone) return performance.now() - began
  }
}

test('a process stopped during a write lets others write soon, and finishes when it continues', async () => {
  await using db = await createScratch()
  const child = fork(new URL('../stopInWrite.ts', import.meta.url), [db.url], { stdio: 'pipe' })
  onTestFinished(() => void child.kill('SIGKILL'))
  // It has the row locked, and waits.
  await once(child, 'message')
  child.kill('SIGSTOP')
  expect(await idleInTransaction(db)).toBe(1)
  expect(await countWhenFree(db)).toBeLessThan(15_000)
  expect(await counted(db)).toBe(1)
  const ended = once(child, 'exit')
  child.kill('SIGCONT')
  child.send('go on')
  expect((await ended)[0]).toBe(0)
  // Its write was run again, and once.
  expect(await counted(db)).toBe(2)
})

test('a process that loses its network during a write lets others write soon and is counted once', async () => {
  await using db = await createScratch()
  await using proxy = await createProxy(db.url)
  const lost = openDatabase({ url: proxy.url, statementTimeout: 4_000 })
  onTestFinished(() => lost.close())
  let runs = 0
  const write = lost.write(async (tx) => {
    runs++
    await count(tx)
    if (runs === 1) proxy.way = 'held'
    await count(tx)
  })
  write.catch(() => undefined)
  while ((await idleInTransaction(db)) === 0) await sleep(10)
  expect(await countWhenFree(db)).toBeLessThan(15_000)
  expect(await counted(db)).toBe(1)
  proxy.way = 'through'
  const isStored = await write.then(
    () => true,
    () => false,
  )
  expect(await counted(db)).toBe(isStored ? 3 : 1)
})

/** Stops the event loop, so that the server's last word and the next statement meet. */
function block(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

test('a transaction that the server ended counts as lost, whichever statement notices it', async () => {
  await using db = await createScratch()
  const other = openDatabase({ url: db.url })
  onTestFinished(() => other.close())
  const unavailable = { name: 'DatabaseError', reason: 'unavailable' }
  const short = sql`set local idle_in_transaction_session_timeout = 50`
  // Between two statements.
  let runs = 0
  await other.write(async (tx) => {
    await count(tx)
    if (++runs > 1) return
    await short.execute(kyselyOn(tx))
    block(500)
    await expect(count(tx)).rejects.toMatchObject(unavailable)
    return count(tx)
  })
  expect(runs).toBe(2)
  expect(await counted(db)).toBe(1)
  // Where it reads.
  await expect(
    other.snapshot(async (tx) => {
      await short.execute(kyselyOn(tx))
      block(500)
      return counted({ ...db, read: tx })
    }),
  ).rejects.toMatchObject(unavailable)
  expect(await counted(other)).toBe(1)
})

/** The settings of the connection that asks. */
async function settingsOf(db: Session): Promise<Record<string, string>> {
  const { rows } = await sql<{ name: string; setting: string }>`
    select name, setting from pg_settings
    where name like 'tcp_%' or name like '%_timeout' or name like 'default_transaction%'
  `.execute(kyselyOn(db))
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
}

test('every connection gets its timeouts after it is opened', async () => {
  await using db = await createTestDb({ statementTimeout: 4_321 })
  const deadPeer = {
    tcp_user_timeout: '10000',
    tcp_keepalives_idle: '10',
    tcp_keepalives_interval: '5',
    tcp_keepalives_count: '3',
  }
  const short = {
    ...deadPeer,
    statement_timeout: '4321',
    idle_in_transaction_session_timeout: '3000',
  }
  const read = { ...short, default_transaction_read_only: 'on' }
  expect(await settingsOf(db.read)).toMatchObject(read)
  expect(await db.snapshot(settingsOf)).toMatchObject(read)
  expect(await db.write(settingsOf)).toMatchObject({
    ...short,
    lock_timeout: '10',
    default_transaction_read_only: 'off',
  })
  // A copy's source is idle for as long as the target stores rows.
  expect(await db.withWriteLock(settingsOf)).toMatchObject({
    ...deadPeer,
    statement_timeout: '0',
    idle_in_transaction_session_timeout: '900000',
  })
})
