import fc from 'fast-check'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import {
  appendEvent,
  appendMessage,
  type EventRow,
  type EventType,
  insertRoom,
  nextPosition,
  type Transaction,
} from '../src/index.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../src/testing.ts'
import { idOf, messageRow, roomRow } from './support.ts'

const orgs = ['A', 'B', 'C']

/** Two rooms in each of three organisations. */
async function createRooms(): Promise<TestDatabase> {
  const db = await createTestDb()
  await db.write(async (tx) => {
    for (let room = 0; room < 6; room++) {
      const orgId = orgs[room % 3] as string
      const position = await nextPosition(tx, 'last_room_position', { orgId, now: 1 })
      await insertRoom(
        tx,
        roomRow({ id: idOf(room), org_id: orgId, position, user_id: `user ${room}` }),
      )
    }
  })
  return db
}

let ids = 0

/** @returns the room and position of the new message */
async function send(tx: Transaction, room: number): Promise<string> {
  const where = { orgId: orgs[room % 3] as string, roomId: idOf(room) }
  const message = await appendMessage(tx, where, messageRow({ id: idOf(++ids) }))
  if (!message) throw new Error('no room')
  const { org_id, room_id, seq } = message
  const event = { org_id, room_id, message_seq: seq, created_at: 1 }
  appendEvent(tx, { ...event, type: 'message.created' })
  return `${room_id} ${seq}`
}

/** A statement that fails, and with it, on PostgreSQL, all that come after it. */
const fail = (tx: Transaction) => sql`insert into rooms select * from rooms`.execute(kyselyOn(tx))

type Ending =
  | 'returns'
  | 'throws'
  | 'fails'
  /** Goes on as if nothing had happened, against the rules. */
  | 'hides a failure'

async function perform(
  tx: Transaction,
  rooms: readonly number[],
  ending: Ending,
): Promise<string[]> {
  const sent: string[] = []
  for (const room of rooms) sent.push(await send(tx, room))
  if (ending === 'throws') throw new Error('mine')
  if (ending === 'fails') await fail(tx)
  if (ending === 'hides a failure') await fail(tx).catch(() => undefined)
  return sent
}

const logOf = (db: TestDatabase, orgId: string): Promise<EventRow[]> =>
  kyselyOn(db.read)
    .selectFrom('events')
    .selectAll()
    .where('org_id', '=', orgId)
    .orderBy('position')
    .execute()

test('whichever writes of a batch fail, the others are stored without gaps in rooms and logs', async () => {
  await using db = await createRooms()
  const job = fc.record({
    rooms: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
    ending: fc.oneof(
      { weight: 5, arbitrary: fc.constant<Ending>('returns') },
      { weight: 3, arbitrary: fc.constantFrom<Ending>('throws', 'fails', 'hides a failure') },
    ),
  })
  const told: string[] = []
  await fc.assert(
    fc.asyncProperty(fc.array(job, { minLength: 2, maxLength: 12 }), async (batch) => {
      const results = await Promise.allSettled(
        batch.map(({ rooms, ending }) =>
          db.write((tx) => perform(tx, rooms, ending)).then((sent) => told.push(...sent)),
        ),
      )
      for (const [index, { ending }] of batch.entries()) {
        // SQLite undoes a failed statement alone, so there is nothing to hide.
        if (ending === 'hides a failure') continue
        expect(results[index]?.status).toBe(ending === 'returns' ? 'fulfilled' : 'rejected')
      }
      const logs = await Promise.all(orgs.map((orgId) => logOf(db, orgId)))
      for (const log of logs) {
        expect(log.map(({ position }) => position)).toEqual(log.map((_, i) => i + 1))
      }
      const logged = logs.flat()
      expect(logged.map((event) => `${event.room_id} ${event.message_seq}`).sort()).toEqual(
        told.toSorted(),
      )
      for (const own of Map.groupBy(logged, (event) => event.room_id).values()) {
        expect(own.map((event) => event.message_seq)).toEqual(own.map((_, i) => i + 1))
      }
    }),
    { numRuns: 40 },
  )
})

test('events are stored unchanged, whatever their text', async () => {
  await using db = await createRooms()
  const text = fc.oneof(
    fc.constantFrom('', 'NULL', 'null', '{}', '{"a",b}', '\\', '"', "'", '\u{1f600}', '\n,\t'),
    fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
  )
  const event = fc.record({
    room: fc.integer({ min: 0, max: 5 }),
    type: fc.constantFrom<EventType>('message.created', 'marker.moved', 'room.updated'),
    message_seq: fc.option(fc.integer({ min: 1, max: 2 ** 40 })),
    marker_seq: fc.option(fc.nat()),
    user_id: fc.option(text),
    side: fc.option(fc.constantFrom<0 | 1>(0, 1)),
    created_at: fc.nat(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 20 }), async (given) => {
      const logs = () => Promise.all(orgs.map((orgId) => logOf(db, orgId)))
      const before = await logs()
      const events = given.map(({ room, ...event }) => ({
        ...event,
        org_id: orgs[room % 3] as string,
        room_id: idOf(room),
      }))
      await db.write(async (tx) => {
        for (const event of events) appendEvent(tx, event)
      })
      const wanted = orgs.map((orgId, i) => {
        const log = [...(before[i] as EventRow[])]
        for (const event of events) {
          if (event.org_id === orgId) log.push({ ...event, position: log.length + 1 })
        }
        return log
      })
      expect(await logs()).toEqual(wanted)
    }),
    { numRuns: 50 },
  )
})

test('invalid Unicode fails no other write of the commit', async () => {
  await using db = await createRooms()
  const event = { org_id: 'A', room_id: idOf(0), created_at: 1 }
  await Promise.all([
    db.write((tx) => send(tx, 0)),
    db.write(async (tx) => appendEvent(tx, { ...event, type: 'marker.moved', user_id: '\ud800' })),
  ])
  expect((await logOf(db, 'A')).length).toBe(2)
})

test('built and prepared queries run in the order of the calls', async () => {
  await using db = await createRooms()
  const write = async (tx: Transaction) => {
    const before = await sql<{ n: number }>`select count(*) as n from messages`.execute(
      kyselyOn(tx),
    )
    await send(tx, 0)
    const after = await kyselyOn(tx)
      .selectFrom('messages')
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow()
    return [before.rows[0]?.n, after.n]
  }
  expect(await Promise.all([db.write(write), db.write(write), db.write(write)])).toEqual([
    [0, 1],
    [1, 2],
    [2, 3],
  ])
})
