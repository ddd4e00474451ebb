import { type Database, openDatabase, type Session } from '@dowell-chat/db'
import { connectionOf, createSession, createTestDb, runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { onRoomEvents } from '../src/events/onRoomEvents.ts'
import type { Event } from '../src/events/schema.ts'
import type { Deps } from '../src/operation/context.ts'
import { AppError } from '../src/operation/errors.ts'
import { createCaller, type Outputs } from '../src/operation/trpc.ts'
import { createContext, createDeps, pause, run } from './support.ts'

type Snapshot = Outputs['getRoomSnapshot']

type Operation =
  | { kind: 'send'; side: boolean }
  | { kind: 'mark'; seq: number; userId: string; side: boolean }
  | { kind: 'activate'; isActive: boolean }
  | { kind: 'snapshot' }
  /** Lets pending work continue for a while. */
  | { kind: 'pause'; times: number }

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('send'), side: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('mark'),
      seq: fc.nat({ max: 20 }),
      userId: fc.constantFrom('ann', 'bob'),
      side: fc.boolean(),
    }),
  },
  fc.record({ kind: fc.constant('activate'), isActive: fc.boolean() }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('snapshot') }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pause'), times: fc.integer({ min: 1, max: 12 }) }),
  },
)

const caller = (deps: Deps) => createCaller(createContext(deps))

/** Pauses after each read, so that others write in between. */
function withSlowReads(db: Database, pause: () => Promise<void>): Database {
  const slow = (reader: Session) => {
    const connection = connectionOf(reader)
    return createSession({
      dialect: connection.dialect,
      async execute(statement) {
        const rows = await connection.execute(statement)
        await pause()
        await pause()
        return rows
      },
    })
  }
  return {
    ...db,
    read: slow(db.read),
    snapshot: (job) => db.snapshot((reader) => job(slow(reader))),
  }
}

/** The events of the room after a cursor. */
async function eventsAfter(deps: Deps, roomId: string, after: string): Promise<Event[]> {
  const stream = await run(deps, { kind: 'open', via: 'http' }, onRoomEvents, { roomId, after })
  const events: Event[] = []
  for (;;) {
    for (const event of (await stream.next()) ?? []) {
      if (event.type === 'ready') {
        stream.leave()
        return events
      }
      events.push(event as Event)
    }
  }
}

/** The part of a room that a client derives from events. */
function viewOf({ room, messages, markers }: Snapshot) {
  return {
    isActive: room.isActive,
    messages: messages.items,
    markers: new Map(markers.map(({ userId, side, seq }) => [`${userId} ${side}`, seq])),
  }
}

function apply(view: ReturnType<typeof viewOf>, event: Event): void {
  switch (event.type) {
    case 'room.deleted':
    case 'room.restored':
      // An event that the snapshot contains already would change nothing.
      expect(event.type === 'room.restored').not.toBe(view.isActive)
      view.isActive = event.type === 'room.restored'
      return
    case 'message.created':
      expect(event.message.seq).toBe(view.messages.length + 1)
      view.messages.push(event.message)
      return
    case 'marker.moved': {
      const { userId, side, seq } = event.marker
      const key = `${userId} ${side}`
      expect(seq).toBeGreaterThan(view.markers.get(key) ?? -1)
      view.markers.set(key, seq)
      return
    }
    default:
      throw new Error(`${event.type} is not expected in this test`)
  }
}

test('a snapshot and the events after its cursor give the current room, without duplicates', async () => {
  await using db = await createTestDb()
  const deps = createDeps(db)
  // Half of the writes come from another connection pool, as from another process.
  const elsewhere = createDeps(openDatabase({ url: db.url }))
  const writers = [caller(deps), caller(elsewhere)]
  // The snapshots may occupy all connections of the first pool.
  const briefly = () => pause(elsewhere.db)
  const reader = caller({ ...deps, db: withSlowReads(db, briefly) })
  let rooms = 0
  let taken = 0
  let between = 0
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 50 }), async (operations) => {
      const orgId = `org ${rooms++}`
      const identity = { userId: 'ann', orgId, portfolioName: 'p', productName: 'q' }
      const { room } = await caller(deps).createRoom(identity)
      const roomId = room.id
      const snapshots: Promise<Snapshot>[] = []
      const writes: Promise<unknown>[] = []
      for (const [index, step] of operations.entries()) {
        const writer = writers[index % 2] as (typeof writers)[number]
        switch (step.kind) {
          case 'send': {
            const { side } = step
            const message = { roomId, side, author: 'ann', messageData: `${index}` }
            writes.push(writer.createMessage(message).catch(expectRoomClosed))
            break
          }
          case 'mark': {
            const { seq, userId: readerId, side: readerSide } = step
            writes.push(writer.markRead({ roomId, seq, readerId, readerSide }))
            break
          }
          case 'activate':
            writes.push(writer.deleteRoom({ roomId, isActive: step.isActive }))
            break
          case 'snapshot':
            snapshots.push(reader.getRoomSnapshot({ roomId, limit: 200 }))
            break
          case 'pause':
            for (let i = 0; i < step.times; i++) await briefly()
        }
      }
      await Promise.all(writes)
      const last = await caller(deps).getRoomSnapshot({ roomId, limit: 200 })
      for (const snapshot of await Promise.all(snapshots)) {
        const view = viewOf(snapshot)
        const events = await eventsAfter(deps, roomId, snapshot.cursor)
        for (const event of events) apply(view, event)
        expect(view).toEqual(viewOf(last))
        taken++
        if (events.length > 0 && snapshot.position > 1) between++
      }
    }),
    { numRuns: runs(60, 30) },
  )
  deps.live.close()
  elsewhere.live.close()
  await elsewhere.db.close()
  // Proves that some snapshots were taken between writes.
  expect(taken).toBeGreaterThan(20)
  expect(between).toBeGreaterThan(3)
})

function expectRoomClosed(error: unknown): void {
  if (!(error instanceof Error && error.cause instanceof AppError)) throw error
  expect(error.cause.code).toBe('ROOM_CLOSED')
}
