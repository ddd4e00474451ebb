import { appendEvent, openDatabase } from '@dowell-chat/db'
import { connectionOf, kyselyOn } from '@dowell-chat/db/testing'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest'
import { listEvents } from '../src/events/listEvents.ts'
import type { EventStream } from '../src/events/live/eventStream.ts'
import type { Live } from '../src/events/live/live.ts'
import type { RoomRef } from '../src/events/live/streamFilter.ts'
import { createLive, createLog, cursorOf, open, type TestLog, take } from './log.ts'
import { createPeerGroup } from './peerGroup.ts'
import { createDeps, noCaps, run } from './support.ts'

let log: TestLog
beforeAll(async () => {
  log = await createLog()
})
afterAll(() => log[Symbol.asyncDispose]())

// Live sweeps once a second by its own timer. The tests advance the time themselves.
beforeEach(async () => {
  await log.empty()
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const SWEEP_INTERVAL_MS = 1_000

/** Advances the time in steps, and waits after each for the reads that it caused. */
async function pass(milliseconds: number): Promise<void> {
  for (let rest = milliseconds; rest > 0; rest -= SWEEP_INTERVAL_MS) {
    await vi.advanceTimersByTimeAsync(Math.min(rest, SWEEP_INTERVAL_MS))
    await log.settled()
  }
}
const sweep = () => pass(SWEEP_INTERVAL_MS)

const limits = {
  pending: 256,
  pendingCharacters: 1_000_000,
  page: 2,
  window: 4,
  replay: 6,
  reads: 5,
}
const cursor = (orgId: string, position: number) => cursorOf(log, orgId, position)
/** A cursor with its position replaced. */
const tampered = (middle: string) => {
  const [encoded = '', epoch] = cursor('A', 1).split('.')
  return `${Buffer.from(atob(encoded).replace(':1:', middle)).toString('base64url')}.${epoch}`
}

function roomsOf(orgId: string): [RoomRef, RoomRef] {
  const [first, second] = log.rooms.filter((room) => room.orgId === orgId)
  if (!first || !second) throw new Error(`${orgId} has too few rooms`)
  return [first, second]
}

/** The events of a stream until it is live, shortened. */
async function untilReady(stream: EventStream): Promise<unknown[]> {
  const events: unknown[] = []
  for (;;) {
    for (const event of await take(stream)) {
      if (event.type === 'reset') events.push([event.reason, event.position])
      else if (event.type === 'ready') events.push(['ready', event.position])
      else if ('position' in event) events.push(event.position)
      if (event.type === 'ready') return events
    }
  }
}

test('a cursor before the floor of the log gets a reset, and CURSOR_TOO_OLD from listEvents', async () => {
  using live = createLive(log)
  const [room] = roomsOf('A')
  for (let i = 0; i < 10; i++) await log.append(room)
  await log.write((tx) => kyselyOn(tx).deleteFrom('events').where('position', '<=', 4).execute())
  const from = (position: number) =>
    untilReady(live.open(open, { orgId: 'A' }, { after: cursor('A', position) }))
  expect(await from(3)).toEqual([
    ['too_old', 10],
    ['ready', 10],
  ])
  expect(await from(4)).toEqual([5, 6, 7, 8, 9, 10, ['ready', 10]])
  const deps = createDeps(log)
  const list = (position: number) =>
    run(deps, open, listEvents, { orgId: 'A', after: cursor('A', position) })
  await expect(list(3)).rejects.toMatchObject({ code: 'CURSOR_TOO_OLD' })
  expect((await list(4)).items.length).toBe(6)
  // A fully deleted log still has its head.
  await log.write((tx) => kyselyOn(tx).deleteFrom('events').execute())
  expect(await from(9)).toEqual([
    ['too_old', 10],
    ['ready', 10],
  ])
  expect(await from(10)).toEqual([['ready', 10]])
  deps.live.close()
})

test('a replay waits for payment between its pages, and still ends when asked to', async () => {
  using live = createLive(log, { limits: { ...limits, replay: 100, reads: 100 } })
  const [room] = roomsOf('A')
  for (let i = 0; i < 6; i++) await log.append(room)
  const payments: { bytes: number; accept: () => void }[] = []
  const payForReplay = (bytes: number) =>
    new Promise<void>((accept) => void payments.push({ bytes, accept }))
  const openPaid = () => live.open(open, { orgId: 'A' }, { after: cursor('A', 0), payForReplay })
  const stream = openPaid()
  const first = await take(stream)
  expect(first).toHaveLength(2)
  expect(payments).toEqual([
    { bytes: Buffer.byteLength(JSON.stringify(first)), accept: expect.any(Function) },
  ])
  const second = take(stream)
  await log.settled()
  expect(payments).toHaveLength(1)
  payments[0]?.accept()
  expect(await second).toHaveLength(2)
  payments[1]?.accept()
  const rest = untilReady(stream)
  await vi.waitFor(() => expect(payments).toHaveLength(3))
  payments[2]?.accept()
  expect(await rest).toEqual([5, 6, ['ready', 6]])
  stream.leave()

  // A stream that waits for payment ends like any other.
  const ended = openPaid()
  await take(ended)
  const last = ended.next()
  ended.end('shutdown')
  expect(await last).toEqual([{ type: 'end', reason: 'shutdown' }])
  const left = openPaid()
  await take(left)
  const nothing = left.next()
  left.leave()
  expect(await nothing).toBeUndefined()
})

test('a stream with too much pending text drops it and reads the log again', async () => {
  using live = createLive(log, {
    limits: { ...limits, page: 100, window: 100, replay: 100, reads: 100, pendingCharacters: 20 },
  })
  const [room] = roomsOf('A')
  const stream = live.open(open, { orgId: 'A' })
  await untilReady(stream)
  for (let i = 0; i < 12; i++) await log.append(room)
  await sweep()
  const positions: unknown[] = []
  while (positions.length < 12) {
    for (const event of await take(stream))
      if (event.type !== 'ready' && 'position' in event) positions.push(event.position)
  }
  expect(positions).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
})

test('events that are deleted while a stream catches up lead to a reset', async () => {
  using live = createLive(log, { limits: { ...limits, replay: 100, reads: 100 } })
  const [room, other] = roomsOf('A')
  for (let i = 0; i < 5; i++) await log.append(room, other)
  const stream = live.open(open, { orgId: 'A', rooms: [room] }, { after: cursor('A', 0) })
  expect((await take(stream)).length).toBe(2)
  await log.write((tx) => kyselyOn(tx).deleteFrom('events').where('position', '<=', 8).execute())
  expect(await untilReady(stream)).toEqual([
    ['too_old', 10],
    ['ready', 10],
  ])
})

test.for<[string, () => string]>([
  ['from the future', () => cursor('A', 7)],
  ['of another organisation', () => cursor('B', 2)],
  ['of another list', () => Buffer.from('m:1').toString('base64url')],
  ['garbage', () => 'garbage'],
  ['nothing', () => ''],
  ['very long', () => 'a'.repeat(100_000)],
  ['not a number', () => tampered(':NaN:')],
  ['below nothing', () => tampered(':-1:')],
  ['padded', () => cursor('A', 1).replace('.', '=.')],
])(
  'a cursor that is %s gets a reset, then only live events of its organisation',
  async ([, after]) => {
    using live = createLive(log)
    const [room] = roomsOf('A')
    const [theirs] = roomsOf('B')
    await log.append(room, theirs, room, theirs, theirs)
    const stream = live.open(open, { orgId: 'A' }, { after: after() })
    expect(await untilReady(stream)).toEqual([
      ['unknown', 2],
      ['ready', 2],
    ])
    await log.append(theirs, room)
    expect(await take(stream)).toMatchObject([{ position: 3, orgId: 'A', roomId: room.id }])
  },
)

test('a replay ends in a reset after too many events, or after too many reads', async () => {
  using live = createLive(log, { limits })
  const [room, rare] = roomsOf('A')
  const from = (position: number, filter = {}) =>
    untilReady(live.open(open, { orgId: 'A', ...filter }, { after: cursor('A', position) }))
  for (let i = 0; i < 7; i++) await log.append(room)
  expect(await from(1)).toEqual([2, 3, 4, 5, 6, 7, ['ready', 7]])
  expect(await from(0)).toEqual([1, 2, 3, 4, 5, 6, ['too_far', 7], ['ready', 7]])

  for (let i = 0; i < 14; i++) await log.append(room)
  await log.append(rare)
  // Five reads of four positions each do not reach it. A room or user filter needs no scan.
  const product = { productName: 'nothing' }
  expect(await from(1, product)).toEqual([
    ['too_far', 22],
    ['ready', 22],
  ])
  expect(await from(2, product)).toEqual([['ready', 22]])
  expect(await from(0, { rooms: [rare] })).toEqual([22, ['ready', 22]])
  expect(await from(0, { userId: rare.userId })).toEqual([22, ['ready', 22]])
})

test('a replay after a reset has the full limits again', async () => {
  using live = createLive(log, { limits })
  const [room] = roomsOf('A')
  for (let i = 0; i < 8; i++) await log.append(room)
  const stream = live.open(open, { orgId: 'A' }, { after: cursor('A', 0) })
  for (let i = 0; i < 3; i++) expect((await take(stream)).length).toBe(2)
  expect(await take(stream)).toMatchObject([{ type: 'reset', reason: 'too_far', position: 8 }])
  for (let i = 0; i < 3; i++) await log.append(room)
  await log.settled()
  expect(await untilReady(stream)).toEqual([9, 10, 11, ['ready', 11]])
})

test('a stream that is not read falls behind after 256 pending events, and misses none', async () => {
  using live = createLive(log)
  const [room] = roomsOf('A')
  const stream = live.open(open, { orgId: 'A' })
  expect(await untilReady(stream)).toEqual([['ready', 0]])
  for (let i = 0; i < 60; i++) await log.append(...Array<RoomRef>(5).fill(room))
  await log.settled()
  const positions = Array.from({ length: 300 }, (_, i) => i + 1)
  expect(await untilReady(stream)).toEqual([...positions, ['ready', 300]])
})

test('the sweep finds events that another process wrote', async () => {
  using live = createLive(log)
  const [room] = roomsOf('A')
  const stream = live.open(open, { orgId: 'A' })
  await untilReady(stream)
  // Its commits send no notification to this process.
  const other = openDatabase({ url: log.url })
  const event = { org_id: 'A', room_id: room.id, created_at: 1, type: 'room.updated' } as const
  await other.write(async (tx) => appendEvent(tx, event))
  await other.close()
  const next = take(stream)
  await sweep()
  expect(await next).toMatchObject([{ type: 'room.updated', position: 1 }])
})

describe('after a restore, or a failover that lost commits', () => {
  /** Removes the newest events, as if they had never been committed. */
  async function lose(orgId: string, count: number): Promise<void> {
    const head = (await log.head(orgId)) - count
    await log.write(async (tx) => {
      await kyselyOn(tx)
        .deleteFrom('events')
        .where('org_id', '=', orgId)
        .where('position', '>', head)
        .execute()
      await kyselyOn(tx)
        .updateTable('organisations')
        .set({ last_event_position: head })
        .where('id', '=', orgId)
        .execute()
    })
  }

  /** Changes the epoch of the log, as a failover or a restore does. */
  const changeEpoch = (epoch: string) =>
    log.write((tx) => kyselyOn(tx).updateTable('event_log').set({ epoch }).execute())
  afterEach(() => changeEpoch(log.epoch))

  /** Opens a stream with each kind of filter and waits until it is live. */
  async function openAll(live: Live, [room]: readonly [RoomRef, RoomRef]): Promise<EventStream[]> {
    const filters = [{}, { userId: room.userId }, { rooms: [room] }, { productName: 'shop' }]
    const streams = filters.map((filter) => live.open(open, { orgId: room.orgId, ...filter }))
    for (const stream of streams) await untilReady(stream)
    return streams
  }

  async function readAll(streams: readonly EventStream[], count: number): Promise<void> {
    for (const stream of streams) {
      for (let got = 0; got < count; ) got += (await take(stream)).length
    }
  }

  const resetAt = (position: number) => [
    ['unknown', position],
    ['ready', position],
  ]

  test('the sweep that finds the log shorter resets the streams and reports it once', async () => {
    const errors: unknown[] = []
    using live = createLive(log, {
      onError: (error, message) => errors.push(`${message}: ${error}`),
    })
    const rooms = roomsOf('A')
    const [room] = rooms
    const streams = await openAll(live, rooms)
    const [theirs] = roomsOf('B')
    const other = live.open(open, { orgId: 'B' })
    await untilReady(other)
    await log.append(room, room, room, room, room)
    await readAll(streams, 5)
    await lose('A', 3)
    await log.append(room)
    await sweep()
    for (const stream of streams) expect(await untilReady(stream)).toEqual(resetAt(3))
    await sweep()
    await log.append(room, theirs)
    for (const stream of streams) expect(await take(stream)).toMatchObject([{ position: 4 }])
    expect(await take(other)).toMatchObject([{ position: 1, orgId: 'B' }])
    expect(errors).toEqual([
      expect.stringMatching(/lost commits: Error: the log of A went from position 5 .* to 3 /),
    ])
  })

  test('streams are reset even if the log has grown past their position again', async () => {
    const errors: unknown[] = []
    using live = createLive(log, { onError: (error) => errors.push(error) })
    const rooms = roomsOf('A')
    const [room] = rooms
    const streams = await openAll(live, rooms)
    await log.append(room, room, room, room, room)
    await readAll(streams, 5)
    await lose('A', 3)
    await changeEpoch('another')
    await log.append(room, room, room, room)
    for (const stream of streams) expect(await untilReady(stream)).toEqual(resetAt(6))
    await log.append(room)
    for (const stream of streams) expect(await take(stream)).toMatchObject([{ position: 7 }])
    expect(errors.length).toBe(1)
  })

  test('a failover without losses resets the streams once', async () => {
    const errors: unknown[] = []
    using live = createLive(log, { onError: (error) => errors.push(error) })
    const rooms = roomsOf('A')
    const streams = await openAll(live, rooms)
    await changeEpoch('another')
    await sweep()
    await sweep()
    for (const stream of streams) expect(await untilReady(stream)).toEqual(resetAt(0))
    expect(errors.length).toBe(1)
  })

  test('opening a stream detects the loss and resets the other streams', async () => {
    const errors: unknown[] = []
    using live = createLive(log, { onError: (error) => errors.push(error) })
    const [room] = roomsOf('A')
    const first = live.open(open, { orgId: 'A' })
    await untilReady(first)
    await log.append(room, room, room)
    await readAll([first], 3)
    await lose('A', 2)
    const fresh = live.open(open, { orgId: 'A' })
    expect(await untilReady(fresh)).toEqual([['ready', 1]])
    expect(await untilReady(first)).toEqual(resetAt(1))
    await log.append(room)
    for (const stream of [first, fresh]) expect(await take(stream)).toMatchObject([{ position: 2 }])
    expect(errors.length).toBe(1)
  })

  test('a stream that is behind is reset, too, and gets no lost events after that', async () => {
    using live = createLive(log, { limits: { ...limits, replay: 100 }, onError: () => undefined })
    const [room] = roomsOf('A')
    for (let i = 0; i < 6; i++) await log.append(room)
    const stream = live.open(open, { orgId: 'A' }, { after: cursor('A', 0) })
    expect(await take(stream)).toMatchObject([{ position: 1 }, { position: 2 }])
    await lose('A', 5)
    await changeEpoch('another')
    expect(await untilReady(stream)).toEqual(resetAt(1))
    await log.append(room)
    expect(await take(stream)).toMatchObject([{ position: 2 }])
  })

  test('a sweep result from before the log grew does not reset the streams', async () => {
    using live = createLive(log)
    const [room] = roomsOf('A')
    const stream = live.open(open, { orgId: 'A' })
    await untilReady(stream)
    const executeQuery = connectionOf(log.read).execute.bind(connectionOf(log.read))
    const queried = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<void>()
    const late = vi
      .spyOn(connectionOf(log.read), 'execute')
      .mockImplementationOnce(async (query) => {
        const heads = await executeQuery(query)
        queried.resolve()
        await answer.promise
        return heads
      })
    const sweeping = sweep()
    await queried.promise
    await log.append(room, room)
    await readAll([stream], 2)
    answer.resolve()
    await sweeping
    late.mockRestore()
    await sweep()
    await log.append(room)
    expect(await take(stream)).toMatchObject([{ position: 3 }])
  })

  test('old cursors get a reset, and CURSOR_TOO_OLD from listEvents; new cursors work', async () => {
    using live = createLive(log, { onError: () => undefined })
    const deps = createDeps(log)
    const [room] = roomsOf('A')
    await log.append(room, room, room)
    const list = (after: string) => run(deps, open, listEvents, { orgId: 'A', after })
    const from = (after: string) => untilReady(live.open(open, { orgId: 'A' }, { after }))
    const old = cursor('A', 1)
    // Cursors from before epochs existed.
    const [withoutEpoch = ''] = old.split('.')
    for (const after of [old, withoutEpoch]) {
      expect(await from(after)).toEqual([2, 3, ['ready', 3]])
      expect((await list(after)).items.length).toBe(2)
    }
    await changeEpoch('another')
    for (const after of [old, withoutEpoch]) {
      expect(await from(after)).toEqual(resetAt(3))
      await expect(list(after)).rejects.toMatchObject({ code: 'CURSOR_TOO_OLD' })
    }
    const { items, after } = await run(deps, open, listEvents, { orgId: 'A', limit: 2 })
    for (const cursor of [after, items[1]?.cursor ?? '']) {
      expect(await from(cursor)).toEqual([3, ['ready', 3]])
      expect((await list(cursor)).items).toMatchObject([{ position: 3 }])
    }
    deps.live.close()
  })

  test('listEvents fails with SERVICE_UNAVAILABLE when the epoch changes during the call', async () => {
    const deps = createDeps(log)
    const [room] = roomsOf('A')
    await log.append(room, room)
    const executeQuery = connectionOf(log.read).execute.bind(connectionOf(log.read))
    vi.spyOn(connectionOf(log.read), 'execute').mockImplementationOnce(async (query) => {
      const bounds = await executeQuery(query)
      await changeEpoch('another')
      return bounds
    })
    await expect(run(deps, open, listEvents, { orgId: 'A' })).rejects.toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      retryAfter: 1,
    })
    vi.restoreAllMocks()
    deps.live.close()
  })
})

const NO_TABLE = expect.stringMatching(/no such table|relation ".*" does not exist/)

test.for(['start', 'replay'] as const)(
  'a read error during the %s of a stream ends it, and a later stream works',
  async (when) => {
    using live = createLive(log)
    const [room] = roomsOf('A')
    await log.append(room)
    const after = cursor('A', 0)
    if (when === 'replay') await untilReady(live.open(open, { orgId: 'A' }))
    const streams = live.size
    const table = when === 'start' ? 'organisations' : 'events'
    const show = await hide(table)
    const first = live.open(open, { orgId: 'A' }, { after })
    const second = live.open(open, { orgId: 'A' }, { after })
    const failed = { status: 'rejected', reason: { message: NO_TABLE } }
    const failures = await Promise.allSettled([first.next(), second.next()])
    expect(failures).toMatchObject([failed, failed])
    expect(live.size).toBe(streams)
    expect(await first.next()).toBeUndefined()
    await show()
    expect(await untilReady(live.open(open, { orgId: 'A' }, { after }))).toEqual([1, ['ready', 1]])
  },
)

test('a tail reports a read error and continues once the log is readable', async () => {
  const errors: unknown[] = []
  using live = createLive(log, { onError: (error) => errors.push(error) })
  const [room] = roomsOf('A')
  const stream = live.open(open, { orgId: 'A' })
  await untilReady(stream)
  // Without this table events can be written but not read.
  const show = await hide('messages')
  await log.append(room)
  await log.settled()
  expect(errors).toMatchObject([{ message: NO_TABLE }])
  await sweep()
  expect(errors.length).toBe(2)
  await show()
  const next = take(stream)
  await sweep()
  expect(await next).toMatchObject([{ position: 1, roomId: room.id }])
  expect(errors.length).toBe(2)
})

/** Makes a table unreadable until the returned function is called, or the test ends. */
async function hide(table: string): Promise<() => Promise<void>> {
  const rename = (from: string, to: string) =>
    log.write((tx) => kyselyOn(tx).schema.alterTable(from).renameTo(to).execute())
  await rename(table, 'hidden')
  let isHidden = true
  const show = async () => {
    if (isHidden) await rename('hidden', table)
    isHidden = false
  }
  onTestFinished(show)
  return show
}

test('streams end after their lifetime, or when their token expires', async () => {
  let now = 1_000_000
  using live = createLive(log, { clock: () => now, lifetime: 60_000 })
  const user = {
    kind: 'user',
    orgId: 'A',
    userId: 'ann',
    side: false,
    rooms: undefined,
    keyId: 'key',
    // A token lives on for 60 s, for clocks that differ, and so do its streams.
    expiresAt: now + 10_000 - 60_000,
    token: { signingKeyId: 'signing key', issuedAt: 0 },
  } as const
  const long = live.open({ ...user, expiresAt: now + 3_600_000 }, { orgId: 'A' })
  const short = live.open(user, { orgId: 'A' })
  await untilReady(long)
  await untilReady(short)
  const [endOfLong, endOfShort] = [long.next(), short.next()]
  now += 9_999
  await sweep()
  expect(live.size).toBe(2)
  now += 1
  await sweep()
  expect(await endOfShort).toEqual([{ type: 'end', reason: 'expired' }])
  expect(await short.next()).toBeUndefined()
  expect(live.size).toBe(1)
  // The lifetime varies between 90 % and 100 %.
  now += 50_000
  await sweep()
  expect(await endOfLong).toEqual([{ type: 'end', reason: 'lifetime' }])
  expect(live.size).toBe(0)
})

test('an ended stream that is not read is dropped after 30 seconds', async () => {
  let now = 0
  using live = createLive(log, { clock: () => now, lifetime: 60_000 })
  const [room] = roomsOf('A')
  live.open(open, { orgId: 'A', rooms: [room] }, { side: true })
  now = 60_000
  await sweep()
  expect(live.size).toBe(1)
  now = 90_000
  await sweep()
  expect(live.size).toBe(0)
})

test('revoking a key ends its streams and those of its tokens, and no others', async () => {
  let isValid = true
  using live = createLive(log, {
    findRevoked: async (actors) =>
      new Set(
        [...actors].filter(
          (actor) => actor.kind !== 'open' && actor.keyId === 'revoked' && !isValid,
        ),
      ),
  })
  const key = { kind: 'key', orgId: 'A', keyId: 'revoked', right: 'support' } as const
  const user = {
    ...key,
    kind: 'user',
    userId: 'ann',
    side: false,
    rooms: undefined,
    token: { signingKeyId: 'signing key', issuedAt: 0 },
  } as const
  const expiresAt = Number.MAX_SAFE_INTEGER
  const revoked = [
    live.open(key, { orgId: 'A' }),
    live.open({ ...user, expiresAt }, { orgId: 'A' }),
    live.open({ ...user, userId: 'bob', expiresAt }, { orgId: 'A' }),
  ]
  const others = [
    live.open({ ...key, keyId: 'other' }, { orgId: 'A' }),
    live.open(open, { orgId: 'A' }),
  ]
  for (const stream of [...revoked, ...others]) await untilReady(stream)
  await sweep()
  expect(live.size).toBe(5)
  isValid = false
  await sweep()
  for (const stream of revoked) {
    expect(await stream.next()).toEqual([{ type: 'end', reason: 'revoked' }])
  }
  expect(live.size).toBe(2)
  const [room] = roomsOf('A')
  await log.append(room)
  for (const stream of others) expect(await take(stream)).toMatchObject([{ position: 1 }])
})

test('shutting down ends all streams after their pending events, and refuses new ones', async () => {
  using live = createLive(log)
  const [room] = roomsOf('A')
  const streams = [live.open(open, { orgId: 'A' }), live.open(open, { orgId: 'A', rooms: [room] })]
  for (const stream of streams) await untilReady(stream)
  await log.append(room)
  await log.settled()
  live.end('shutdown')
  for (const stream of streams) {
    expect(await stream.next()).toMatchObject([{ position: 1 }])
    expect(await stream.next()).toEqual([{ type: 'end', reason: 'shutdown' }])
    expect(await stream.next()).toBeUndefined()
  }
  expect(live.size).toBe(0)
  expect(() => live.open(open, { orgId: 'A' })).toThrow(
    expect.objectContaining({ code: 'SERVICE_UNAVAILABLE', retryAfter: 1 }),
  )
})

test('a pending next() resolves when the stream leaves or ends, or all streams are closed', async () => {
  using live = createLive(log)
  const opened = Array.from({ length: 3 }, () => live.open(open, { orgId: 'A' }))
  for (const stream of opened) await untilReady(stream)
  const [left, ended, closed] = opened as [EventStream, EventStream, EventStream]
  const waiting = opened.map((stream) => stream.next())
  left.leave()
  left.leave()
  ended.end('slow_reader')
  ended.end('lifetime')
  expect(await waiting[0]).toBeUndefined()
  expect(await waiting[1]).toEqual([{ type: 'end', reason: 'slow_reader' }])
  expect(live.size).toBe(1)
  live.close()
  expect(await waiting[2]).toBeUndefined()
  expect(await closed.next()).toBeUndefined()
  expect(live.size).toBe(0)
})

test('streams are capped per key and per process, and a closed stream frees its slot', async () => {
  using live = createLive(log, { caps: { ...noCaps, total: 5, perActor: 2 } })
  const key = (keyId: string) => ({ kind: 'key', orgId: 'A', keyId, right: 'read' }) as const
  const opening = (keyId: string) => live.open(key(keyId), { orgId: 'A' })
  const first = opening('a')
  opening('a')
  expect(() => opening('a')).toThrow(
    expect.objectContaining({ code: 'TOO_MANY_REQUESTS', retryAfter: 10 }),
  )
  opening('b')
  first.leave()
  opening('a')
  expect(() => opening('a')).toThrow(expect.objectContaining({ code: 'TOO_MANY_REQUESTS' }))
  // Callers without a credential have no cap per caller.
  const unnamed = [live.open(open, { orgId: 'A' }), live.open(open, { orgId: 'B' })]
  expect(live.size).toBe(5)
  for (const actor of [open, key('c')]) {
    expect(() => live.open(actor, { orgId: 'A' })).toThrow(
      expect.objectContaining({ code: 'SERVICE_UNAVAILABLE', retryAfter: 10 }),
    )
  }
  unnamed[0]?.leave()
  live.open(open, { orgId: 'A' })
  expect(live.size).toBe(5)
})

test('a side is present from its first stream until five seconds after its last', async () => {
  using live = createLive(log)
  const [room, other] = roomsOf('A')
  const watch = live.open(open, { orgId: 'A' })
  await untilReady(watch)
  const presenceChanges = async () => {
    const states: unknown[] = []
    const next = watch.next().then((events) => {
      for (const event of events ?? []) {
        if (event.type === 'presence') states.push([event.roomId, event.customer, event.support])
      }
    })
    // Another event, so that next() resolves even without a presence change.
    await log.append(other)
    await next
    return states
  }
  const enter = async (side?: boolean) => {
    const stream = live.open(open, { orgId: 'A', rooms: [room] }, { side })
    const isThere = side === false
    expect(await take(stream)).toMatchObject([
      { type: 'ready' },
      { type: 'presence', roomId: room.id, ...(isThere ? { customer: true } : {}) },
    ])
    return stream
  }

  const customer = await enter(false)
  const again = await enter(false)
  expect(await presenceChanges()).toEqual([[room.id, true, false]])
  ;(await enter(undefined)).leave()
  customer.leave()
  await pass(60_000)
  expect(await presenceChanges()).toEqual([])

  again.leave()
  await pass(4_999)
  // The other side's arrival does not shorten the grace time.
  const support = await enter(true)
  expect(await presenceChanges()).toEqual([[room.id, true, true]])
  const back = await enter(false)
  await pass(60_000)
  expect(await presenceChanges()).toEqual([])
  back.leave()
  await pass(2_000)
  // Nor does its departure extend it.
  support.leave()
  await pass(3_000)
  expect(await presenceChanges()).toEqual([[room.id, false, true]])
  await pass(2_000)
  expect(await presenceChanges()).toEqual([[room.id, false, false]])
})

describe('presence of a stream whose reader promised heartbeats', () => {
  const STREAM_ID = 'stream-0123456789'
  const key = (keyId: string) => ({ kind: 'key', orgId: 'A', keyId, right: 'read' }) as const

  /** A stream with presence, and how the room looks to another one. */
  async function enter(live: Live) {
    const [room] = roomsOf('A')
    const filter = { orgId: 'A', rooms: [room] }
    const stream = live.open(key('a'), filter, { side: false, streamId: STREAM_ID })
    await take(stream)
    const isPresent = async () => {
      const watch = live.open(open, filter)
      const [, presence] = await take(watch)
      watch.leave()
      return presence?.type === 'presence' && presence.customer
    }
    return { stream, isPresent }
  }

  test('it ends 50 seconds after the last one, and comes back with the next', async () => {
    let now = 1_000_000
    using live = createLive(log, { clock: () => now, lifetime: 10_000_000 })
    const { stream, isPresent } = await enter(live)
    const passTime = async (milliseconds: number) => {
      now += milliseconds
      await pass(SWEEP_INTERVAL_MS)
    }
    await passTime(44_000)
    expect(live.confirm(key('a'), STREAM_ID)).toBe(now + 45_000)
    await passTime(44_999)
    await pass(6_000)
    expect(await isPresent()).toBe(true)
    await passTime(1)
    expect(await isPresent()).toBe(true)
    await pass(5_000)
    expect(await isPresent()).toBe(false)
    // Of another caller, or of another stream.
    live.confirm(key('b'), STREAM_ID)
    live.confirm(key('a'), 'stream-9876543210')
    expect(await isPresent()).toBe(false)
    live.confirm(key('a'), STREAM_ID)
    expect(await isPresent()).toBe(true)
    // A clock that was put back shows nobody as present for longer.
    now -= 3_600_000
    await passTime(0)
    await passTime(45_000)
    await pass(5_000)
    expect(await isPresent()).toBe(false)
    live.confirm(key('a'), STREAM_ID)
    stream.leave()
    await pass(5_000)
    expect(await isPresent()).toBe(false)
    live.confirm(key('a'), STREAM_ID)
    expect(await isPresent()).toBe(false)
  })

  test('a heartbeat at another instance counts', async () => {
    const group = createPeerGroup()
    const peers = [group.join(), group.join()] as const
    let now = 1_000_000
    const options = { clock: () => now, lifetime: 10_000_000 }
    using first = createLive({ ...log, peers: peers[0] }, options)
    using second = createLive({ ...log, peers: peers[1] }, options)
    for (const each of peers) group.connect(each)
    const { isPresent } = await enter(first)
    for (let beats = 0; beats < 5; beats++) {
      now += 30_000
      second.confirm(key('a'), STREAM_ID)
      await pass(6_000)
      expect(await isPresent()).toBe(true)
    }
    now += 45_000
    await pass(6_000)
    expect(await isPresent()).toBe(false)
  })
})
