import { createTestStore } from '@dowell-chat/db/testing'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { callVariantsOf, type Reply } from './callVariants.ts'
import { as, bearer, createOrganisation, type Organisation, outcome } from './credentials.ts'
import { ask, captureStatements, openDirectly, type Rows } from './database.ts'
import { createTestApp, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'

/** No test here is about points. */
const pointless = { RATE_LIMIT_ACTOR: '0', RATE_LIMIT_ADDRESS: '0' }

/** The tests share it, each with customers of its own. */
let app: TestApp
let org: Organisation

beforeAll(async () => {
  app = await createTestApp(pointless)
  org = await createOrganisation(app, ORG)
})
afterAll(() => app?.[Symbol.asyncDispose]())

/** A token for a customer of this name, as long-lived as a token may be. */
async function tokenOf(at: TestApp, userId: string, of = org): Promise<string> {
  const admin = as(at, of.keys.admin.secret)
  const expiresIn = 24 * 60 * 60
  return (await admin.createUserToken({ orgId: ORG, userId, side: false, expiresIn })).token
}

function roomOf(userId: string, productName: string) {
  return { orgId: ORG, userId, portfolioName: 'umair', productName }
}

function roomsOf(at: TestApp, userId: string): Promise<Rows> {
  return ask(at, 'select * from rooms where user_id = ? order by position', userId)
}

async function opens(at: TestApp, token: string, userId: string, product: string): Promise<string> {
  return outcome(as(at, token).createRoom(roomOf(userId, product)))
}

/** An error as each surface words it. */
function errorIn({ body }: Reply): Record<string, unknown> {
  const { error, ...plain } = body as {
    error?: { json: { message: string; data: Record<string, unknown> } }
  }
  return error ? { message: error.json.message, ...error.json.data } : plain
}

describe('a customer token that opens rooms under made-up product names', () => {
  test.each(callVariantsOf('createRoom'))(
    'is stopped at the bound over $title',
    async (variant) => {
      const userId = `attacker over ${variant.title}`
      const token = await tokenOf(app, userId)
      const open = (product: string) => variant.call(app, roomOf(userId, product), bearer(token))
      const replies: Reply[] = []
      for (let i = 0; i < 14; i++) replies.push(await open(`made-up ${i}`))
      const refused = replies.filter(({ status }) => status === 429)
      expect(await roomsOf(app, userId)).toHaveLength(10)
      expect(refused).toHaveLength(4)
      for (const reply of refused) {
        const seconds = Number(reply.headers['retry-after'])
        expect(seconds).toBeGreaterThan(0)
        expect(seconds).toBeLessThanOrEqual(60)
        expect(errorIn(reply)).toMatchObject({
          code: 'TOO_MANY_REQUESTS',
          message: 'A customer may open 10 rooms per minute',
        })
      }
      // A room that is there is found as often as anybody likes.
      for (let i = 0; i < 12; i++) expect((await open('made-up 3')).status).toBe(200)
    },
  )

  test('is no burden for other customers, the support team and the keys of the organisation', async () => {
    const token = await tokenOf(app, 'greedy')
    for (let i = 0; i < 10; i++) await opens(app, token, 'greedy', `made-up ${i}`)
    expect(await opens(app, token, 'greedy', 'one more')).toBe('TOO_MANY_REQUESTS')
    expect(await opens(app, await tokenOf(app, 'modest'), 'modest', 'WIFIQRCODE')).toBe('ok')
    const team = [org.tokens.support, org.keys.admin.secret, org.keys.support.secret]
    for (const [index, credential] of team.entries()) {
      for (let i = 0; i < 12; i++) {
        expect(await opens(app, credential, 'greedy', `by team ${index} ${i}`)).toBe('ok')
      }
    }
  })

  test('at once on two servers gets exactly as many rooms as the bound allows', async () => {
    await using store = await createTestStore()
    const env = {
      ...pointless,
      DATABASE_URL: store.url,
      DATABASE_STATEMENT_TIMEOUT: '60000',
    }
    const start = () => createTestApp(env, { busyTimeout: 60_000, connectTimeout: 60_000 })
    const apps = [await start(), await start()] as const
    onTestFinished(async () => {
      for (const one of apps) await one.close()
    })
    const shared = await createOrganisation(apps[0], ORG)
    const tokens = [
      await tokenOf(apps[0], 'greedy', shared),
      await tokenOf(apps[0], 'other', shared),
    ]
    // While nobody can open one, all calls find that there is room.
    await using database = await openDirectly({ databaseUrl: store.url })
    const isPostgres = database.dialect === 'postgres'
    await database.ask(isPostgres ? 'begin' : 'begin immediate')
    if (isPostgres) await database.ask('select id from organisations for update')
    using statements = captureStatements({ databaseUrl: store.url })
    // Requests of one customer take turns on a server; the calls of one batch happen at once.
    const attempts = apps.flatMap((one, server) =>
      ['greedy', 'other'].flatMap((userId, user) => {
        const chat = as(one, tokens[user])
        return Array.from({ length: 10 }, (_, i) =>
          outcome(chat.createRoom(roomOf(userId, `made-up ${server} ${i}`))),
        )
      }),
    )
    let counts = 0
    await expect
      .poll(() => {
        counts += statements.take().filter((text) => text.includes('offset')).length
        return counts
      })
      .toBe(attempts.length)
    await database.ask('rollback')
    const outcomes = await Promise.all(attempts)
    expect(outcomes.filter((each) => each === 'ok')).toHaveLength(20)
    expect(new Set(outcomes)).toEqual(new Set(['ok', 'TOO_MANY_REQUESTS']))
    for (const userId of ['greedy', 'other']) {
      expect(await roomsOf(apps[0], userId)).toHaveLength(10)
    }
  })
})

/** A server of a test's own, with one customer and the support team. */
async function createCustomer(env: Record<string, string>) {
  const clock = { now: Date.parse('2026-01-01T00:00:00Z') }
  const own = await createTestApp({ ...pointless, ...env }, { clock: () => clock.now })
  onTestFinished(() => own[Symbol.asyncDispose]())
  const of = await createOrganisation(own, ORG)
  const chat = as(own, await tokenOf(own, 'customer', of))
  return {
    app: own,
    org: of,
    clock,
    chat,
    support: as(own, of.tokens.support),
    admin: as(own, of.keys.admin.secret),
    open: (product: string) => outcome(chat.createRoom(roomOf('customer', product))),
    /** Why the customer may not open a room. */
    refusal: (product: string) =>
      chat.createRoom(roomOf('customer', product)).then(
        () => undefined,
        ({ code, message, retryAfter, errors }) => ({ code, message, retryAfter, errors }),
      ),
  }
}

describe('the rates', () => {
  test('count what a minute and an hour have seen, and say when there is room again', async () => {
    const { clock, open, refusal } = await createCustomer({
      ROOMS_PER_MINUTE: '2',
      ROOMS_PER_HOUR: '3',
    })
    const code = 'TOO_MANY_REQUESTS'
    expect(await open('first')).toBe('ok')
    clock.now += 20_000
    expect(await open('second')).toBe('ok')
    const perMinute = { code, message: 'A customer may open 2 rooms per minute' }
    expect(await refusal('third')).toMatchObject({ ...perMinute, retryAfter: 40_000 })
    clock.now += 39_001
    expect(await refusal('third')).toMatchObject({ ...perMinute, retryAfter: 1_000 })
    clock.now += 999
    expect(await open('third')).toBe('ok')
    // An hour after the first, which is later than a minute after the second.
    const perHour = { code, message: 'A customer may open 3 rooms per hour' }
    expect(await refusal('fourth')).toMatchObject({ ...perHour, retryAfter: 3_540_000 })
    clock.now += 3_540_000
    expect(await open('fourth')).toBe('ok')
  })

  test('count rooms that were deleted since', async () => {
    const { chat, support, open } = await createCustomer({ ROOMS_PER_MINUTE: '2' })
    for (const product of ['first', 'second']) {
      const { room } = await chat.createRoom(roomOf('customer', product))
      await support.deleteRoom({ roomId: room.id })
    }
    expect(await open('first')).toBe('TOO_MANY_REQUESTS')
    expect(await open('third')).toBe('TOO_MANY_REQUESTS')
  })

  test('wait no longer than the window for a room that a fast clock opened in the future', async () => {
    const { clock, open, refusal } = await createCustomer({
      ROOMS_PER_MINUTE: '1',
      ROOMS_PER_HOUR: '0',
    })
    clock.now += 10_000_000
    expect(await open('first')).toBe('ok')
    clock.now -= 10_000_000
    expect(await refusal('second')).toMatchObject({ retryAfter: 60_000 })
  })
})

describe('the bound on active rooms', () => {
  const env = { ROOMS_PER_CUSTOMER: '3', ROOMS_PER_MINUTE: '0', ROOMS_PER_HOUR: '0' }

  test('says what to do, and no time to wait', async () => {
    const { app, chat, support, open, refusal } = await createCustomer(env)
    for (const product of ['first', 'second']) expect(await open(product)).toBe('ok')
    const { room } = await chat.createRoom(roomOf('customer', 'third'))
    expect(await refusal('fourth')).toEqual({
      code: 'TOO_MANY_REQUESTS',
      message:
        'A customer may have 3 active rooms: write in one of them, or have the support team delete one',
    })
    expect((await chat.createRoom(roomOf('customer', 'third'))).created).toBe(false)
    await support.deleteRoom({ roomId: room.id })
    expect(await open('fourth')).toBe('ok')
    // Restoring is the support team's, and not bounded.
    await support.deleteRoom({ roomId: room.id, isActive: true })
    expect(await open('fifth')).toBe('TOO_MANY_REQUESTS')
    expect(await roomsOf(app, 'customer')).toHaveLength(4)
  })

  test('holds for calls at once', async () => {
    const { app, open } = await createCustomer(env)
    const outcomes = await Promise.all(Array.from({ length: 12 }, (_, i) => open(`product ${i}`)))
    expect(outcomes.filter((each) => each === 'ok')).toHaveLength(3)
    expect(await roomsOf(app, 'customer')).toHaveLength(3)
  })

  test('of 0 is none', async () => {
    const { open } = await createCustomer({ ...env, ROOMS_PER_CUSTOMER: '0' })
    const outcomes = await Promise.all(Array.from({ length: 55 }, (_, i) => open(`product ${i}`)))
    expect(new Set(outcomes)).toEqual(new Set(['ok']))
  })
})

describe('the products that an organisation lists', () => {
  const other = { code: 'FORBIDDEN', errors: { productName: [expect.any(String)] } }

  test('are those that a customer opens, on every surface', async () => {
    const { app, admin, org: of } = await createCustomer({})
    await admin.updateOrganisation({ orgId: ORG, products: ['WIFIQRCODE', 'LOGIN'] })
    const token = await tokenOf(app, 'customer', of)
    const team = [of.keys.admin.secret, of.keys.support.secret, of.tokens.support]
    for (const variant of callVariantsOf('createRoom')) {
      const open = (product: string, credential: string) =>
        variant.call(app, roomOf('customer', product), bearer(credential))
      const refused = await open('made-up', token)
      expect(refused.status, variant.title).toBe(403)
      const field = variant.surface === 'v2' ? 'product_name' : 'productName'
      expect(errorIn(refused), variant.title).toMatchObject({
        code: 'FORBIDDEN',
        message: 'The organisation lists the products for which customers may open rooms',
        errors: { [field]: ['must be one of the products that the organisation lists'] },
      })
      expect((await open('LOGIN', token)).status, variant.title).toBeLessThan(300)
      for (const [index, credential] of team.entries()) {
        const opened = await open(`by ${index} over ${variant.title}`, credential)
        expect(opened.status, variant.title).toBeLessThan(300)
      }
    }
  })

  test('leave the rooms of other products as they are', async () => {
    const { chat, admin } = await createCustomer({})
    const { room } = await chat.createRoom(roomOf('customer', 'OLD'))
    await admin.updateOrganisation({ orgId: ORG, products: [] })
    expect(await chat.createRoom(roomOf('customer', 'OLD'))).toMatchObject({ created: false })
    await chat.createMessage({ roomId: room.id, messageData: 'a', side: false, author: 'customer' })
    expect((await chat.getMessages({ roomId: room.id })).items).toHaveLength(1)
    await expect(chat.createRoom(roomOf('customer', 'NEW'))).rejects.toMatchObject(other)
    // A room that was deleted is none to be found.
    await admin.deleteRoom({ roomId: room.id })
    await expect(chat.createRoom(roomOf('customer', 'OLD'))).rejects.toMatchObject(other)
    await admin.updateOrganisation({ orgId: ORG, products: null })
    expect(await chat.createRoom(roomOf('customer', 'NEW'))).toMatchObject({ created: true })
  })

  test('hold on every server as soon as they are answered', async () => {
    const { app, clock, org: of, admin } = await createCustomer({ ROOMS_PER_MINUTE: '0' })
    await using second = await createTestApp(
      { ...pointless, DATABASE_URL: app.databaseUrl },
      { clock: () => clock.now },
    )
    const there = as(second, await tokenOf(second, 'customer', of))
    for (let round = 0; round < 5; round++) {
      const opening = outcome(there.createRoom(roomOf('customer', `product ${round}`)))
      expect(await opening).toBe('ok')
      await admin.updateOrganisation({ orgId: ORG, products: [] })
      await expect(there.createRoom(roomOf('customer', `new ${round}`))).rejects.toMatchObject(
        other,
      )
      await admin.updateOrganisation({ orgId: ORG, products: null })
    }
  })
})

test('a new room of a key or of the support team costs no statement more than before', async () => {
  const { app, org: of } = await createCustomer({})
  using statements = captureStatements(app)
  const ofBounds = async (credential: string, userId: string) => {
    statements.take()
    await as(app, credential).createRoom(roomOf(userId, 'counted'))
    return statements.take().filter((text) => text.includes('offset')).length
  }
  expect(await ofBounds(of.keys.support.secret, 'by key')).toBe(0)
  expect(await ofBounds(of.tokens.support, 'by support')).toBe(0)
  // A customer's own are looked at twice: before anything is locked, and when nobody else can write.
  expect(await ofBounds(await tokenOf(app, 'customer', of), 'customer')).toBe(2)
  // To find it again looks at nothing.
  expect(await ofBounds(await tokenOf(app, 'customer', of), 'customer')).toBe(0)
})
