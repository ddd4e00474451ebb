import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  appendEvent,
  eventLogBounds,
  insertMessage,
  insertRoom,
  type NewEvent,
  nextPosition,
  type RoomRow,
} from '@dowell-chat/db'
import {
  type Connection,
  connectionOf,
  createSession,
  createTestDb,
  kyselyOn,
  type Statement,
  type TestDatabase,
} from '@dowell-chat/db/testing'
import type { Actor } from '../src/auth/actor.ts'
import { encodeEventCursor } from '../src/events/cursor.ts'
import type { EventStream } from '../src/events/live/eventStream.ts'
import { Live, type LiveOptions } from '../src/events/live/live.ts'
import type { RoomRef } from '../src/events/live/streamFilter.ts'
import { noCaps } from './support.ts'

export const open: Actor = { kind: 'open', via: 'http' }

export interface TestLog extends TestDatabase {
  readonly rooms: readonly RoomRef[]
  readonly epoch: string
  /** Reads that `settled` does not wait for. */
  readonly unwatched: TestDatabase['read']
  /** Commits one event for each of these rooms in one transaction. */
  append(...rooms: RoomRef[]): Promise<void>
  /** The same with a creation time. */
  appendAt(time: number, ...rooms: RoomRef[]): Promise<void>
  /** The position of the newest event of an organisation. */
  head(orgId: string): Promise<number>
  /** Resolves when no read is pending and none follows. */
  settled(): Promise<void>
  /** Deletes all events and starts again at position 0. */
  empty(): Promise<void>
}

/** The cursor of a position in an organisation's log. */
export const cursorOf = ({ epoch }: TestLog, orgId: string, position: number): string =>
  encodeEventCursor({ orgId, position, epoch })

/** An id with this number in hex. */
export const idOf = (number: number): string => number.toString(16).padStart(24, '0')

interface LogOptions {
  /** Each prepared read waits for this after it has its result. */
  readonly afterRead?: () => Promise<void>
}

/** A database with two organisations, each with four rooms: one for each of two users and two products. */
export async function createLog({ afterRead }: LogOptions = {}): Promise<TestLog> {
  const db = await createTestDb()
  const rooms: RoomRef[] = []
  for (let i = 0; i < 8; i++) {
    const ref = {
      id: idOf(i),
      orgId: i % 2 ? 'B' : 'A',
      userId: (i >> 1) % 2 ? 'bob' : 'ann',
      productName: (i >> 2) % 2 ? 'login' : 'shop',
    }
    rooms.push(ref)
    await db.write(async (tx) => {
      const { orgId } = ref
      const position = await nextPosition(tx, 'last_room_position', { orgId, now: 1 })
      await insertRoom(tx, { ...roomRow, ...columnsOf(ref), position })
      await insertMessage(tx, { ...messageRow, id: ref.id, org_id: orgId, room_id: ref.id })
    })
  }
  const { epoch } = await eventLogBounds(db.read, { orgId: 'A' })
  const { reads, connection } = watchReads(db.read, afterRead)
  let number = 0
  const appendAt = (time: number, ...rooms: RoomRef[]) =>
    db.write(async (tx) => {
      for (const room of rooms) appendEvent(tx, eventOf(room, time, ++number))
    })
  return {
    ...db,
    read: createSession(connection),
    unwatched: db.read,
    rooms,
    epoch,
    append: (...rooms) => appendAt(1, ...rooms),
    appendAt,
    async head(orgId) {
      const row = await kyselyOn(db.read)
        .selectFrom('organisations')
        .select('last_event_position as head')
        .where('id', '=', orgId)
        .executeTakeFirstOrThrow()
      return row.head
    },
    async settled() {
      for (let before = -1; before !== reads.begun; ) {
        before = reads.begun
        await Promise.allSettled(reads.pending)
        // A reader starts its next read within one turn of the event loop.
        for (let i = 0; i < 2; i++) await nextTurn()
      }
    },
    empty() {
      number = 0
      return db.write(async (tx) => {
        await kyselyOn(tx).deleteFrom('events').execute()
        await kyselyOn(tx).updateTable('organisations').set({ last_event_position: 0 }).execute()
      })
    },
  }
}

/** Counts reads and tracks the pending ones. */
function watchReads(session: TestDatabase['read'], afterRead: LogOptions['afterRead']) {
  const inner = connectionOf(session)
  const reads = { begun: 0, pending: new Set<Promise<unknown>>() }
  const run = async (statement: Statement) => inner.execute(statement)
  const connection: Connection = {
    dialect: inner.dialect,
    execute(statement) {
      const read = run(statement)
        .finally(afterRead)
        .finally(() => reads.pending.delete(read))
      reads.begun++
      reads.pending.add(read)
      return read
    },
  }
  return { reads, connection }
}

function eventOf({ orgId, id }: RoomRef, time: number, number: number): NewEvent {
  const event = { org_id: orgId, room_id: id, created_at: time }
  if (number % 3 === 0) return { ...event, type: 'room.updated' }
  if (number % 3 === 1) return { ...event, type: 'message.created', message_seq: 1 }
  return { ...event, type: 'marker.moved', marker_seq: number, user_id: 'ann', side: 1 }
}

function columnsOf({ id, orgId, userId, productName }: RoomRef) {
  return { id, org_id: orgId, user_id: userId, product_name: productName }
}

const roomRow = {
  event_id: 'FB10100000001693018738#5535526',
  portfolio_name: 'umair',
  room_room_id: '13-ann',
  is_active: 1,
  last_seq: 1,
  last_message: 'message',
  created_at: 1,
  updated_at: 1,
  version: 1,
  support_count: 0,
  subject: null,
  status: 'open',
  assignee: null,
  labels: '[]',
  custom: '{}',
  last_message_seq: 1,
  last_message_type: 'text',
  last_message_side: 0,
  last_message_author: 'ann',
  last_message_at: 1,
} satisfies Partial<RoomRow>

const messageRow = {
  seq: 1,
  side: 0,
  author: 'ann',
  message_type: 'text',
  message_data: 'message',
  client_message_id: null,
  is_active: 1,
  created_at: 1,
  support_count: 0,
  edited_at: null,
  deleted_at: null,
  text_version: 1,
} as const

/** A separate registry of streams, as of another process: `using live = createLive(log)`. */
export function createLive(log: TestLog, options: Partial<LiveOptions> = {}): Live & Disposable {
  const live = new Live(log, {
    clock: () => 1,
    findRevoked: async () => new Set(),
    hiddenFromCustomers: async () => ({}),
    onError(error) {
      throw error
    },
    caps: noCaps,
    lifetime: 1_000_000,
    ...options,
  })
  return Object.assign(live, { [Symbol.dispose]: () => live.close() })
}

/** Takes the next batch of a stream. @throws Error when the stream has ended */
export async function take(stream: EventStream) {
  const events = await stream.next()
  if (!events) throw new Error('the stream has ended')
  return events
}
