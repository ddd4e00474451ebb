import { deleteEvents } from '@dowell-chat/db'
import { connectionOf, kyselyOn } from '@dowell-chat/db/testing'
import { expect, onTestFinished, test, vi } from 'vitest'
import { listEvents } from '../src/events/listEvents.ts'
import type { EventStream } from '../src/events/live/eventStream.ts'
import type { RoomRef } from '../src/events/live/streamFilter.ts'
import { pruneEvents } from '../src/events/retention.ts'
import { createLive, createLog, cursorOf, open, type TestLog, take } from './log.ts'
import { createDeps, run } from './support.ts'

const DAY_MS = 24 * 60 * 60_000
/** A moment in 2026. */
const now = 1_790_000_000_000

const positionsOf = async (log: TestLog, orgId: string) => {
  const rows = await kyselyOn(log.unwatched)
    .selectFrom('events')
    .select('position')
    .where('org_id', '=', orgId)
    .orderBy('position')
    .execute()
  return rows.map(({ position }) => position)
}

const [A, B] = [0, 1]
const room = (log: TestLog, at: number) => log.rooms[at] as RoomRef

test('deletes events before a time in every organisation, and nothing else', async () => {
  await using log = await createLog()
  for (const days of [40, 31, 30, 29, 0]) await log.appendAt(now - days * DAY_MS, room(log, A))
  await log.appendAt(now - 31 * DAY_MS, room(log, B))
  const contents = () =>
    Promise.all([
      kyselyOn(log.unwatched).selectFrom('rooms').selectAll().execute(),
      kyselyOn(log.unwatched).selectFrom('messages').selectAll().execute(),
      kyselyOn(log.unwatched).selectFrom('organisations').selectAll().execute(),
    ])
  const before = await contents()
  expect(await pruneEvents(log, now - 30 * DAY_MS)).toBe(3)
  expect(await positionsOf(log, 'A')).toEqual([3, 4, 5])
  expect(await positionsOf(log, 'B')).toEqual([])
  expect(await pruneEvents(log, now - 30 * DAY_MS)).toBe(0)
  expect(await contents()).toEqual(before)
  // Positions continue.
  await log.appendAt(now, room(log, B))
  expect(await positionsOf(log, 'B')).toEqual([2])
})

test('deletes in batches of 500, with other writes in between', async () => {
  await using log = await createLog()
  const many = (count: number) => Array<RoomRef>(count).fill(room(log, A))
  await log.appendAt(now - 31 * DAY_MS, ...many(1_700))
  await log.appendAt(now, ...many(3))
  let largest = 0
  let writes = 0
  const pruning = pruneEvents(
    {
      ...log,
      async write(job) {
        writes++
        const before = (await positionsOf(log, 'A')).length
        const result = await log.write(job)
        largest = Math.max(largest, before - (await positionsOf(log, 'A')).length)
        await log.appendAt(now, room(log, A))
        return result
      },
    },
    now - 30 * DAY_MS,
  )
  expect(await pruning).toBe(1_700)
  expect(largest).toBe(500)
  expect(writes).toBe(4)
  expect(await positionsOf(log, 'A')).toEqual([1701, 1702, 1703, 1704, 1705, 1706, 1707])
})

test('deletes a prefix of the log without gaps after a clock stepped back', async () => {
  await using log = await createLog()
  for (const days of [40, 29, 35, 28]) await log.appendAt(now - days * DAY_MS, room(log, A))
  expect(await pruneEvents(log, now - 30 * DAY_MS)).toBe(1)
  expect(await positionsOf(log, 'A')).toEqual([2, 3, 4])
  expect(await pruneEvents(log, now - 29 * DAY_MS + 1)).toBe(2)
  expect(await positionsOf(log, 'A')).toEqual([4])
})

test('a cursor before the deleted events gets a reset, and CURSOR_TOO_OLD from listEvents', async () => {
  await using log = await createLog()
  using live = createLive(log)
  const deps = createDeps(log)
  for (const days of [40, 35, 1]) await log.appendAt(now - days * DAY_MS, room(log, A))
  const after = (position: number) => cursorOf(log, 'A', position)
  await pruneEvents(log, now - 30 * DAY_MS)
  const late = live.open(open, { orgId: 'A' }, { after: after(1) })
  expect(await take(late)).toMatchObject([{ type: 'reset', reason: 'too_old', position: 3 }])
  const inTime = live.open(open, { orgId: 'A' }, { after: after(2) })
  expect(await take(inTime)).toMatchObject([{ position: 3, orgId: 'A' }])
  await expect(run(deps, open, listEvents, { orgId: 'A', after: after(1) })).rejects.toMatchObject({
    code: 'CURSOR_TOO_OLD',
  })
  const { items } = await run(deps, open, listEvents, { orgId: 'A', after: after(2) })
  expect(items.map(({ position }) => position)).toEqual([3])
  deps.live.close()
})

test.for([
  ['all of it', 8],
  ['all but the last', 7],
] as const)(
  'a live stream is reset when the retention deletes its unread events: %s',
  async ([, upTo]) => {
    await using log = await createLog()
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    // Without commit notifications, as from another process: the sweep finds the events once a second.
    using live = createLive({ ...log, onEvents: () => () => undefined })
    const [mine, other] = [room(log, A), room(log, 2)]
    const filters = [{}, { userId: mine.userId }, { rooms: [mine] }, { rooms: [other] }]
    const streams = filters.map((filter) => live.open(open, { orgId: 'A', ...filter }))
    const take = async (stream: EventStream) => {
      const events = (await stream.next()) ?? []
      return events.flatMap((event) => ('position' in event ? [[event.type, event.position]] : []))
    }
    for (const stream of streams) expect(await take(stream)).toEqual([['ready', 0]])
    await log.append(mine)
    vi.advanceTimersByTime(1_000)
    const [wide, byUser, slow, idle] = streams as [
      EventStream,
      EventStream,
      EventStream,
      EventStream,
    ]
    const first = [['message.created', 1]]
    for (const stream of [wide, byUser]) expect(await take(stream)).toEqual(first)
    const waiting = [wide, byUser, idle].map(take)
    await log.append(...Array<RoomRef>(7).fill(mine))
    await log.write((tx) => deleteEvents(tx, { orgId: 'A', upTo }))
    vi.advanceTimersByTime(1_000)
    const missing = [['reset', 8]]
    expect(await Promise.all(waiting)).toEqual([missing, missing, missing])
    expect(await take(slow)).toEqual(first)
    expect(await take(slow)).toEqual(missing)
    for (const stream of streams) expect(await take(stream)).toEqual([['ready', 8]])
  },
)

test('listEvents fails with CURSOR_TOO_OLD when its events are deleted during the call', async () => {
  await using log = await createLog()
  const deps = createDeps(log)
  await log.appendAt(now, room(log, A), room(log, A))
  // Deletes between the first read and the next.
  const bounds = vi.spyOn(connectionOf(log.read), 'execute')
  bounds.mockImplementationOnce(async (...args) => {
    bounds.mockRestore()
    const result = await connectionOf(log.read).execute(...args)
    await log.write((tx) => kyselyOn(tx).deleteFrom('events').execute())
    return result
  })
  const after = cursorOf(log, 'A', 1)
  await expect(run(deps, open, listEvents, { orgId: 'A', after })).rejects.toMatchObject({
    code: 'CURSOR_TOO_OLD',
  })
  deps.live.close()
})

test.for([
  [50, [2_003]],
  [1, []],
] as const)(
  'listEvents without a cursor, limit %i, has no gap when events are deleted during the call',
  async ([limit, expected]) => {
    await using log = await createLog()
    const deps = createDeps(log)
    const [shop, login] = [room(log, 0), room(log, 4)]
    // More events than one read scans.
    await log.appendAt(now, shop, ...Array<RoomRef>(2_000).fill(login), shop, shop)
    const connection = connectionOf(log.read)
    const read = connection.execute.bind(connection)
    let count = 0
    vi.spyOn(connection, 'execute').mockImplementation(async (statement) => {
      const result = await read(statement)
      // After the bounds and the first page.
      if (++count === 2) await log.write((tx) => deleteEvents(tx, { orgId: 'A', upTo: 2_002 }))
      return result
    })
    const input = { orgId: 'A', productName: shop.productName }
    const { items, after, hasAfter } = await run(deps, open, listEvents, { ...input, limit })
    expect(items.map(({ position }) => position)).toEqual(expected)
    expect(hasAfter).toBe(expected.length === 0)
    // The returned cursor is valid.
    const rest = (await run(deps, open, listEvents, { ...input, after })).items
    expect([...items, ...rest].map(({ position }) => position)).toEqual([2_003])
    deps.live.close()
  },
)

test('scans 10,000 organisations in 102 reads and yields between them', async () => {
  await using log = await createLog()
  await log.write(async (tx) => {
    const ids = Array.from({ length: 10_000 }, (_, i) => `organisation ${i}`)
    for (let at = 0; at < ids.length; at += 500) {
      const rows = ids
        .slice(at, at + 500)
        .map((id) => ({ id, created_at: 1, last_room_position: 0 }))
      await kyselyOn(tx).insertInto('organisations').values(rows).execute()
    }
  })
  await log.appendAt(now - 31 * DAY_MS, room(log, B))
  const read = vi.spyOn(connectionOf(log.read), 'execute')
  let turns = 0
  let counting = setImmediate(function count() {
    turns++
    counting = setImmediate(count)
  })
  expect(await pruneEvents(log, now - 30 * DAY_MS)).toBe(1)
  clearImmediate(counting)
  // One per hundred organisations, and a last one that finds none.
  const scans = read.mock.calls.filter(([{ sql }]) => sql.includes('organisations'))
  expect(scans.length).toBe(102)
  expect(turns).toBeGreaterThan(90)
  expect(await positionsOf(log, 'B')).toEqual([])
})
