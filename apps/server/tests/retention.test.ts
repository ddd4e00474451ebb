import { createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { createTestApp, openRoom, type TestApp } from './support.ts'

const DAY = 24 * 60 * 60_000
const start = Date.UTC(2026, 0, 1)

async function eventTypes(app: TestApp, org: string): Promise<string[]> {
  const answer = await app.fetch(`/api/v3/event-log?orgId=${org}`)
  const { items } = (await answer.json()) as { items: { type: string }[] }
  return items.map(({ type }) => type)
}

test('a running server forgets what is older than EVENT_RETENTION_DAYS, and the rooms stay', async () => {
  let now = start
  await using app = await createTestApp(
    { EVENT_RETENTION_DAYS: '2' },
    { clock: () => now, pruneInterval: 10 },
  )
  const roomId = await openRoom(app, 'ann', 'A')
  now += DAY
  await openRoom(app, 'bob', 'B')
  now += DAY + 1
  await expect.poll(() => eventTypes(app, 'A')).toEqual([])
  expect(await eventTypes(app, 'B')).toEqual(['room.created'])
  expect((await app.fetch(`/api/v3/rooms/${roomId}`)).status).toBe(200)
  expect(app.log.filter(({ level }) => Number(level) >= 40)).toEqual([])
})

test('a server that starts forgets at once what became too old meanwhile', async () => {
  await using store = await createTestStore()
  const env = { DATABASE_URL: store.url }
  {
    await using app = await createTestApp(env, { clock: () => start })
    await openRoom(app, 'ann', 'A')
    expect(await eventTypes(app, 'A')).toEqual(['room.created'])
  }
  await using app = await createTestApp(env, { clock: () => start + 31 * DAY })
  await expect.poll(() => eventTypes(app, 'A')).toEqual([])
})
