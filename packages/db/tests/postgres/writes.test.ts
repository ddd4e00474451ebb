import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import {
  appendEvent,
  appendMessage,
  type Database,
  eventLogBounds,
  findActiveRoom,
  findRoomForKeyShare,
  findRoomForUpdate,
  insertRoom,
  moveReadMarker,
  nextPosition,
  openDatabase,
  setRoomActive,
  type Transaction,
} from '../../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import { idOf, messageRow, roomRow } from '../support.ts'

// Cases of PostgreSQL only, above all several processes that write at once. Each has a connection
// pool of its own, so a second Database on one URL stands for a second process.

/** So many writes at once may wait for longer than 5 seconds on a busy machine. */
const busyTimeout = 60_000

async function createScratch(): Promise<TestDatabase> {
  const db = await createTestDb({ busyTimeout })
  await db.write((tx) =>
    sql`create table scratch (value bigint primary key, count bigint not null default 0)`.execute(
      kyselyOn(tx),
    ),
  )
  return db
}

function another(db: TestDatabase): Database {
  const other = openDatabase({ url: db.url, busyTimeout })
  onTestFinished(() => other.close())
  return other
}

const put = (tx: Transaction, value: number) =>
  sql`insert into scratch (value) values (${value})`.execute(kyselyOn(tx))

/** Opens rooms of one organisation, each with the number of its user. */
async function openRooms(db: Database, orgId: string, numbers: readonly number[]): Promise<void> {
  await db.write(async (tx) => {
    for (const number of numbers) {
      const position = await nextPosition(tx, 'last_room_position', { orgId, now: 1 })
      await insertRoom(
        tx,
        roomRow({ id: idOf(number), org_id: orgId, position, user_id: `user ${number}` }),
      )
    }
  })
}

let ids = 0

async function send(tx: Transaction, orgId: string, room: number): Promise<void> {
  const message = await appendMessage(
    tx,
    { orgId, roomId: idOf(room) },
    messageRow({ id: idOf(++ids) }),
  )
  if (!message) throw new Error('no room')
  const { room_id, seq } = message
  appendEvent(tx, {
    type: 'message.created',
    org_id: orgId,
    room_id,
    message_seq: seq,
    created_at: 1,
  })
}

async function positionsOf(db: Database, orgId: string): Promise<number[]> {
  const rows = await kyselyOn(db.read)
    .selectFrom('events')
    .select('position')
    .where('org_id', '=', orgId)
    .orderBy('position')
    .execute()
  return rows.map(({ position }) => position)
}

test('no event is committed after one that is not committed yet', async () => {
  await using db = await createTestDb()
  await openRooms(db, 'A', [1, 2])
  await openRooms(db, 'B', [3])
  const other = another(db)
  const held = Promise.withResolvers<void>()
  const reached = Promise.withResolvers<void>()
  // Position 1 of A is given, and its transaction stays open.
  const first = db.write(async (tx) => {
    await send(tx, 'A', 1)
    await nextPosition(tx, 'last_audit_position', { orgId: 'A', now: 1 })
    reached.resolve()
    await held.promise
  })
  await reached.promise
  let isDone = false
  const second = other
    .write((tx) => send(tx, 'A', 2))
    .then(() => {
      isDone = true
    })
  // Others go on meanwhile.
  await another(db).write((tx) => send(tx, 'B', 3))
  expect(await positionsOf(db, 'B')).toEqual([1])
  // The second waits in the server: it shows there as one that waits for the first.
  await until(() => isWaiting(db))
  expect(isDone).toBe(false)
  expect(await positionsOf(db, 'A')).toEqual([])
  held.resolve()
  await Promise.all([first, second])
  const events = await kyselyOn(db.read)
    .selectFrom('events')
    .select(['position', 'room_id'])
    .where('org_id', '=', 'A')
    .orderBy('position')
    .execute()
  expect(events).toEqual([
    { position: 1, room_id: idOf(1) },
    { position: 2, room_id: idOf(2) },
  ])
})

/** True while a statement waits for a lock. */
async function isWaiting(db: Database): Promise<boolean> {
  const { rows } = await sql`
    select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
  `.execute(kyselyOn(db.read))
  return rows.length > 0
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await turn()
}

test('an event of a room is committed while another process holds the room for update', async () => {
  await using db = await createTestDb()
  await openRooms(db, 'A', [1])
  const event = { org_id: 'A', room_id: idOf(1), created_at: 1 }
  await db.write(async (tx) => {
    await findRoomForUpdate(tx, { orgId: 'A', roomId: idOf(1) })
    await another(db).write(async (tx) => appendEvent(tx, { ...event, type: 'marker.moved' }))
    appendEvent(tx, { ...event, type: 'room.updated' })
  })
  expect(await positionsOf(db, 'A')).toEqual([1, 2])
})

test('closing a room and moving a marker in it do not deadlock', async () => {
  await using db = await createTestDb()
  await openRooms(db, 'A', [1])
  const room = { orgId: 'A', roomId: idOf(1) }
  const event = { org_id: 'A', room_id: idOf(1), created_at: 1 }
  const move = (seq: number) => async (tx: Transaction) => {
    await findRoomForKeyShare(tx, room)
    await moveReadMarker(tx, { ...room, userId: 'ann', side: false, seq, now: 1 })
    appendEvent(tx, { ...event, type: 'marker.moved', marker_seq: seq, user_id: 'ann', side: 0 })
  }
  let runs = 0
  await db.write(move(1))
  let moving: Promise<void> | undefined
  await db.write(async (tx) => {
    runs++
    await findRoomForUpdate(tx, room)
    await setRoomActive(tx, { ...room, isActive: false, now: 1 })
    appendEvent(tx, { ...event, type: 'room.deleted' })
    moving ??= another(db).write(move(2))
    await until(() => isWaiting(db))
    await nextPosition(tx, 'last_audit_position', { orgId: 'A', now: 1 })
  })
  await moving
  // In a circle it would have lost, and run again.
  expect(runs).toBe(1)
  expect(await positionsOf(db, 'A')).toEqual([1, 2, 3])
})

test('a reader that follows the log skips no position, however many write', async () => {
  await using db = await createTestDb({ busyTimeout })
  const orgs = ['A', 'B']
  for (const [index, orgId] of orgs.entries()) {
    await openRooms(
      db,
      orgId,
      [1, 2, 3].map((number) => 10 * index + number),
    )
  }
  const writers = [db, another(db), another(db)]
  const total = 360
  let isWriting = true
  const writing = Promise.all(
    Array.from({ length: total }, (_, i) => {
      const org = i % 2
      const writer = writers[i % 3] as Database
      return writer.write(async (tx) => {
        await send(tx, orgs[org] as string, 10 * org + (i % 3) + 1)
        // Now and then a lock that others take at the end is taken at the beginning.
        if (i % 7 === 0) {
          await nextPosition(tx, 'last_audit_position', { orgId: orgs[1 - org] as string, now: 1 })
        }
      })
    }),
  ).finally(() => {
    isWriting = false
  })
  const seen = new Map(orgs.map((orgId) => [orgId, [] as number[]]))
  const follow = async (orgId: string) => {
    const own = seen.get(orgId) as number[]
    const rows = await kyselyOn(db.read)
      .selectFrom('events')
      .select('position')
      .where('org_id', '=', orgId)
      .where('position', '>', own.at(-1) ?? 0)
      .orderBy('position')
      .execute()
    own.push(...rows.map(({ position }) => position))
  }
  while (isWriting) await Promise.all(orgs.map(follow))
  await writing
  await Promise.all(orgs.map(follow))
  for (const orgId of orgs) {
    const all = Array.from({ length: total / 2 }, (_, i) => i + 1)
    expect(seen.get(orgId)).toEqual(all)
    expect(await eventLogBounds(db.read, { orgId })).toMatchObject({ head: total / 2, floor: 0 })
  }
})

test('processes that open the same room at once get one room', async () => {
  await using db = await createTestDb({ busyTimeout })
  const identity = { orgId: 'A', userId: 'user', portfolioName: 'umair', productName: 'shop' }
  const open = (writer: Database, number: number) =>
    writer.write(async (tx) => {
      const found = await findActiveRoom(tx, identity)
      if (found) return { id: found.id, created: false }
      const position = await nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 })
      const row = await insertRoom(
        tx,
        roomRow({
          id: idOf(number),
          org_id: 'A',
          position,
          user_id: 'user',
          product_name: 'shop',
        }),
      )
      return { id: row.id, created: true }
    })
  const writers = [db, another(db), another(db)]
  const opened = await Promise.all(
    Array.from({ length: 30 }, (_, i) => open(writers[i % 3] as Database, i)),
  )
  expect(new Set(opened.map(({ id }) => id)).size).toBe(1)
  expect(opened.filter(({ created }) => created)).toHaveLength(1)
})

test('writes that lock the same rows in any order all finish soon', async () => {
  await using db = await createScratch()
  await db.write(async (tx) => {
    for (let value = 0; value < 6; value++) await put(tx, value)
  })
  const writers = [db, another(db), another(db)]
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }), {
        minLength: 1,
        maxLength: 60,
      }),
      async (orders) => {
        await db.write((tx) => sql`update scratch set count = 0`.execute(kyselyOn(tx)))
        await Promise.all(
          orders.map((order, i) =>
            (writers[i % 3] as Database).write(async (tx) => {
              for (const value of order) {
                await sql`update scratch set count = count + 1 where value = ${value}`.execute(
                  kyselyOn(tx),
                )
              }
            }),
          ),
        )
        const { rows } = await sql<{ count: number }>`
          select count from scratch order by value
        `.execute(kyselyOn(db.read))
        const wanted = [0, 1, 2, 3, 4, 5].map(
          (value) => orders.filter((order) => order.includes(value)).length,
        )
        expect(rows.map(({ count }) => count)).toEqual(wanted)
      },
    ),
    { numRuns: 10 },
  )
})

test('writes that arrive together share one commit, up to 256 of them', async () => {
  await using db = await createScratch()
  const column = sql`alter table scratch add column written_in xid8 default pg_current_xact_id()`
  await db.write((tx) => column.execute(kyselyOn(tx)))
  for (const [writes, commits] of [
    [1, 1],
    [50, 1],
    [256, 1],
    [257, 2],
  ] as const) {
    await db.write((tx) => sql`delete from scratch`.execute(kyselyOn(tx)))
    await Promise.all(
      Array.from({ length: writes }, (_, value) => db.write((tx) => put(tx, value))),
    )
    const { rows } = await sql`
      select count(*) as writes, count(distinct written_in::text) as commits from scratch
    `.execute(kyselyOn(db.read))
    expect(rows).toEqual([{ writes, commits }])
  }
})

test('a write that hides a failed statement is rejected', async () => {
  await using db = await createScratch()
  const hiding = () =>
    db.write(async (tx) => {
      await put(tx, 1)
      await put(tx, 1).catch(() => 'all is well')
    })
  await expect(hiding()).rejects.toThrow('a write went on after a failed statement')
  const [hidden, other] = await Promise.allSettled([hiding(), db.write((tx) => put(tx, 2))])
  expect(hidden).toMatchObject({ status: 'rejected' })
  expect(other).toMatchObject({ status: 'fulfilled' })
  const { rows } = await sql`select value from scratch`.execute(kyselyOn(db.read))
  expect(rows).toEqual([{ value: 2 }])
})
