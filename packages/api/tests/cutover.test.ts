import { kyselyOn, runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EventStream } from '../src/events/live/eventStream.ts'
import type { Live } from '../src/events/live/live.ts'
import type { RoomRef, StreamFilter } from '../src/events/live/streamFilter.ts'
import type { StreamEvent } from '../src/events/schema.ts'
import { createLive, createLog, cursorOf, open, type TestLog } from './log.ts'
import { pause } from './support.ts'

/** Small, so that a few events exceed them. */
const limits = {
  pending: 3,
  pendingCharacters: 1_000_000,
  page: 2,
  window: 5,
  replay: 10_000,
  reads: 10_000,
}

interface Opening {
  readonly orgId: string
  readonly rooms: readonly number[] | undefined
  readonly userId: string | undefined
  readonly productName: string | undefined
  /** Where the reader begins, as a fraction of the log; undefined: without a cursor. */
  readonly startFraction: number | undefined
}

type Step =
  | { kind: 'commit'; rooms: readonly number[]; waits: boolean }
  | { kind: 'open'; opening: Opening }
  | { kind: 'type'; room: number; times: number }
  | { kind: 'take'; reader: number; times: number }
  | { kind: 'cut' | 'leave'; reader: number }
  | { kind: 'pause'; times: number }

const room = fc.integer({ min: 0, max: 7 })
const reader = fc.nat({ max: 1000 })
const opening: fc.Arbitrary<Opening> = fc.record({
  orgId: fc.constantFrom('A', 'B'),
  rooms: fc.option(fc.array(room, { maxLength: 3 }), { nil: undefined, freq: 2 }),
  userId: fc.option(fc.constantFrom('ann', 'bob'), { nil: undefined, freq: 2 }),
  productName: fc.option(fc.constantFrom('shop', 'login'), { nil: undefined, freq: 2 }),
  startFraction: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined, freq: 2 }),
})
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      rooms: fc.array(room, { minLength: 1, maxLength: 12 }),
      waits: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('open' as const), opening }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('type' as const),
      room,
      times: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('take' as const),
      reader,
      times: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), reader }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), reader }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('pause' as const),
      times: fc.integer({ min: 1, max: 12 }),
    }),
  },
)

/** A reader that loses its connection and resumes with its last cursor. */
class Reader {
  readonly filter: StreamFilter
  readonly events: StreamEvent[] = []
  /** The reader must get every event after this position. */
  readonly after: number
  readonly startsAtCursor: boolean
  readonly #live: Live
  #cursor: string | undefined
  #stream: EventStream
  #taking = false
  #takesAll = false
  /** How often each stream of this reader went live. */
  readonly readies = new Map<EventStream, number>()

  constructor(
    log: TestLog,
    live: Live,
    filter: StreamFilter,
    head: number,
    after: number | undefined,
  ) {
    this.#live = live
    this.filter = filter
    this.after = after ?? head
    this.startsAtCursor = after !== undefined
    const { orgId } = filter
    this.#cursor = after === undefined ? undefined : cursorOf(log, orgId, after)
    this.#stream = this.#openStream()
  }

  #openStream(): EventStream {
    return this.#live.open(open, this.filter, { after: this.#cursor })
  }

  /** Takes the next batch. */
  take(): void {
    if (this.#taking) return
    this.#taking = true
    const stream = this.#stream
    stream.next().then((events) => {
      // A batch that arrives after the cut is lost.
      if (stream !== this.#stream) return
      this.#taking = false
      for (const event of events ?? []) {
        this.events.push(event)
        if (event.type === 'ready') this.readies.set(stream, (this.readies.get(stream) ?? 0) + 1)
        if ('cursor' in event) this.#cursor = event.cursor
      }
      if (events && this.#takesAll) this.take()
    })
  }

  /** Takes every batch from now on. */
  takeAll(): void {
    this.#takesAll = true
    this.take()
  }

  cut(): void {
    // Without a cursor a resumed stream would begin at the head and miss events.
    if (this.#cursor === undefined) return
    this.leave()
    this.#taking = false
    this.#stream = this.#openStream()
  }

  leave(): void {
    this.#stream.leave()
  }
}

function isFor(room: RoomRef, { orgId, rooms, userId, productName }: StreamFilter): boolean {
  return (
    room.orgId === orgId &&
    (rooms === undefined || rooms.some(({ id }) => id === room.id)) &&
    (userId === undefined || room.userId === userId) &&
    (productName === undefined || room.productName === productName)
  )
}

test('a reader gets every event that matches its filter, in order and once, across cuts and slow reads', async () => {
  let lags: readonly number[] = []
  let reads = 0
  await using log = await createLog({
    async afterRead() {
      const lag = lags[reads++ % lags.length] ?? 0
      for (let i = 0; i < lag; i++) await pause(log)
    },
  })
  const numRuns = runs(250, 40)
  let fellBehind = 0
  let cuts = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }),
      // Delays of read results, so that other steps run in between.
      fc.array(fc.nat({ max: 4 }), { maxLength: 5 }),
      async (steps, delays) => {
        await log.empty()
        lags = delays
        using live = createLive(log, { limits })
        const readers: Reader[] = []
        const gone = new Set<Reader>()
        const commits: Promise<void>[] = []
        const readerAt = (number: number) => readers[number % readers.length]
        for (const step of steps) {
          if (step.kind === 'commit') {
            const commit = log.append(...step.rooms.map((at) => log.rooms[at] as RoomRef))
            commits.push(commit)
            if (step.waits) await commit
          } else if (step.kind === 'open') {
            const { orgId, startFraction, rooms, ...narrow } = step.opening
            const head = await log.head(orgId)
            const after = startFraction === undefined ? undefined : Math.floor(startFraction * head)
            const refs = rooms
              ?.map((at) => log.rooms[at] as RoomRef)
              .filter((room) => room.orgId === orgId)
            readers.push(new Reader(log, live, { orgId, rooms: refs, ...narrow }, head, after))
          } else if (step.kind === 'type') {
            const { id: roomId, orgId, ...ref } = log.rooms[step.room] as RoomRef
            const event = {
              type: 'presence',
              orgId,
              roomId,
              customer: true,
              support: true,
            } as const
            for (let i = 0; i < step.times; i++) live.publish(event, { id: roomId, orgId, ...ref })
          } else if (step.kind === 'pause') {
            for (let i = 0; i < step.times; i++) await pause(log)
          } else if (step.kind === 'take') {
            for (let i = 0; i < step.times; i++) {
              readerAt(step.reader)?.take()
              await pause(log)
            }
          } else {
            const reader = readerAt(step.reader)
            if (!reader || gone.has(reader)) continue
            if (step.kind === 'leave') gone.add(reader)
            if (step.kind === 'cut') cuts++
            reader[step.kind]()
          }
        }
        await Promise.all(commits)
        for (const reader of readers) reader.takeAll()
        await log.settled()

        const stored = await kyselyOn(log.unwatched)
          .selectFrom('events')
          .selectAll()
          .orderBy('position')
          .execute()
        for (const reader of readers) {
          const matching = stored.filter(
            (row) =>
              row.org_id === reader.filter.orgId &&
              isFor(log.rooms.find(({ id }) => id === row.room_id) as RoomRef, reader.filter),
          )
          const received = reader.events.flatMap((event) => ('createdAt' in event ? [event] : []))
          const positions = received.map(({ position }) => position)
          const all = matching.map((row) => row.position)
          const [first = Number.POSITIVE_INFINITY] = positions
          // Without a cursor a stream begins at its first read, after it was opened.
          const firstReady = reader.events.find((event) => event.type === 'ready')
          const begin = Math.min(first - 1, firstReady?.position ?? Number.POSITIVE_INFINITY)
          const from =
            reader.startsAtCursor || begin === Number.POSITIVE_INFINITY ? reader.after : begin
          expect(from).toBeGreaterThanOrEqual(reader.after)
          const due = all.filter((position) => position > from)
          if (gone.has(reader)) expect(positions).toEqual(due.slice(0, positions.length))
          else expect(positions).toEqual(due)
          expect(received.map(({ type, roomId }) => [type, roomId])).toEqual(
            matching
              .filter((row) => positions.includes(row.position))
              .map((row) => [row.type, row.room_id]),
          )

          // Each "ready" follows all events before it, and cursors never go back.
          let last = reader.after
          const seen: number[] = []
          for (const event of reader.events) {
            if (!('cursor' in event)) continue
            expect(event.type).not.toBe('reset')
            expect(event.position).toBeGreaterThanOrEqual(last)
            last = event.position
            if (event.type !== 'ready') seen.push(event.position)
            else expect(seen).toEqual(due.filter((position) => position <= last))
          }
          fellBehind += [...reader.readies.values()].filter((times) => times > 1).length
        }
        for (const reader of readers) reader.leave()
        expect(live.size).toBe(0)
      },
    ),
    { numRuns },
  )
  // Proves that the runs covered both cases. With few runs no reader may fall behind.
  if (numRuns > 200) expect(fellBehind).toBeGreaterThan(numRuns / 25)
  expect(cuts).toBeGreaterThan(numRuns / 10)
})
