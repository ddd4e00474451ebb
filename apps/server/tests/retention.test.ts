import { createTestStore } from '@dowell-chat/db/testing'
import { describe, expect, inject, test } from 'vitest'
import { createOperator } from './credentials.ts'
import { ask } from './database.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'

const DAY = 24 * 60 * 60_000
const isPostgres = inject('testTarget').dialect === 'postgres'

async function eventTypes(app: TestApp, org: string): Promise<string[]> {
  const answer = await app.fetch(`/api/v3/event-log?orgId=${org}`)
  const { items } = (await answer.json()) as { items: { type: string }[] }
  return items.map(({ type }) => type)
}

/** Makes the events of an organisation older. */
const age = (app: Pick<TestApp, 'databaseUrl'>, org: string, days: number) =>
  ask(app, 'update events set created_at = created_at - ? where org_id = ?', days * DAY, org)

/** Revokes the tokens of a user of the organisation A. */
async function revokeTokens(app: TestApp, userId: string): Promise<void> {
  await using operator = createOperator(app)
  await operator.call.revokeUserTokens({ orgId: 'A', userId })
}

const revoked = async (app: TestApp) =>
  (await ask(app, 'select user_id from user_token_revocations order by user_id')).map(
    ({ user_id }) => user_id,
  )

const warnings = (app: TestApp) => app.log.filter(({ level }) => Number(level) >= 40)

test('a running server deletes events older than EVENT_RETENTION_DAYS, and the rooms stay', async () => {
  await using app = await createTestApp({ EVENT_RETENTION_DAYS: '2' }, { pruneInterval: 10 })
  const roomId = await openRoom(app, 'ann', 'A')
  await openRoom(app, 'bob', 'B')
  await age(app, 'B', 1)
  await age(app, 'A', 3)
  await expect.poll(() => eventTypes(app, 'A')).toEqual([])
  expect(await eventTypes(app, 'B')).toEqual(['room.created'])
  expect((await app.fetch(`/api/v3/rooms/${roomId}`)).status).toBe(200)
  expect(warnings(app)).toEqual([])
})

test('a running server deletes revocations of tokens when no token can outlive them', async () => {
  await using app = await createTestApp({}, { pruneInterval: 10 })
  for (const userId of ['ann', 'bob', 'cat']) await revokeTokens(app, userId)
  const age = 'update user_token_revocations set revoked_at = revoked_at - ? where user_id = ?'
  await ask(app, age, 2.9 * DAY, 'bob')
  await ask(app, age, 3.1 * DAY, 'cat')
  await expect.poll(() => revoked(app)).toEqual(['ann', 'bob'])
  expect(warnings(app)).toEqual([])
})

test('a server that starts deletes at once what became too old before', async () => {
  await using store = await createTestStore()
  const env = { DATABASE_URL: store.url }
  {
    await using app = await createTestApp(env)
    await openRoom(app, 'ann', 'A')
    await age(app, 'A', 31)
    expect(await eventTypes(app, 'A')).toEqual(['room.created'])
  }
  await using app = await createTestApp(env)
  await expect.poll(() => eventTypes(app, 'A')).toEqual([])
})

describe.skipIf(isPostgres)('where the database has the clock of the machine', () => {
  test('a clock that is 40 days ahead after a restart deletes nothing, and the log warns', async () => {
    await using store = await createTestStore()
    const env = { DATABASE_URL: store.url }
    {
      await using app = await createTestApp(env)
      await openRoom(app, 'ann', 'A')
      await revokeTokens(app, 'ann')
    }
    const clock = () => Date.now() + 40 * DAY
    await using app = await createTestApp(env, { clock, pruneInterval: 10 })
    await openRoom(app, 'bob', 'B')
    const warned = () => warnings(app).map(({ msg }) => String(msg))
    await expect.poll(() => warned().length).toBeGreaterThan(3)
    expect(warned()[0]).toMatch(/^the clock went ahead since the retention last ran/)
    expect(await eventTypes(app, 'A')).toEqual(['room.created'])
    expect(await revoked(app)).toEqual(['ann'])
  })

  test('a clock that leaps while the server runs deletes nothing', async () => {
    let ahead = 0
    await using app = await createTestApp(
      {},
      { clock: () => Date.now() + ahead, pruneInterval: 10 },
    )
    await openRoom(app, 'ann', 'A')
    await revokeTokens(app, 'ann')
    ahead = 400 * DAY
    await expect.poll(() => warnings(app).length).toBeGreaterThan(3)
    expect(await eventTypes(app, 'A')).toEqual(['room.created'])
    expect(await revoked(app)).toEqual(['ann'])
  })
})

describe.runIf(isPostgres)('beside an instance with another clock', () => {
  test.for([
    ['40 days ahead', 40 * DAY, /ahead of the database's$/],
    ['an hour behind', -60 * 60_000, /^the clock of this instance is 3[56]\d\d s behind/],
  ] as const)('%s, it deletes nothing, is not ready and warns', async ([, skew, reason]) => {
    await using store = await createTestStore()
    const env = { DATABASE_URL: store.url, EVENT_RETENTION_DAYS: '1' }
    await using right = await createTestApp(env)
    await openRoom(right, 'ann', 'A')
    await revokeTokens(right, 'ann')
    await using wrong = await createTestApp(env, {
      clock: () => Date.now() + skew,
      pruneInterval: 10,
    })
    const skipped = () =>
      warnings(wrong).filter(({ msg }) => String(msg).startsWith('nothing old is removed: '))
    await expect.poll(() => skipped().length).toBeGreaterThan(3)
    expect(await eventTypes(right, 'A')).toEqual(['room.created'])
    expect(await revoked(right)).toEqual(['ann'])
    expect(warnings(wrong).filter(({ msg }) => reason.test(String(msg)))).not.toEqual([])
    const ready = await wrong.fetch('/readyz')
    expect(ready.status).toBe(503)
    expect(await ready.json()).toEqual({
      status: 'unavailable',
      reason: expect.stringMatching(reason),
    })
    expect((await right.fetch('/readyz')).status).toBe(200)
    expect(warnings(right)).toEqual([])
  })

  test('half a minute behind, it warns once and stays ready', async () => {
    await using app = await createTestApp(
      {},
      { clock: () => Date.now() - 40_000, pruneInterval: 10 },
    )
    await openRoom(app, 'ann', 'A')
    await age(app, 'A', 31)
    await expect.poll(() => eventTypes(app, 'A')).toEqual([])
    expect(warnings(app)).toMatchObject([
      {
        msg: expect.stringMatching(/^the clock of this instance is \d\d s behind the database's$/),
      },
    ])
    expect((await app.fetch('/readyz')).status).toBe(200)
  })
})
