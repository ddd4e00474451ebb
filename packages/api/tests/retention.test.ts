import { deleteEvents } from '@dowell-chat/db'
import { connectionOf, kyselyOn } from '@dowell-chat/db/testing'
import { expect, onTestFinished, test, vi } from 'vitest'
import { listEvents } from '../src/events/listEvents.ts'
import { pruneEvents } from '../src/events/retention.ts'
import type { EventStream, RoomRef } from '../src/events/stream.ts'
import { createLive, createLog, cursorOf, open, type TestLog, take } from './log.ts'
import { createDeps } from './support.ts'

const DAY = 24 * 60 * 60_000
/** A moment in 2026. */
const now = 1_790_000_000_000

const kept = async (log: TestLog, orgId: string) => {
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

test('forgets what happened before a time, in every organisation, and nothing else', async () => {
  await using log = await createLog()
  for (const days of [40, 31, 30, 29, 0]) await log.appendAt(now - days * DAY, room(log, A))
  await log.appendAt(now - 31 * DAY, room(log, B))
  const contents = () =>
    Promise.all([
      kyselyOn(log.unwatched).selectFrom('rooms').selectAll().execute(),
      kyselyOn(log.unwatched).selectFrom('messages').selectAll().execute(),
      kyselyOn(log.unwatched).selectFrom('organisations').selectAll().execute(),
    ])
  const before = await contents()
  expect(await pruneEvents(log, now - 30 * DAY)).toBe(3)
  expect(await kept(log, 'A')).toEqual([3, 4, 5])
  expect(await kept(log, 'B')).toEqual([])
  expect(await pruneEvents(log, now - 30 * DAY)).toBe(0)
  expect(await contents()).toEqual(before)
  // The log goes on where it was.
  await log.appendAt(now, room(log, B))
  expect(await kept(log, 'B')).toEqual([2])
})

test('forgets a few at a time, however many there are, and others write in between', async () => {
  await using log = await createLog()
  const many = (count: number) => Array<RoomRef>(count).fill(room(log, A))
  await log.appendAt(now - 31 * DAY, ...many(1_700))
  await log.appendAt(now, ...many(3))
  let largest = 0
  let writes = 0
  const pruning = pruneEvents(
    {
      ...log,
      async write(job) {
        writes++
        const before = (await kept(log, 'A')).length
        const result = await log.write(job)
        largest = Math.max(largest, before - (await kept(log, 'A')).length)
        await log.appendAt(now, room(log, A))
        return result
      },
    },
    now - 30 * DAY,
  )
  expect(await pruning).toBe(1_700)
  expect(largest).toBe(500)
  expect(writes).toBe(4)
  expect(await kept(log, 'A')).toEqual([1701, 1702, 1703, 1704, 1705, 1706, 1707])
})

test('after a clock stepped back the log is forgotten from its beginning on, without a hole', async () => {
  await using log = await createLog()
  for (const days of [40, 29, 35, 28]) await log.appendAt(now - days * DAY, room(log, A))
  expect(await pruneEvents(log, now - 30 * DAY)).toBe(1)
  expect(await kept(log, 'A')).toEqual([2, 3, 4])
  expect(await pruneEvents(log, now - 29 * DAY + 1)).toBe(2)
  expect(await kept(log, 'A')).toEqual([4])
})

test('who comes with an older cursor is told to read anew', async () => {
  await using log = await createLog()
  using live = createLive(log)
  const deps = createDeps(log)
  for (const days of [40, 35, 1]) await log.appendAt(now - days * DAY, room(log, A))
  const after = (position: number) => cursorOf(log, 'A', position)
  await pruneEvents(log, now - 30 * DAY)
  const late = live.open(open, { orgId: 'A' }, { after: after(1) })
  expect(await take(late)).toMatchObject([{ type: 'reset', reason: 'too_old', position: 3 }])
  const inTime = live.open(open, { orgId: 'A' }, { after: after(2) })
  expect(await take(inTime)).toMatchObject([{ position: 3, orgId: 'A' }])
  await expect(listEvents(deps, open, { orgId: 'A', after: after(1) })).rejects.toMatchObject({
    code: 'CURSOR_TOO_OLD',
  })
  const { items } = await listEvents(deps, open, { orgId: 'A', after: after(2) })
  expect(items.map(({ position }) => position)).toEqual([3])
  deps.live.close()
})

test.for([
  ['all of it', 8],
  ['all but the last', 7],
] as const)(
  'what is forgotten before a live stream had it, %s, is not missing without a word',
  async ([, upTo]) => {
    await using log = await createLog()
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    // Nobody tells it of a commit, as if another process had done all this: it looks once a second.
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
    const had = [['message.created', 1]]
    for (const stream of [wide, byUser]) expect(await take(stream)).toEqual(had)
    const waiting = [wide, byUser, idle].map(take)
    await log.append(...Array<RoomRef>(7).fill(mine))
    await log.write((tx) => deleteEvents(tx, { orgId: 'A', upTo }))
    vi.advanceTimersByTime(1_000)
    const missing = [['reset', 8]]
    expect(await Promise.all(waiting)).toEqual([missing, missing, missing])
    expect(await take(slow)).toEqual(had)
    expect(await take(slow)).toEqual(missing)
    for (const stream of streams) expect(await take(stream)).toEqual([['ready', 8]])
  },
)

test('what listEvents reads while it is forgotten is not missing without a word', async () => {
  await using log = await createLog()
  const deps = createDeps(log)
  await log.appendAt(now, room(log, A), room(log, A))
  // Forgotten between the first read and the next.
  const connection = connectionOf(log.read)
  const bounds = vi.spyOn(connection, 'execute')
  bounds.mockImplementationOnce(async (statement) => {
    bounds.mockRestore()
    const result = await connection.execute(statement)
    await log.write((tx) => kyselyOn(tx).deleteFrom('events').execute())
    return result
  })
  const after = cursorOf(log, 'A', 1)
  await expect(listEvents(deps, open, { orgId: 'A', after })).rejects.toMatchObject({
    code: 'CURSOR_TOO_OLD',
  })
  deps.live.close()
})

test.for([
  [50, [2_003]],
  [1, []],
] as const)(
  'what listEvents reads from the beginning on, %i at most, has no hole when that is forgotten',
  async ([limit, expected]) => {
    await using log = await createLog()
    const deps = createDeps(log)
    const [shop, login] = [room(log, 0), room(log, 4)]
    // More than one read looks through.
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
    const { items, after, hasAfter } = await listEvents(deps, open, { ...input, limit })
    expect(items.map(({ position }) => position)).toEqual(expected)
    expect(hasAfter).toBe(expected.length === 0)
    // What it says is no cursor that is too old.
    const rest = (await listEvents(deps, open, { ...input, after })).items
    expect([...items, ...rest].map(({ position }) => position)).toEqual([2_003])
    deps.live.close()
  },
)

test('looks at many organisations with few reads, and lets others run between them', async () => {
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
  await log.appendAt(now - 31 * DAY, room(log, B))
  const read = vi.spyOn(connectionOf(log.read), 'execute')
  let turns = 0
  let counting = setImmediate(function count() {
    turns++
    counting = setImmediate(count)
  })
  expect(await pruneEvents(log, now - 30 * DAY)).toBe(1)
  clearImmediate(counting)
  // One for every hundred, and one that finds no more.
  const logs = read.mock.calls.filter(([{ sql }]) => sql.includes('"organisations"'))
  expect(logs.length).toBe(102)
  expect(turns).toBeGreaterThan(90)
  expect(await kept(log, 'B')).toEqual([])
})
