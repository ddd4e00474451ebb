import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  appendEvent,
  appendMessage,
  type Database,
  insertRoom,
  nextPosition,
  openDatabase,
  type Transaction,
} from '../../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../../src/testing.ts'
import { holdLock } from '../locks.ts'
import { idOf, messageRow, reasonsOf, roomRow } from '../support.ts'

// Other writes wait neither for a locked row nor for the writes that wait for it.

const ORGS = ['A', 'B', 'C']
const ROOMS_EACH = 3
const ROOMS = Array.from({ length: ORGS.length * ROOMS_EACH }, (_, index) => index)

const orgOf = (room: number) => ORGS[Math.floor(room / ROOMS_EACH)] as string

const lockRoom = (room: number) => `select from rooms where id = '${idOf(room)}' for update`
const lockOrganisation = (orgId: string) =>
  `update organisations set created_at = created_at where id = '${orgId}'`

/** Three rooms in each of three organisations. */
async function createRooms(options: { busyTimeout?: number; poolSize?: number } = {}) {
  const db = await createTestDb(options)
  await db.write(async (tx) => {
    for (const room of ROOMS) {
      const org_id = orgOf(room)
      const position = await nextPosition(tx, 'last_room_position', { orgId: org_id, now: 1 })
      await insertRoom(tx, roomRow({ id: idOf(room), org_id, position, user_id: `user ${room}` }))
    }
  })
  return db
}

let ids = 0

/** @returns the room and position of the new message */
async function store(tx: Transaction, room: number): Promise<string> {
  const orgId = orgOf(room)
  const id = idOf(++ids)
  const message = await appendMessage(tx, { orgId, roomId: idOf(room) }, messageRow({ id }))
  if (!message) throw new Error('no room')
  const event = { org_id: orgId, room_id: idOf(room), message_seq: message.seq, created_at: 1 }
  appendEvent(tx, { type: 'message.created', ...event })
  return id
}

const send = (db: Database, room: number) => db.write((tx) => store(tx, room))

async function open(db: Database, orgId: string): Promise<string> {
  return db.write(async (tx) => {
    const id = idOf(++ids + 1_000_000)
    const position = await nextPosition(tx, 'last_room_position', { orgId, now: 1 })
    await insertRoom(tx, roomRow({ id, org_id: orgId, position, user_id: id }))
    appendEvent(tx, { type: 'room.created', org_id: orgId, room_id: id, created_at: 1 })
    return id
  })
}

/** All that was acknowledged is stored, nothing else is, and neither rooms nor logs have a gap. */
async function expectWhole(db: Database, acknowledged: readonly string[]): Promise<void> {
  const messages = await kyselyOn(db.read)
    .selectFrom('messages')
    .select(['id', 'room_id', 'seq'])
    .orderBy('room_id')
    .orderBy('seq')
    .execute()
  expect(messages.map(({ id }) => id).toSorted()).toEqual(acknowledged.toSorted())
  for (const own of Map.groupBy(messages, ({ room_id }) => room_id).values()) {
    expect(own.map(({ seq }) => seq)).toEqual(own.map((_, index) => index + 1))
  }
  const events = await kyselyOn(db.read)
    .selectFrom('events')
    .select(['org_id', 'position'])
    .orderBy('org_id')
    .orderBy('position')
    .execute()
  for (const own of Map.groupBy(events, ({ org_id }) => org_id).values()) {
    expect(own.map(({ position }) => position)).toEqual(own.map((_, index) => index + 1))
  }
}

const locks = {
  'a room is': [lockRoom(0)],
  'all rooms of an organisation are': [0, 1, 2].map(lockRoom),
  "an organisation's row is": [lockOrganisation('A')],
  "a room and its organisation's row are": [lockRoom(0), lockOrganisation('A')],
}

test.for([
  [10, 'a room is'],
  [10, 'all rooms of an organisation are'],
  [10, "an organisation's row is"],
  [10, "a room and its organisation's row are"],
  [3, 'a room is'],
  [2, 'a room is'],
  [2, "an organisation's row is"],
] as const)(
  'over %i connections other organisations write while %s locked, and the others after the lock',
  async ([poolSize, locked]) => {
    await using db = await createRooms({ busyTimeout: 60_000, poolSize })
    await using lock = await holdLock(db.url, locks[locked].join('; '))
    let settled = 0
    const blocked: Promise<string>[] = []
    const acknowledged: string[] = []
    for (let round = 0; round < 8; round++) {
      // More come all the time.
      for (const room of locked === 'a room is' ? [0, 0] : [0, 0, 1, 2]) {
        const write = send(db, room).finally(() => settled++)
        write.catch(() => undefined)
        blocked.push(write)
      }
      acknowledged.push(...(await Promise.all([3, 4, 5, 6, 7, 8].map((room) => send(db, room)))))
      await open(db, 'B')
    }
    // All of it without the lock.
    expect(settled).toBe(0)
    await lock.release()
    acknowledged.push(...(await Promise.all(blocked)))
    await expectWhole(db, acknowledged)
  },
)

test.for(['a room is', "an organisation's row is"] as const)(
  'while %s locked each write is rejected as busy at its own deadline',
  async (locked) => {
    const busyTimeout = 600
    await using db = await createRooms({ busyTimeout })
    await using lock = await holdLock(db.url, locks[locked].join('; '))
    const writes = Array.from({ length: 6 }, async (_, number) => {
      await sleep(100 * number)
      const asked = performance.now()
      await expect(send(db, 0)).rejects.toMatchObject({ reason: 'busy' })
      return performance.now() - asked
    })
    for (const waited of await Promise.all(writes)) {
      expect(waited).toBeGreaterThan(busyTimeout - 50)
      // The statement that waits for the lock may take 5 seconds.
      expect(waited).toBeLessThan(busyTimeout + 3_000)
    }
    await lock.release()
    await expectWhole(db, [await send(db, 0)])
  },
)

test('many writes that wait for one room do not delay those of another room that was unlocked', async () => {
  await using db = await createRooms({ busyTimeout: 20_000 })
  await using held = await holdLock(db.url, lockRoom(0))
  await using freed = await holdLock(db.url, [1, 3].map(lockRoom).join('; '))
  let told = 0
  const blocked = Array.from({ length: 300 }, () => send(db, 0).finally(() => told++))
  const waiting = [1, 3, 1, 3].map((room) => send(db, room))
  // They were put off, so a connection waits for the lock.
  while (!(await isWaiting(db))) await sleep(10)
  await freed.release()
  const acknowledged = await Promise.all(waiting)
  expect(told).toBe(0)
  await held.release()
  acknowledged.push(...(await Promise.all(blocked)))
  await expectWhole(db, acknowledged)
})

async function isWaiting(db: Database): Promise<boolean> {
  const { rows } = await sql`
    select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
  `.execute(kyselyOn(db.read))
  return rows.length > 0
}

test('a room that another organisation asks for is not found, locked or not', async () => {
  await using db = await createRooms({ busyTimeout: 20_000 })
  await using _held = await holdLock(db.url, lockRoom(0))
  const blocked = send(db, 0)
  while (!(await isWaiting(db))) await sleep(10)
  const found = await Promise.all([
    db.write((tx) => appendMessage(tx, { orgId: 'B', roomId: idOf(0) }, messageRow())),
    db.write((tx) =>
      appendMessage(tx, { orgId: 'A', userId: 'another', roomId: idOf(0) }, messageRow()),
    ),
  ])
  expect(found).toEqual([undefined, undefined])
  await _held.release()
  await blocked
})

test("a statement that outlasts its write's deadline is rejected as busy in time and undone", async () => {
  await using db = await createRooms({ busyTimeout: 1_500 })
  const slow = (room: number) =>
    db.write(async (tx) => {
      await sql`select pg_sleep(3)`.execute(kyselyOn(tx))
      return store(tx, room)
    })
  await expect(slow(0)).rejects.toMatchObject({ reason: 'busy' })
  // One of several that share a transaction: the others are stored.
  const results = await Promise.allSettled([send(db, 3), slow(0)])
  expect(reasonsOf(results)).toEqual(['done', 'busy'])
  await expectWhole(
    db,
    results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])),
  )
})

describe('whatever is locked and freed', () => {
  let db: TestDatabase
  let others: Database[]
  const acknowledged: string[] = []

  beforeAll(async () => {
    db = await createRooms({ busyTimeout: 400 })
    others = [openDatabase({ url: db.url, busyTimeout: 400 })]
  })

  afterAll(async () => {
    await Promise.all(others.map((other) => other.close()))
    await db[Symbol.asyncDispose]()
  })

  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ send: fc.constantFrom(...ROOMS) }) },
    { weight: 1, arbitrary: fc.record({ open: fc.constantFrom(...ORGS) }) },
    { weight: 1, arbitrary: fc.record({ lockRoom: fc.constantFrom(...ROOMS) }) },
    { weight: 1, arbitrary: fc.record({ lockOrg: fc.constantFrom(...ORGS) }) },
    { weight: 1, arbitrary: fc.record({ free: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ wait: fc.integer({ min: 0, max: 60 }) }) },
  )

  test('each write is stored once or rejected', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
        const writers = [db, ...others]
        const held: Awaited<ReturnType<typeof holdLock>>[] = []
        const locked = new Set<unknown>()
        const writes: Promise<string>[] = []
        for (const [index, one] of steps.entries()) {
          const writer = writers[index % writers.length] as Database
          if ('send' in one) {
            const write = send(writer, one.send)
            write.catch(() => undefined)
            writes.push(write)
          }
          if ('open' in one) open(writer, one.open).catch(() => undefined)
          const target =
            'lockRoom' in one ? one.lockRoom : 'lockOrg' in one ? one.lockOrg : undefined
          // Another session that waits for the first would stop this one.
          if (target !== undefined && !locked.has(target)) {
            locked.add(target)
            const statement =
              typeof target === 'number' ? lockRoom(target) : lockOrganisation(target)
            held.push(await holdLock(db.url, `set lock_timeout = 2000; ${statement}`))
          }
          if ('free' in one) await held[one.free]?.release()
          if ('wait' in one) await sleep(one.wait)
        }
        const results = await Promise.allSettled(writes)
        await Promise.all(held.map((lock) => lock.release()))
        for (const result of results) {
          if (result.status === 'fulfilled') acknowledged.push(result.value)
          else expect(result.reason).toMatchObject({ reason: 'busy' })
        }
        await Promise.all(ROOMS.map(async (room) => acknowledged.push(await send(db, room))))
        await expectWhole(db, acknowledged)
      }),
      { numRuns: 4 },
    )
  })
})
