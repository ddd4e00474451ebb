import { join } from 'node:path'
import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import { copyDatabase, type Database, eventLogBounds, openDatabase } from '../../src/index.ts'
import { createTestDb, createTestStore, kyselyOn } from '../../src/testing.ts'
import { createFolder } from '../support.ts'

async function epochOf(db: Database): Promise<{ epoch: string; firstEpoch: string }> {
  const { epoch, firstEpoch } = await eventLogBounds(db.read, { orgId: 'nobody' })
  return { epoch, firstEpoch }
}

function open(url: string): Database {
  const db = openDatabase({ url })
  onTestFinished(() => db.close())
  return db
}

/** As a promotion leaves it: the timeline is not the one that the epoch was noted with. */
const promote = (db: Database) =>
  db.write((tx) => kyselyOn(tx).updateTable('event_log').set({ timeline: '000000FF' }).execute())

test('a new database has its own epoch, which is its first', async () => {
  const epochs = new Set<string>()
  for (let i = 0; i < 2; i++) {
    await using db = await createTestDb({ empty: true })
    const { epoch, firstEpoch } = await epochOf(db)
    expect(epoch).toMatch(/^[\w-]{6}$/)
    expect(firstEpoch).toBe(epoch)
    epochs.add(epoch)
  }
  expect(epochs.size).toBe(2)
})

test('another timeline has another epoch, and the first epoch stays known', async () => {
  await using db = await createTestDb()
  const before = await epochOf(db)
  await promote(db)
  expect(await epochOf(db)).toEqual({
    epoch: expect.stringMatching(new RegExp(`^${before.epoch}\\.[1-9A-F]`)),
    firstEpoch: before.epoch,
  })
})

test('a read-only role reads the epoch', async () => {
  await using db = await createTestDb()
  const url = new URL(db.url)
  const role = `reader_${url.pathname.slice(1)}`
  await db.write((tx) =>
    sql.raw(`create role ${role} login password 'secret' connection limit 9`).execute(kyselyOn(tx)),
  )
  await db.write((tx) =>
    sql.raw(`grant select on organisations, events, event_log to ${role}`).execute(kyselyOn(tx)),
  )
  Object.assign(url, { username: role, password: 'secret' })
  const reader = openDatabase({ url: url.href })
  expect(await epochOf(reader)).toEqual(await epochOf(db))
  await reader.close()
  await db.write((tx) => sql.raw(`drop owned by ${role}; drop role ${role}`).execute(kyselyOn(tx)))
})

test('a standby, which has no epoch, counts as unavailable', async () => {
  await using db = await createTestDb()
  // A standby's answer to a question about its write-ahead log.
  const refuse = sql.raw(
    "do $$ begin raise 'recovery is in progress' using errcode = '55000'; end $$",
  )
  await expect(refuse.execute(kyselyOn(db.read))).rejects.toMatchObject({ reason: 'unavailable' })
})

test('a copy continues the epoch of its source, on both databases and after a failover', async () => {
  await using folder = await createFolder()
  await using store = await createTestStore()
  await using next = await createTestStore({ empty: true })
  const file = `sqlite:${join(folder.path, 'first.db')}`
  const back = `sqlite:${join(folder.path, 'back.db')}`
  const copy = (from: string, to: string) => copyDatabase({ from, to, onProgress() {} })

  const first = open(file)
  await first.migrateToLatest()
  const epochs = await epochOf(first)
  expect(epochs.firstEpoch).toBe(epochs.epoch)
  await copy(file, store.url)
  const there = open(store.url)
  expect(await epochOf(there)).toEqual(epochs)

  await promote(there)
  const promoted = await epochOf(there)
  expect(promoted.epoch).not.toBe(epochs.epoch)
  for (const target of [back, next.url]) {
    await copy(store.url, target)
    expect(await epochOf(open(target))).toEqual(promoted)
  }
})
