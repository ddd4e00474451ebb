import { createTestStore } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import {
  as,
  bearer,
  createKeylessToken,
  createOperator,
  createOrganisation,
  outcome,
  unlimited,
} from './credentials.ts'
import { ask } from './database.ts'
import { EventReader } from './eventReader.ts'
import { createTestApp } from './support.ts'

const ORG = 'DOWELL12345'
const inbox = `/api/v3/events?orgId=${ORG}`

/** Two servers on one database, which go by one clock. */
async function createTwo() {
  const store = await createTestStore()
  const time = { now: Date.UTC(2026, 0, 1, 12, 0, 0, 500) }
  const start = () =>
    createTestApp({ ...unlimited, DATABASE_URL: store.url }, { clock: () => time.now })
  const [one, other] = [await start(), await start()]
  return {
    one,
    other,
    time,
    async [Symbol.asyncDispose]() {
      for (const app of [one, other]) await app.close()
      await store[Symbol.asyncDispose]()
    },
  }
}

test('revokeUserTokens ends all tokens of a user on every instance, with their streams, and no others', async () => {
  await using two = await createTwo()
  const { one, other, time } = two
  const org = await createOrganisation(one, ORG)
  const foreign = await createOrganisation(one, 'FOREIGN')
  const admin = as(one, org.keys.admin.secret)
  const mint = async (by: typeof admin, orgId: string, userId: string, side = false) =>
    (await by.createUserToken({ orgId, userId, side })).token
  const asSupport = await mint(admin, ORG, org.customer, true)
  const namesake = await mint(as(one, foreign.keys.admin.secret), 'FOREIGN', org.customer)
  const { customer, customerElsewhere, otherCustomer } = org.tokens
  const streamToken = await as(other, customer).createStreamToken({})
  const read = (token: string, roomId = org.elsewhere) =>
    Promise.all([one, other].map((app) => outcome(as(app, token).getRoomById({ roomId }))))

  const ended = [customer, customerElsewhere, asSupport]
  for (const token of ended) expect(await read(token)).toEqual(['ok', 'ok'])
  const dying = [
    await EventReader.open(one, inbox, bearer(customer)),
    await EventReader.open(other, inbox, bearer(customerElsewhere)),
    await EventReader.open(other, `${inbox}&streamToken=${streamToken.token}`),
  ]
  const living = [
    await EventReader.open(other, inbox, bearer(otherCustomer)),
    await EventReader.open(other, inbox, bearer(org.keys.read.secret)),
    await EventReader.open(other, '/api/v3/events?orgId=FOREIGN', bearer(namesake)),
  ]
  for (const reader of [...dying, ...living]) await reader.nextOf('ready')

  time.now += 60_000
  const { revokedAt } = await admin.revokeUserTokens({ orgId: ORG, userId: org.customer })
  expect(revokedAt.getTime()).toBe(time.now)
  for (const token of ended) expect(await read(token)).toEqual(['UNAUTHORIZED', 'UNAUTHORIZED'])
  const again = await EventReader.open(other, `${inbox}&streamToken=${streamToken.token}`)
  expect(again.status).toBe(401)
  for (const reader of dying) {
    expect(await reader.nextOf('end')).toEqual({ type: 'end', reason: 'revoked' })
    await reader[Symbol.asyncDispose]()
  }
  expect(living.map(({ isOpen }) => isOpen)).toEqual([true, true, true])
  for (const reader of living) await reader[Symbol.asyncDispose]()
  expect(await read(otherCustomer, org.otherCustomersRoom)).toEqual(['ok', 'ok'])
  const { items } = await as(other, namesake).listRooms({ orgId: 'FOREIGN' })
  expect(items).toEqual([])

  // A token that is made right after it is valid at once, for the time that was asked for.
  const fresh = await as(other, org.keys.support.secret).createUserToken({
    orgId: ORG,
    userId: org.customer,
    side: false,
    expiresIn: 60,
  })
  expect(fresh.expiresAt.getTime()).toBe(Math.floor(time.now / 1000) * 1000 + 60_000)
  expect(await read(fresh.token)).toEqual(['ok', 'ok'])
  await using reader = await EventReader.open(one, inbox, bearer(fresh.token))
  await reader.nextOf('ready')
  time.now += 5_000
  await admin.revokeUserTokens({ orgId: ORG, userId: org.customer })
  expect(await read(fresh.token)).toEqual(['UNAUTHORIZED', 'UNAUTHORIZED'])
  expect(await reader.nextOf('end')).toEqual({ type: 'end', reason: 'revoked' })
})

test('revokeUserTokens is audited, needs a key that makes tokens, and knows no other organisation', async () => {
  await using app = await createTestApp(unlimited)
  const org = await createOrganisation(app, ORG)
  const foreign = await createOrganisation(app, 'FOREIGN')
  const input = { orgId: ORG, userId: org.customer }
  const attempt = (credential?: string) => outcome(as(app, credential).revokeUserTokens(input))
  expect(await attempt()).toBe('UNAUTHORIZED')
  expect(await attempt(org.keys.read.secret)).toBe('FORBIDDEN')
  expect(await attempt(org.tokens.support)).toBe('FORBIDDEN')
  expect(await attempt(org.tokens.customer)).toBe('FORBIDDEN')
  expect(await attempt(foreign.keys.admin.secret)).toBe('NOT_FOUND')
  expect(await ask(app, 'select * from user_token_revocations')).toEqual([])
  expect(await attempt(org.keys.support.secret)).toBe('ok')
  const { items } = await as(app, org.keys.admin.secret).listAuditEvents({ orgId: ORG, limit: 1 })
  expect(items).toMatchObject([
    {
      action: 'userTokens.revoked',
      actor: `key:${org.keys.support.id}`,
      target: org.customer,
      details: {},
    },
  ])
})

test('a token of open mode is revoked too, also of an organisation without rows', async () => {
  await using app = await createTestApp(unlimited)
  const token = await createKeylessToken(app, { userId: 'a' })
  const list = () => outcome(as(app, token).listRooms({ orgId: ORG }))
  expect(await list()).toBe('ok')
  await using operator = createOperator(app)
  await operator.call.revokeUserTokens({ orgId: ORG, userId: 'a' })
  await operator.call.revokeUserTokens({ orgId: 'NEW', userId: 'a' })
  expect(await list()).toBe('UNAUTHORIZED')
})

test('a revocation is never moved back', async () => {
  const time = { now: Date.UTC(2026, 0, 1, 12) }
  await using app = await createTestApp(unlimited, { clock: () => time.now })
  const org = await createOrganisation(app, ORG)
  const admin = as(app, org.keys.admin.secret)
  const stored = async () =>
    (await ask(app, 'select revoked_at from user_token_revocations')).map(({ revoked_at }) =>
      Number(revoked_at),
    )
  const revoke = () => admin.revokeUserTokens({ orgId: ORG, userId: 'a' })
  await revoke()
  const first = time.now
  time.now -= 30_000
  await revoke()
  expect(await stored()).toEqual([first])
  time.now = first + 1_000
  await revoke()
  expect(await stored()).toEqual([time.now])
})

test('two revocations in one second end a token that was issued between them', async () => {
  await using app = await createTestApp(unlimited)
  const org = await createOrganisation(app, ORG)
  const admin = as(app, org.keys.admin.secret)
  const user = { orgId: ORG, userId: org.customer }
  // Repeats until both fall into one second: a token waits for the next one, so then the second is over.
  for (let isOver = false; !isOver; ) {
    const first = await admin.revokeUserTokens(user)
    const issuing = admin.createUserToken({ ...user, side: false })
    const second = await admin.revokeUserTokens(user)
    const { token } = await issuing
    const third = await admin.revokeUserTokens(user)
    expect(await outcome(as(app, token).getRoomById({ roomId: org.room }))).toBe('UNAUTHORIZED')
    const secondOf = ({ revokedAt }: { revokedAt: Date }) => Math.floor(revokedAt.getTime() / 1000)
    isOver = secondOf(first) === secondOf(second) && secondOf(third) > secondOf(first)
  }
})
