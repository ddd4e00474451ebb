import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  appendMessage,
  type Database,
  findReadMarker,
  findRoom,
  insertRoom,
  moveReadMarker,
  newestReadMarkers,
  nextPosition,
  unreadCounts,
} from '../src/index.ts'
import { createTestDb, kyselyOn, runs } from '../src/testing.ts'
import { idOf, messageRow, roomRow } from './support.ts'

const ORGS = ['A', 'B'] as const
const ROOMS_EACH = 2

/** A room, and the sides of its messages that are not deleted, by `seq`. */
interface ModelRoom {
  readonly orgId: string
  readonly roomId: string
  readonly messages: { side: boolean; isDeleted: boolean }[]
  readonly markers: Map<string, number>
}

interface Reader {
  readonly userId: string
  readonly side: boolean
}

type Operation =
  | { kind: 'send'; room: number; side: boolean }
  | { kind: 'delete'; room: number; seq: number }
  | { kind: 'mark'; room: number; seq: number; reader: Reader }

const which = fc.nat({ max: ORGS.length * ROOMS_EACH - 1 })
const seq = fc.nat({ max: 12 })
const readers = fc.record({ userId: fc.constantFrom('ann', 'bob'), side: fc.boolean() })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('send'), room: which, side: fc.boolean() }),
  },
  fc.record({ kind: fc.constant('delete'), room: which, seq }),
  fc.record({ kind: fc.constant('mark'), room: which, seq, reader: readers }),
)

const keyOf = ({ userId, side }: Reader) => `${side} ${userId}`

function unreadOf({ messages, markers }: ModelRoom, reader: Reader): number {
  const read = markers.get(keyOf(reader)) ?? 0
  const after = messages.slice(read)
  return after.filter(({ side, isDeleted }) => side !== reader.side && !isDeleted).length
}

async function createRooms(db: Database): Promise<ModelRoom[]> {
  const rooms: ModelRoom[] = []
  for (const orgId of ORGS) {
    for (let i = 0; i < ROOMS_EACH; i++) {
      const id = idOf(rooms.length + 1)
      await db.write(async (tx) => {
        const position = await nextPosition(tx, 'last_room_position', { orgId, now: 0 })
        const row = roomRow({ id, org_id: orgId, position, user_id: `user ${i}` })
        await insertRoom(tx, row)
      })
      rooms.push({ orgId, roomId: id, messages: [], markers: new Map() })
    }
  }
  return rooms
}

let ids = 0

async function send(db: Database, { orgId, roomId }: ModelRoom, side: boolean): Promise<void> {
  await db.write(async (tx) => {
    const message = messageRow({ id: idOf(++ids), side: side ? 1 : 0 })
    if (!(await appendMessage(tx, { orgId, roomId }, message))) throw new Error('the room is gone')
  })
}

test('markers and unread counts match the model after any sequence of changes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
      await using db = await createTestDb()
      const rooms = await createRooms(db)
      const told: unknown[] = []
      const wanted: unknown[] = []
      // All at once: writes happen in the order in which they were asked for.
      await Promise.all(
        operations.map(async (step) => {
          const room = rooms[step.room] as ModelRoom
          const { orgId, roomId } = room
          if (step.kind === 'send') {
            room.messages.push({ side: step.side, isDeleted: false })
            await send(db, room, step.side)
          } else if (step.kind === 'delete') {
            const message = room.messages[step.seq - 1]
            if (message) message.isDeleted = true
            await db.write((tx) =>
              kyselyOn(tx)
                .updateTable('messages')
                .set({ is_active: 0 })
                .where('room_id', '=', roomId)
                .where('seq', '=', step.seq)
                .execute(),
            )
          } else {
            const { reader } = step
            const before = room.markers.get(keyOf(reader)) ?? -1
            const seq = Math.min(step.seq, room.messages.length)
            const index = wanted.push(seq > before ? seq : undefined) - 1
            room.markers.set(keyOf(reader), Math.max(before, seq))
            const moved = await db.write((tx) =>
              moveReadMarker(tx, { orgId, roomId, ...reader, seq, now: 1 }),
            )
            told[index] = moved?.seq
          }
        }),
      )
      expect(told).toEqual(wanted)
      for (const userId of ['ann', 'bob']) {
        for (const side of [true, false]) {
          const reader = { userId, side }
          for (const orgId of ORGS) {
            // The rooms of the other organisation are asked for as well, and are not there.
            const roomIds = [...rooms.map(({ roomId }) => roomId), idOf(999)]
            const own = rooms.filter((room) => room.orgId === orgId)
            expect(await unreadCounts(db.read, { orgId, roomIds, ...reader })).toEqual(
              new Map(own.map((room) => [room.roomId, unreadOf(room, reader)])),
            )
          }
          for (const { orgId, roomId, markers } of rooms) {
            const marker = await findReadMarker(db.read, { orgId, roomId, ...reader })
            expect(marker?.seq).toBe(markers.get(keyOf(reader)))
          }
        }
      }
    }),
    { numRuns: runs(40, 10) },
  )
})

test('the newest markers of a room come first, and those of other rooms do not come', async () => {
  await using db = await createTestDb()
  const [room, other] = (await createRooms(db)) as [ModelRoom, ModelRoom]
  const mark = ({ orgId, roomId }: ModelRoom, userId: string, now: number) =>
    db.write((tx) => moveReadMarker(tx, { orgId, roomId, userId, side: true, seq: now, now }))
  await mark(room, 'ann', 1)
  await mark(room, 'bob', 2)
  await mark(room, 'cleo', 3)
  await mark(other, 'dora', 4)
  await mark(room, 'ann', 5)
  const { orgId, roomId } = room
  const namesOf = async (where: { orgId: string; limit: number }) =>
    (await newestReadMarkers(db.read, { roomId, ...where })).map(({ user_id }) => user_id)
  expect(await namesOf({ orgId, limit: 100 })).toEqual(['ann', 'cleo', 'bob'])
  expect(await namesOf({ orgId, limit: 2 })).toEqual(['ann', 'cleo'])
  expect(await namesOf({ orgId: 'B', limit: 100 })).toEqual([])
})

test('a snapshot sees one state, and ends also after an error', async () => {
  await using db = await createTestDb()
  const [room] = (await createRooms(db)) as [ModelRoom]
  const { orgId, roomId } = room
  const lastSeq = async (reader: Database['read']) =>
    (await findRoom(reader, { orgId, roomId }))?.last_seq
  const seen = await db.snapshot(async (reader) => {
    const before = await lastSeq(reader)
    await send(db, room, true)
    return [before, await lastSeq(reader)]
  })
  expect(seen).toEqual([0, 0])
  expect(await lastSeq(db.read)).toBe(1)

  const failing = db.snapshot(async (reader) => {
    await lastSeq(reader)
    throw new Error('not this time')
  })
  await expect(failing).rejects.toThrow('not this time')
  await send(db, room, true)
  // An open read transaction would still see the old state.
  expect(await lastSeq(db.read)).toBe(2)
})
