import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import {
  appendEvent,
  deleteEvents,
  type EventFilter,
  type EventRow,
  eventLogBounds,
  eventLogHeads,
  eventLogsAfter,
  eventsInScope,
  insertMessage,
  insertRoom,
  type MessageRow,
  type NewEvent,
  nextPosition,
  oldestEvents,
  type RoomRow,
} from '../src/index.ts'
import { createTestDb, kyselyOn, runs, type TestDatabase } from '../src/testing.ts'
import { idOf, messageRow, roomRow } from './support.ts'

const orgs = ['A', 'B'] as const
const users = ['ann', 'bob']
const products = ['shop', 'login']

/** Two organisations with eight rooms each, of each user and product two, and a message in each. */
async function createRooms(): Promise<
  TestDatabase & { rooms: readonly RoomRow[]; messages: readonly MessageRow[] }
> {
  const db = await createTestDb()
  const rooms: RoomRow[] = []
  const messages: MessageRow[] = []
  await db.write(async (tx) => {
    for (let i = 0; i < 16; i++) {
      const org_id = orgs[i % 2] as string
      const row = roomRow({
        id: idOf(i),
        org_id,
        position: await nextPosition(tx, 'last_room_position', { orgId: org_id, now: 1 }),
        user_id: users[(i >> 1) % 2] as string,
        product_name: products[(i >> 2) % 2] as string,
        is_active: i < 8 ? 1 : 0,
        last_seq: 1,
        custom: `{"number":${i}}`,
      })
      rooms.push(await insertRoom(tx, row))
      const message = messageRow({ id: idOf(i), org_id, room_id: row.id, author: `author ${i}` })
      messages.push(message)
      await insertMessage(tx, message)
    }
  })
  return { ...db, rooms, messages }
}

async function empty(): Promise<void> {
  await db.write(async (tx) => {
    await kyselyOn(tx).deleteFrom('events').execute()
    await kyselyOn(tx).updateTable('organisations').set({ last_event_position: 0 }).execute()
  })
}

let db: Awaited<ReturnType<typeof createRooms>>
beforeAll(async () => {
  db = await createRooms()
})
beforeEach(empty)
afterAll(() => db[Symbol.asyncDispose]())

const logOf = (orgId: string, reader = db.read): Promise<EventRow[]> =>
  kyselyOn(reader)
    .selectFrom('events')
    .selectAll()
    .where('org_id', '=', orgId)
    .orderBy('position')
    .execute()

function eventOf(room: RoomRow, number: number): NewEvent {
  const event = { org_id: room.org_id, room_id: room.id, created_at: number }
  if (number % 3 === 0) return { ...event, type: 'room.updated' }
  if (number % 3 === 1) return { ...event, type: 'message.created', message_seq: 1 }
  return { ...event, type: 'marker.moved', marker_seq: number, user_id: 'ann', side: 1 }
}

const asRow = (event: NewEvent, position: number): EventRow => ({
  message_seq: null,
  marker_seq: null,
  user_id: null,
  side: null,
  ...event,
  position,
})

test('the log of a scope matches the model for every filter', async () => {
  const filter = fc.record({
    userId: fc.option(fc.constantFrom(...users, 'nobody'), { nil: undefined }),
    productName: fc.option(fc.constantFrom(...products, 'nothing'), { nil: undefined }),
    // With rooms of another organisation, of none at all, and twice the same.
    roomIds: fc.option(fc.array(fc.integer({ min: 0, max: 17 }).map(idOf), { maxLength: 6 }), {
      nil: undefined,
    }),
  })
  const range = fc.record({
    orgId: fc.constantFrom(...orgs, 'nobody'),
    after: fc.integer({ min: 0, max: 60 }),
    upTo: fc.oneof(fc.integer({ min: 0, max: 60 }), fc.constant(Number.MAX_SAFE_INTEGER)),
    limit: fc.integer({ min: 1, max: 8 }),
  })
  const { epoch } = await eventLogBounds(db.read, { orgId: 'A' })
  const happened = fc.array(fc.integer({ min: 0, max: 15 }), { maxLength: 120 })
  await fc.assert(
    fc.asyncProperty(
      happened,
      fc.array(fc.tuple(range, filter), { minLength: 5, maxLength: 20 }),
      async (where, questions) => {
        await empty()
        const events = where.map((at, i) => eventOf(db.rooms[at] as RoomRow, i))
        await db.write(async (tx) => {
          for (const event of events) appendEvent(tx, event)
        })
        for (const [range, filter] of questions) {
          const { orgId, after, upTo, limit } = range
          const wanted = events
            .filter((event) => event.org_id === orgId)
            .map((event, i) => ({
              event: asRow(event, i + 1),
              room: db.rooms.find((room) => room.id === event.room_id) as RoomRow,
              message: event.message_seq
                ? db.messages.find((message) => message.room_id === event.room_id)
                : undefined,
              epoch,
            }))
            .filter(({ event }) => event.position > after && event.position <= upTo)
            .filter(({ room }) => isIn(room, filter))
            .slice(0, limit)
          const asked = { ...range, ...filter, maxBytes: Number.MAX_SAFE_INTEGER }
          const { events: found, isComplete } = await eventsInScope(db.read, asked)
          expect(found).toEqual(wanted)
          expect(isComplete).toBe(wanted.length < limit)
        }
      },
    ),
    { numRuns: runs(60, 20) },
  )
})

function isIn(room: RoomRow, { userId, productName, roomIds }: EventFilter): boolean {
  return (
    (userId === undefined || room.user_id === userId) &&
    (productName === undefined || room.product_name === productName) &&
    (roomIds === undefined || roomIds.includes(room.id))
  )
}

test('the bounds of a log are right while it grows and events are deleted', async () => {
  const [a, b] = db.rooms as [RoomRow, RoomRow]
  const bounds = (orgId: string) => eventLogBounds(db.read, { orgId })
  const forget = (orgId: string, upTo: number) =>
    db.write((tx) => deleteEvents(tx, { orgId, upTo }))
  const append = (room: RoomRow, ...times: number[]) =>
    db.write(async (tx) => {
      for (const time of times) appendEvent(tx, eventOf(room, time))
    })
  expect(await bounds('A')).toMatchObject({ head: 0, floor: 0 })
  expect(await bounds('nobody')).toMatchObject({ head: 0, floor: 0 })
  await append(a, 10, 20, 30)
  await append(b, 15)
  expect(await bounds('A')).toMatchObject({ head: 3, floor: 0 })
  const ids = ['A', 'nobody', 'B']
  const { epoch } = await bounds('A')
  const heads = await eventLogHeads(db.read, ids)
  expect(heads.sort((one, other) => (one.orgId < other.orgId ? -1 : 1))).toEqual([
    { orgId: 'A', head: 3, epoch },
    { orgId: 'B', head: 1, epoch },
    { orgId: 'nobody', head: 0, epoch },
  ])
  expect(await eventLogHeads(db.read, [])).toEqual([])
  expect(await oldestEvents(db.read, { orgId: 'A', limit: 2 })).toEqual([
    { position: 1, created_at: 10 },
    { position: 2, created_at: 20 },
  ])

  await forget('A', 2)
  expect(await bounds('A')).toMatchObject({ head: 3, floor: 2 })
  expect(await bounds('B')).toMatchObject({ head: 1, floor: 0 })
  expect(await eventLogsAfter(db.read, { orgId: '', limit: 9 })).toEqual([
    { orgId: 'A', oldest: 30 },
    { orgId: 'B', oldest: 15 },
  ])
  // A log that forgot everything still knows how far it came, and goes on from there.
  await forget('A', 3)
  expect(await bounds('A')).toMatchObject({ head: 3, floor: 3 })
  await append(a, 40)
  expect(await bounds('A')).toMatchObject({ head: 4, floor: 3 })
  await forget('B', 99)
  expect(await eventLogsAfter(db.read, { orgId: '', limit: 1 })).toEqual([
    { orgId: 'A', oldest: 40 },
  ])
  expect(await eventLogsAfter(db.read, { orgId: 'A', limit: 1 })).toEqual([
    { orgId: 'B', oldest: null },
  ])
  expect(await eventLogsAfter(db.read, { orgId: 'B', limit: 1 })).toEqual([])
})

interface Job {
  readonly rooms: readonly number[]
  readonly ending: 'returns' | 'throws' | 'bomb'
}

const job: fc.Arbitrary<Job> = fc.record({
  rooms: fc.array(fc.integer({ min: 0, max: 15 }), { maxLength: 3 }),
  ending: fc.oneof(
    { weight: 5, arbitrary: fc.constant('returns' as const) },
    { weight: 2, arbitrary: fc.constantFrom('throws' as const, 'bomb' as const) },
  ),
})

test('the log has each event of a successful write once and without gaps, and listeners are called after the commit', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(job, { maxLength: 12 }), { maxLength: 4 }), async (run) => {
      await empty()
      // The log of each notified organisation, as its listener reads it.
      const told = new Map<string, Promise<EventRow[]>>()
      let calls = 0
      const stop = db.onEvents((orgIds) => {
        calls++
        for (const orgId of orgIds) told.set(orgId, logOf(orgId))
      })
      const wanted: NewEvent[] = []
      let number = 0
      for (const batch of run) {
        told.clear()
        const before = wanted.length
        const results = await Promise.allSettled(
          batch.map(({ rooms, ending }) => {
            const events = rooms.map((at) => eventOf(db.rooms[at] as RoomRow, number++))
            if (ending === 'returns') wanted.push(...events)
            return db.write(async (tx) => {
              const before = calls
              for (const event of events) appendEvent(tx, event)
              // Ends the whole transaction, as a full disk does: the writes that share it run again.
              if (ending === 'bomb') await sql`rollback`.execute(kyselyOn(tx))
              if (ending !== 'returns') throw new Error('mine')
              // Listeners are not called before the commit.
              expect(calls).toBe(before)
            })
          }),
        )
        expect(results.map(({ status }) => status === 'fulfilled')).toEqual(
          batch.map(({ ending }) => ending === 'returns'),
        )
        const grown = new Set(wanted.slice(before).map((event) => event.org_id))
        expect(new Set(told.keys())).toEqual(grown)
        for (const orgId of orgs) {
          const own = wanted.filter((event) => event.org_id === orgId)
          const log = own.map((event, i) => asRow(event, i + 1))
          expect(await logOf(orgId)).toEqual(log)
          expect((await told.get(orgId)) ?? log).toEqual(log)
        }
      }
      stop()
    }),
    { numRuns: runs(60, 20) },
  )
})

test("a write that starts after another one's answer comes after it in the log", async () => {
  let time = 0
  // More at once than share a commit.
  const writes = await Promise.all(
    Array.from({ length: 600 }, async (_, client) => {
      const own = []
      for (let i = 0; i < 2; i++) {
        const event = eventOf(db.rooms[(client * 7) % 16] as RoomRow, 2 * client + i)
        const asked = time++
        await db.write(async (tx) => appendEvent(tx, event))
        own.push({ event, asked, answered: time++ })
      }
      return own
    }),
  )
  for (const orgId of orgs) {
    const own = writes.flat().filter(({ event }) => event.org_id === orgId)
    const log = await logOf(orgId)
    expect(log.map(({ position }) => position)).toEqual(own.map((_, i) => i + 1))
    const byTime = new Map(own.map((write) => [write.event.created_at, write]))
    // From the end of the log: nothing was asked for after the answer to anything that stands behind it.
    let answered = Number.POSITIVE_INFINITY
    for (const row of log.toReversed()) {
      const write = byTime.get(row.created_at)
      if (!write) throw new Error('an event that nobody appended, or twice the same')
      byTime.delete(row.created_at)
      expect(row).toEqual(asRow(write.event, row.position))
      expect(write.asked).toBeLessThan(answered)
      answered = Math.min(answered, write.answered)
    }
    expect(await eventLogBounds(db.read, { orgId })).toMatchObject({ head: 600, floor: 0 })
  }
})

test('an event is appended during a write only', async () => {
  const [room] = db.rooms as [RoomRow]
  const refused = 'events are appended in a write'
  // @ts-expect-error A session takes no events.
  expect(() => appendEvent(db.read, eventOf(room, 1))).toThrow(refused)
  const tx = await db.write(async (tx) => tx)
  expect(() => appendEvent(tx, eventOf(room, 1))).toThrow(refused)
  expect(await logOf('A')).toEqual([])
})

test('an event of a missing organisation fails the writes of its commit', async () => {
  const [room] = db.rooms as [RoomRow]
  const append = (event: NewEvent) => db.write(async (tx) => appendEvent(tx, event))
  const results = await Promise.allSettled([
    append(eventOf(room, 1)),
    append({ ...eventOf(room, 2), org_id: 'nobody' }),
  ])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await logOf('A')).toEqual([])
  await append(eventOf(room, 3))
  expect(await logOf('A')).toEqual([asRow(eventOf(room, 3), 1)])
})

test('listeners are called only for commits with events', async () => {
  const [a, b] = db.rooms as [RoomRow, RoomRow]
  const told: string[][] = []
  const stop = db.onEvents((orgIds) => void told.push([...orgIds].sort()))
  await db.write((tx) => nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 }))
  expect(told).toEqual([])
  const append = (...rooms: RoomRow[]) =>
    db.write(async (tx) => {
      for (const room of rooms) appendEvent(tx, eventOf(room, 0))
    })
  await append(a)
  await Promise.all([append(a), append(b), append(a, b)])
  expect(told).toEqual([['A'], ['A', 'B']])
  stop()
  await append(a)
  expect(told.length).toBe(2)
})

test('a listener that throws causes a warning and disturbs neither writes nor other listeners', async () => {
  const [room] = db.rooms as [RoomRow]
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  onTestFinished(() => warn.mockRestore())
  const cause = new Error('mine')
  let told = 0
  const stops = [
    db.onEvents(() => {
      throw cause
    }),
    db.onEvents(() => void told++),
  ]
  onTestFinished(() => {
    for (const stop of stops) stop()
  })
  for (let i = 1; i <= 3; i++) {
    await db.write(async (tx) => appendEvent(tx, eventOf(room, i)))
    expect(told).toBe(i)
  }
  expect(warn.mock.calls).toMatchObject([[{ cause }], [{ cause }], [{ cause }]])
  expect((await logOf('A')).length).toBe(3)
})

test('a process that is killed while it writes leaves one event for each message, without a gap', async () => {
  await using db = await createRooms()
  const script = fileURLToPath(new URL('./writeUntilKilled.ts', import.meta.url))
  let answered = 0
  for (let round = 1; round <= runs(4, 2); round++) {
    const args = [script, db.url, `${round}000000`]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const ended = once(child, 'close')
    const enough = answered + 150 * round
    child.stdout.on('data', (dots) => {
      answered += dots.length
      if (answered >= enough) child.kill('SIGKILL')
    })
    expect(await ended).toEqual([null, 'SIGKILL'])

    // The server may still commit the last statement.
    const messages = await db.snapshot(async (db) => {
      let messages = 0
      for (const orgId of orgs) {
        const events = await logOf(orgId, db)
        expect(events.map(({ position }) => position)).toEqual(events.map((_, i) => i + 1))
        expect(await eventLogBounds(db, { orgId })).toMatchObject({ head: events.length })
        const stored = await kyselyOn(db)
          .selectFrom('messages')
          .select(['room_id', 'seq'])
          .where('org_id', '=', orgId)
          .where('seq', '>', 1)
          .execute()
        const inOrder = (of: { room_id: string; seq: number | null }[]) =>
          of.map(({ room_id, seq }) => `${room_id} ${seq}`).sort()
        expect(inOrder(events.map((event) => ({ ...event, seq: event.message_seq })))).toEqual(
          inOrder(stored),
        )
        messages += stored.length
      }
      return messages
    })
    // Every answered write is stored.
    expect(messages).toBeGreaterThanOrEqual(answered)
  }
})
