import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { createLastUsedTracker, rotateSigningKeys } from '@dowell-chat/api'
import { decodeJwt, decodeProtectedHeader, type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  as,
  bearer,
  createKey,
  createKeylessToken,
  createOperator,
  createOrganisation,
  type Organisation,
  outcome,
  signingKey,
  signingKeysOf,
  unlimited,
} from './credentials.ts'
import { ask, openDirectly } from './database.ts'
import { EventReader } from './eventReader.ts'
import { createTestApp, json, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const HOUR = 3600
/** In milliseconds. */
const MINUTE = 60_000
const DAY = 24 * HOUR

/** A clock that stands still until it is moved; and the server that goes by it. */
async function withClock(env: Parameters<typeof createTestApp>[0] = {}) {
  const time = { now: Date.UTC(2026, 0, 1, 12, 0, 0, 500) }
  const app = await createTestApp({ ...unlimited, ...env }, { clock: () => time.now })
  return Object.assign(app, { time })
}

describe('createUserToken', () => {
  let app: Awaited<ReturnType<typeof withClock>>
  let org: Organisation

  beforeAll(async () => {
    app = await withClock()
    org = await createOrganisation(app, ORG)
  })

  afterAll(async () => {
    await app?.[Symbol.asyncDispose]()
  })

  test('a user token lasts an hour and has its user, organisation and key', async () => {
    const { token, expiresAt, expiresInMs } = await as(
      app,
      org.keys.support.secret,
    ).createUserToken({
      orgId: ORG,
      userId: 'ABCD12345',
      side: false,
      rooms: [org.room],
    })
    const seconds = Math.floor(app.time.now / 1000)
    expect(expiresAt).toEqual(new Date((seconds + HOUR) * 1000))
    expect(expiresInMs).toBe(expiresAt.getTime() - app.time.now)
    expect(decodeProtectedHeader(token)).toEqual({
      alg: 'HS256',
      typ: 'dowell-chat-user+jwt',
      kid: expect.stringMatching(/^[0-9a-f]{24}$/),
    })
    expect(decodeJwt(token)).toEqual({
      iss: 'dowell-chat',
      aud: 'dowell-chat',
      sub: 'ABCD12345',
      org: ORG,
      side: false,
      rooms: [org.room],
      key: org.keys.support.id,
      iat: seconds,
      exp: seconds + HOUR,
    })
  })

  test.each([
    [59, 'BAD_REQUEST'],
    [60, 'ok'],
    [DAY, 'ok'],
    [DAY + 1, 'BAD_REQUEST'],
    [60.5, 'BAD_REQUEST'],
    [-60, 'BAD_REQUEST'],
  ])('may live for %d seconds: %s', async (expiresIn, result) => {
    const admin = as(app, org.keys.admin.secret)
    const minting = admin.createUserToken({ orgId: ORG, userId: 'a', side: true, expiresIn })
    expect(await outcome(minting)).toBe(result)
  })

  test('accepts the longest possible user token', async () => {
    // Four bytes a character, and as many rooms as may be.
    const userId = '😀'.repeat(200)
    await using operator = createOperator(app)
    const orgId = '🏢'.repeat(200)
    const { secret } = await operator.call.createApiKey({ orgId, right: 'support' })
    const rooms = Array.from({ length: 50 }, (_, index) => index.toString(16).padStart(24, '0'))
    const input = { orgId, userId, side: false, rooms, expiresIn: DAY }
    const { token } = await as(app, secret).createUserToken(input)
    expect(token.length).toBeGreaterThan(4096)
    expect((await as(app, token).listRooms({ orgId })).items).toEqual([])
  })

  test('a user token expires at expiresAt, with a minute for clocks that differ', async () => {
    const { now } = app.time
    const { token, expiresAt } = await as(app, org.keys.admin.secret).createUserToken({
      orgId: ORG,
      userId: org.customer,
      side: false,
      expiresIn: 60,
    })
    const read = () => outcome(as(app, token).getRoomById({ roomId: org.room }))
    try {
      app.time.now = expiresAt.getTime() + MINUTE - 1
      expect(await read()).toBe('ok')
      app.time.now = expiresAt.getTime() + MINUTE
      expect(await read()).toBe('UNAUTHORIZED')
    } finally {
      app.time.now = now
    }
  })

  test('a customer token reads and opens its own rooms and writes only as its own user', async () => {
    const { tokens, customer, room, otherCustomersRoom, elsewhere } = org
    const me = as(app, tokens.customer)
    const identity = { orgId: ORG, userId: customer, portfolioName: 'umair' }
    const opened = await me.createRoom({ ...identity, productName: 'LOGIN' })
    expect(opened.created).toBe(true)
    expect((await me.createRoom({ ...identity, productName: 'LOGIN' })).created).toBe(false)
    const theirs = me.createRoom({ ...identity, userId: org.otherCustomer, productName: 'LOGIN' })
    await expect(theirs).rejects.toMatchObject({
      code: 'FORBIDDEN',
      errors: { userId: ['must be the user of the token'] },
    })
    expect((await me.listRooms({ orgId: ORG })).items.map(({ id }) => id)).toEqual(
      expect.arrayContaining([room, elsewhere, opened.room.id]),
    )
    await expect(me.listRooms({ orgId: ORG, around: otherCustomersRoom })).rejects.toMatchObject({
      errors: { around: ['is not the id of a room in this list'] },
    })

    const say = { roomId: room, messageData: 'hello' }
    const sent = await me.createMessage({ ...say, side: false, author: customer })
    expect(sent.message).toMatchObject({ side: false, author: customer })
    await expect(
      me.createMessage({ ...say, side: true, author: org.supporter }),
    ).rejects.toMatchObject({
      code: 'FORBIDDEN',
      errors: {
        side: ['must be false, the side of the token'],
        author: ['must be the user of the token'],
      },
    })
    expect(await outcome(me.createMessage({ ...say, side: true, author: customer }))).toBe(
      'FORBIDDEN',
    )
    expect(await outcome(me.createMessage({ ...say, side: false, author: 'me' }))).toBe('FORBIDDEN')
    const asSystem = { ...say, side: false, author: customer, messageType: 'System' }
    expect(await outcome(me.createMessage(asSystem))).toBe('FORBIDDEN')
    expect(await outcome(me.deleteRoom({ roomId: room }))).toBe('FORBIDDEN')
    const { items } = await me.getMessages({ roomId: room })
    expect(items.map(({ author }) => author)).toEqual([customer])
  })

  test('a customer token sees no rooms of a user with the same name in another organisation', async () => {
    const other = await createOrganisation(app, 'NAMESAKE')
    const identity = { portfolioName: 'p', productName: 'q', userId: org.customer, orgId: other.id }
    const { room } = await as(app, other.keys.admin.secret).createRoom(identity)
    const me = as(app, org.tokens.customer)
    expect(await outcome(me.getRoomById({ roomId: room.id }))).toBe('NOT_FOUND')
    expect(await outcome(me.createRoom(identity))).toBe('NOT_FOUND')
  })

  test('a support token changes all rooms of its organisation, as its own user', async () => {
    const { tokens, supporter, otherCustomersRoom, customer } = org
    const me = as(app, tokens.support)
    const say = { roomId: otherCustomersRoom, messageData: 'hello' }
    const sent = await me.createMessage({ ...say, side: true, author: supporter })
    expect(sent.message).toMatchObject({ side: true, author: supporter })
    expect(await outcome(me.createMessage({ ...say, side: false, author: customer }))).toBe(
      'FORBIDDEN',
    )
    expect(await outcome(me.createMessage({ ...say, side: true, author: 'a' }))).toBe('FORBIDDEN')
    const identity = { orgId: ORG, userId: 'walk-in', portfolioName: 'p', productName: 'q' }
    const { room } = await me.createRoom(identity)
    expect(await me.deleteRoom({ roomId: room.id })).toMatchObject({ isActive: false })
    expect(await me.deleteRoom({ roomId: room.id, isActive: true })).toMatchObject({
      isActive: true,
    })
  })

  test.each(['customerElsewhere', 'supportElsewhere'] as const)(
    'limited to some rooms is good for nothing else: %s',
    async (name) => {
      const me = as(app, org.tokens[name])
      const side = name === 'supportElsewhere'
      const author = side ? org.supporter : org.customer
      const say = { messageData: 'hello', side, author }
      expect(await outcome(me.getRoomById({ roomId: org.elsewhere }))).toBe('ok')
      expect(await outcome(me.createMessage({ ...say, roomId: org.elsewhere }))).toBe('ok')
      for (const roomId of [org.room, org.otherCustomersRoom]) {
        expect(await outcome(me.getRoomById({ roomId }))).toBe('NOT_FOUND')
        expect(await outcome(me.getMessages({ roomId }))).toBe('NOT_FOUND')
        expect(await outcome(me.createMessage({ ...say, roomId }))).toBe('NOT_FOUND')
        expect(await outcome(me.listRooms({ orgId: ORG, around: roomId }))).toBe('BAD_REQUEST')
      }
      const page = await me.listRooms({ orgId: ORG, limit: 1 })
      expect(page).toMatchObject({
        items: [{ id: org.elsewhere }],
        hasBefore: false,
        hasAfter: false,
      })
      // Not even the room that it is for: opening is for whoever may have more than one.
      const { portfolioName, productName, userId } = await me.getRoomById({ roomId: org.elsewhere })
      const opening = me.createRoom({ orgId: ORG, userId, portfolioName, productName })
      expect(await outcome(opening)).toBe('FORBIDDEN')
    },
  )

  test('a token that is limited to rooms of another user finds none of them', async () => {
    const other = await createOrganisation(app, 'WITH ROOMS')
    const rooms = [other.room, org.otherCustomersRoom, 'f'.repeat(24)]
    const { token } = await as(app, org.keys.support.secret).createUserToken({
      orgId: ORG,
      userId: org.customer,
      side: false,
      rooms,
    })
    for (const roomId of rooms) {
      expect(await outcome(as(app, token).getRoomById({ roomId }))).toBe('NOT_FOUND')
    }
    expect((await as(app, token).listRooms({ orgId: ORG })).items).toEqual([])
  })

  test('a user token ends with the key that created it', async () => {
    await using operator = createOperator(app)
    const make = () => operator.call.createApiKey({ orgId: ORG, right: 'support' })
    const [mortal, survivor] = [await make(), await make()]
    const mint = async (secret: string) =>
      (await as(app, secret).createUserToken({ orgId: ORG, userId: 'a', side: true })).token
    const [dying, living] = [await mint(mortal.secret), await mint(survivor.secret)]
    const read = (token: string) => outcome(as(app, token).getRoomById({ roomId: org.room }))
    expect([await read(dying), await read(living)]).toEqual(['ok', 'ok'])
    await operator.call.revokeApiKey({ keyId: mortal.apiKey.id })
    expect([await read(dying), await read(living)]).toEqual(['UNAUTHORIZED', 'ok'])
  })

  test('a failing database is not reported as an invalid token', async () => {
    await using app = await createTestApp(unlimited)
    const { room, tokens } = await createOrganisation(app, ORG)
    await ask(app, 'alter table signing_keys rename to away')
    const read = () => outcome(as(app, tokens.support).getRoomById({ roomId: room }))
    expect(await read()).toBe('INTERNAL_SERVER_ERROR')
    await ask(app, 'alter table away rename to signing_keys')
    expect(await read()).toBe('ok')
  })
})

describe('open mode', () => {
  test('open mode accepts tokens that were created without a key, until it ends', async () => {
    await using app = await createTestApp(unlimited)
    const identity = { orgId: ORG, userId: 'a', portfolioName: 'p', productName: 'q' }
    const { room } = await as(app).createRoom(identity)
    const token = await createKeylessToken(app, { userId: 'a' })
    const read = () => outcome(as(app, token).getRoomById({ roomId: room.id }))
    expect(await read()).toBe('ok')
    await createKey(app, { orgId: 'ANOTHER', right: 'read' })
    expect(await read()).toBe('UNAUTHORIZED')
    expect(await outcome(as(app).getRoomById({ roomId: room.id }))).toBe('UNAUTHORIZED')
  })

  test('AUTH=open stays on with keys, and a token keeps its own access', async () => {
    await using app = await createTestApp({ ...unlimited, AUTH: 'open' })
    const org = await createOrganisation(app, ORG)
    const me = as(app, await createKeylessToken(app, { userId: org.customer }))
    expect(await outcome(me.getRoomById({ roomId: org.room }))).toBe('ok')
    expect(await outcome(me.getRoomById({ roomId: org.otherCustomersRoom }))).toBe('NOT_FOUND')
    expect(await outcome(as(app).getRoomById({ roomId: org.otherCustomersRoom }))).toBe('ok')
  })
})

describe('signing keys', () => {
  /** A token of the server's, and whether it is still let in. */
  async function mintAt(app: TestApp, org: Organisation, expiresIn: number) {
    const admin = as(app, org.keys.admin.secret)
    const input = { orgId: org.id, userId: org.supporter, side: true, expiresIn }
    const { token } = await admin.createUserToken(input)
    return {
      kid: decodeProtectedHeader(token).kid,
      token,
      read: () => outcome(as(app, token).getRoomById({ roomId: org.room })),
    }
  }

  async function rotate(app: Awaited<ReturnType<typeof withClock>>): Promise<string> {
    await using operator = createOperator(app)
    return rotateSigningKeys({ ...operator.deps, clock: () => app.time.now })
  }

  async function stored(app: TestApp): Promise<unknown[]> {
    return (await ask(app, 'select id from signing_keys order by id')).map(({ id }) => id)
  }

  test('a rotated signing key verifies tokens for one more day', async () => {
    await using app = await withClock()
    const org = await createOrganisation(app, ORG)
    const first = await mintAt(app, org, DAY)
    app.time.now += 60_000
    const replaced = app.time.now
    const second = await rotate(app)
    expect(await stored(app)).toEqual([first.kid, second].toSorted())
    const later = await mintAt(app, org, DAY)
    expect(later.kid).toBe(second)
    expect([await first.read(), await later.read()]).toEqual(['ok', 'ok'])

    app.time.now = replaced + DAY * 1000 + 2 * MINUTE - 1
    const third = await rotate(app)
    // Its last token may just be dying: by a clock that is a minute ahead, seen by one that is a minute behind.
    expect(await stored(app)).toHaveLength(3)
    app.time.now += 1
    const fourth = await rotate(app)
    expect(await stored(app)).toEqual([second, third, fourth].toSorted())
  })

  /** Signs as a thief of a signing key does, with any times. */
  async function steal(app: TestApp, org: Organisation, kid: string) {
    const [stored] = await ask(app, 'select secret from signing_keys where id = ?', kid)
    const secret = Buffer.from(stored?.secret as string, 'base64url')
    const sign = (typ: string, claims: JWTPayload) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256', typ, kid })
        .setIssuer('dowell-chat')
        .setAudience('dowell-chat')
        .sign(secret)
    const { id: keyId } = org.keys.admin
    return {
      async user(times: { iat?: number; exp?: number }) {
        const claims = { sub: 'thief', org: org.id, side: true, key: keyId, ...times }
        const token = await sign('dowell-chat-user+jwt', claims)
        return () => outcome(as(app, token).getRoomById({ roomId: org.room }))
      },
      async stream(times: { iat: number; exp: number }) {
        const actor = { kind: 'key', orgId: org.id, keyId, right: 'admin' }
        const token = await sign('dowell-chat-stream+jwt', { actor, ...times })
        return `/api/v3/events?orgId=${org.id}&streamToken=${token}`
      },
    }
  }

  test('a replaced signing key verifies no token that was issued after its replacement', async () => {
    await using app = await withClock()
    const org = await createOrganisation(app, ORG)
    const honest = await mintAt(app, org, DAY)
    const thief = await steal(app, org, honest.kid as string)
    const seconds = Math.floor(app.time.now / 1000)
    const year = seconds + 365 * DAY
    // Before the rotation as well: nobody signs a token for longer than a day, or without a time.
    for (const times of [
      { iat: seconds, exp: year },
      { iat: seconds, exp: seconds + DAY + 1 },
      { exp: seconds + HOUR },
      { exp: year },
      { iat: seconds },
      { iat: seconds + 3 * HOUR, exp: seconds + 4 * HOUR },
    ]) {
      expect(await (await thief.user(times))(), JSON.stringify(times)).toBe('UNAUTHORIZED')
    }
    const early = await thief.user({ iat: seconds, exp: seconds + DAY })
    expect(await early()).toBe('ok')

    await rotate(app)
    app.time.now += HOUR * 1000
    expect([await honest.read(), await early()]).toEqual(['ok', 'ok'])
    const later = seconds + HOUR
    expect(await (await thief.user({ iat: later, exp: later + HOUR }))()).toBe('UNAUTHORIZED')
    const streamPath = await thief.stream({ iat: later, exp: later + 60 })
    expect((await app.fetch(streamPath)).status).toBe(401)

    // What was issued in time lasts for the rest of its day.
    app.time.now += 23 * HOUR * 1000 + MINUTE - 1000
    expect([await honest.read(), await early()]).toEqual(['ok', 'ok'])
    app.time.now += 1000
    expect([await honest.read(), await early()]).toEqual(['UNAUTHORIZED', 'UNAUTHORIZED'])
  })

  test('a stream token lives ten minutes at most, whoever signed it', async () => {
    await using app = await withClock()
    const org = await createOrganisation(app, ORG)
    const { kid } = await mintAt(app, org, 60)
    const thief = await steal(app, org, kid as string)
    const iat = Math.floor(app.time.now / 1000)
    expect((await app.fetch(await thief.stream({ iat, exp: iat + 601 }))).status).toBe(401)
    await using reader = await EventReader.open(app, await thief.stream({ iat, exp: iat + 600 }))
    expect(reader.status).toBe(200)
  })

  test('rotate --now ends the tokens of all older keys, and the streams that they opened', async () => {
    await using app = await withClock()
    const org = await createOrganisation(app, ORG)
    const first = await mintAt(app, org, DAY)
    await rotate(app)
    const second = await mintAt(app, org, DAY)
    const streamToken = await as(app, org.keys.read.secret).createStreamToken({})
    const inbox = `/api/v3/events?orgId=${ORG}`
    const dying = [
      await EventReader.open(app, inbox, bearer(first.token)),
      await EventReader.open(app, inbox, bearer(second.token)),
      await EventReader.open(app, `${inbox}&streamToken=${streamToken.token}`),
    ]
    await using living = await EventReader.open(app, inbox, bearer(org.keys.read.secret))
    for (const reader of [...dying, living]) await reader.nextOf('ready')

    await using operator = createOperator(app)
    const newest = await rotateSigningKeys(
      { ...operator.deps, clock: () => app.time.now },
      { endAll: true },
    )
    expect(await stored(app)).toEqual([newest])
    expect([await first.read(), await second.read()]).toEqual(['UNAUTHORIZED', 'UNAUTHORIZED'])
    for (const reader of dying) {
      expect(await reader.nextOf('end')).toEqual({ type: 'end', reason: 'revoked' })
      await reader[Symbol.asyncDispose]()
    }
    expect(living.isOpen).toBe(true)
    const third = await mintAt(app, org, DAY)
    expect([third.kid, await third.read()]).toEqual([newest, 'ok'])
  })

  test('a server logs that the signing keys were rotated, once', async () => {
    await using app = await withClock()
    const org = await createOrganisation(app, ORG)
    const first = await mintAt(app, org, DAY)
    const lines = () => app.log.filter(({ signingKeys }) => signingKeys)
    expect(lines()).toEqual([])
    const second = await rotate(app)
    await first.read()
    await mintAt(app, org, DAY)
    const msg = 'the signing keys of user tokens were rotated'
    expect(lines()).toMatchObject([{ level: 40, msg, signingKeys: [second, first.kid] }])
  })

  test.each([
    ['stands still', 0],
    ['was set back', -HOUR * 1000],
  ])('are rotated to the new one even when the clock %s', async (_, step) => {
    await using app = await withClock()
    const org = await createOrganisation(app, ORG)
    for (let rotation = 0; rotation < 4; rotation++) {
      app.time.now += step
      const newest = await rotate(app)
      expect((await mintAt(app, org, 60)).kid).toBe(newest)
    }
  })

  test('the first signature creates a signing key, and an unsigned token does not', async () => {
    await using app = await createTestApp(unlimited)
    const header = Buffer.from(JSON.stringify({ alg: 'HS256', kid: 'x' })).toString('base64url')
    const response = await app.fetch('/api/v3/rooms?orgId=a', {
      headers: bearer(`${header}.e30.AA`),
    })
    expect(response.status).toBe(401)
    expect(await stored(app)).toEqual([])
    // Many at once make one.
    const { secret } = await createKey(app)
    const mint = () => as(app, secret).createUserToken({ orgId: ORG, userId: 'a', side: true })
    const tokens = await Promise.all(Array.from({ length: 8 }, mint))
    const kids = tokens.map(({ token }) => decodeProtectedHeader(token).kid)
    expect(new Set(kids)).toEqual(new Set(await stored(app)))
    expect(await stored(app)).toHaveLength(1)
  })

  test('one process at a time creates and rotates signing keys', async () => {
    await using app = await withClock()
    await using processes = new AsyncDisposableStack()
    const operators = Array.from({ length: 4 }, () => processes.use(createOperator(app)))
    const user = { orgId: ORG, userId: 'a', side: true }
    await Promise.all(operators.map(({ call }) => call.createUserToken(user)))
    expect(await stored(app)).toHaveLength(1)

    const clock = () => app.time.now
    await Promise.all(operators.map(({ deps }) => rotateSigningKeys({ ...deps, clock })))
    const rows = await ask(app, 'select distinct created_at from signing_keys')
    expect(rows).toHaveLength(5)
  })

  test('tokens stay valid after a restart', async () => {
    await using before = await createTestApp(unlimited)
    const org = await createOrganisation(before, ORG)
    const { databaseUrl: DATABASE_URL } = before
    await before.close()
    await using after = await createTestApp({ ...unlimited, DATABASE_URL })
    const reading = as(after, org.tokens.customer).getRoomById({ roomId: org.room })
    expect(await outcome(reading)).toBe('ok')
  })

  test('of TOKEN_SIGNING_KEYS the first signs, all verify, and none is stored', async () => {
    const second = { id: 'second', secret: Buffer.alloc(40, 9) }
    await using old = await createTestApp({
      ...unlimited,
      TOKEN_SIGNING_KEYS: signingKeysOf(second),
    })
    const org = await createOrganisation(old, ORG)
    const { databaseUrl: DATABASE_URL } = old
    const before = await mintAt(old, org, HOUR)
    expect(before.kid).toBe('second')
    await old.close()

    const keys = signingKeysOf(signingKey, second)
    await using app = await createTestApp({ ...unlimited, DATABASE_URL, TOKEN_SIGNING_KEYS: keys })
    const after = await mintAt(app, org, HOUR)
    expect(after.kid).toBe('test-key')
    expect(await after.read()).toBe('ok')
    expect(await outcome(as(app, before.token).getRoomById({ roomId: org.room }))).toBe('ok')
    expect(await stored(app)).toEqual([])
    await app.close()

    const only = signingKeysOf(signingKey)
    await using without = await createTestApp({
      ...unlimited,
      DATABASE_URL,
      TOKEN_SIGNING_KEYS: only,
    })
    const reading = (token: string) => outcome(as(without, token).getRoomById({ roomId: org.room }))
    expect(await reading(before.token)).toBe('UNAUTHORIZED')
    expect(await reading(after.token)).toBe('ok')
  })
})

describe('API keys', () => {
  test('an API key has a prefix, 32 random bytes and a checksum, and is stored as a hash', async () => {
    const randomBytes = (length: number) => Buffer.alloc(length, 0xab)
    await using app = await createTestApp(unlimited, { randomBytes })
    const admin = as(app, (await createKey(app, { orgId: ORG })).secret)
    const { apiKey, secret } = await admin.createApiKey({ orgId: ORG, right: 'admin' })
    // Worked out by hand from the format that scanners are told.
    const random = Buffer.alloc(32, 0xab).toString('base64url')
    expect(secret.slice(0, -8)).toBe(`dck_${apiKey.id}_${random}`)
    expect(secret.slice(-8)).toBe(crc32(secret.slice(0, -8)).toString(16).padStart(8, '0'))
    expect(apiKey).toMatchObject({ name: 'API key', right: 'admin', orgId: 'DOWELL12345' })
    expect(apiKey).not.toHaveProperty('revokedAt')
    const hash = createHash('sha256').update(Buffer.alloc(32, 0xab)).digest('hex')
    expect(await ask(app, 'select * from api_keys where id = ?', apiKey.id)).toMatchObject([
      { id: apiKey.id, secret_hash: hash },
    ])
  })

  test('an API key is shown once, listed in pages and revoked for good', async () => {
    await using app = await createTestApp(unlimited)
    const { secret } = await createKey(app, { name: 'first' })
    const admin = as(app, secret)
    const names = ['first', 'help desk', 'ключ 🔑', 'x'.repeat(200)]
    for (const name of names.slice(1)) await admin.createApiKey({ orgId: ORG, right: 'read', name })
    expect(await outcome(admin.createApiKey({ orgId: ORG, right: 'read', name: '' }))).toBe(
      'BAD_REQUEST',
    )
    expect(await outcome(admin.createApiKey({ orgId: ORG, right: 'root' as 'read' }))).toBe(
      'BAD_REQUEST',
    )

    const all = await admin.listApiKeys({ orgId: ORG })
    expect(all.items.map(({ name }) => name)).toEqual(names)
    expect(JSON.stringify(all)).not.toContain('dck_')
    const newest = await admin.listApiKeys({ orgId: ORG, limit: 3 })
    expect(newest).toMatchObject({ hasBefore: true, hasAfter: false })
    const rest = await admin.listApiKeys({ orgId: ORG, limit: 3, before: newest.before })
    expect(rest).toMatchObject({ hasBefore: false, hasAfter: true })
    expect([...rest.items, ...newest.items]).toEqual(all.items)
    const middle = await admin.listApiKeys({ orgId: ORG, limit: 2, around: all.items[1]?.id ?? '' })
    expect(middle.items.map(({ name }) => name)).toContain('help desk')

    const keyId = all.items[1]?.id ?? ''
    const revoked = await admin.revokeApiKey({ keyId })
    expect(revoked.revokedAt).toBeInstanceOf(Date)
    expect(await admin.revokeApiKey({ keyId })).toEqual(revoked)
    const events = await admin.listAuditEvents({ orgId: ORG })
    expect(events.items.filter(({ action }) => action === 'apiKey.revoked')).toHaveLength(1)
    expect((await admin.listApiKeys({ orgId: ORG })).items[1]).toEqual(revoked)
  })

  test('revoking the last admin key does not restore open mode', async () => {
    await using app = await createTestApp(unlimited)
    const { apiKey, secret } = await createKey(app)
    const revoked = await as(app, secret).revokeApiKey({ keyId: apiKey.id })
    expect(revoked.revokedAt).not.toBeNull()
    const attempts = (app: TestApp) => [
      outcome(as(app).listRooms({ orgId: ORG })),
      outcome(as(app, secret).listRooms({ orgId: ORG })),
    ]
    expect(await Promise.all(attempts(app))).toEqual(['UNAUTHORIZED', 'UNAUTHORIZED'])
    const { databaseUrl: DATABASE_URL } = app
    await app.close()
    await using again = await createTestApp({ ...unlimited, DATABASE_URL })
    expect(await Promise.all(attempts(again))).toEqual(['UNAUTHORIZED', 'UNAUTHORIZED'])
  })

  test('the last use of a key is stored periodically and not by the read itself', async () => {
    await using app = await withClock()
    const org = await createOrganisation(app, ORG)
    await using database = await openDirectly(app)
    const lastUse = async () => {
      const rows = await database.ask('select id, last_used_at from api_keys')
      return new Map(rows.map(({ id, last_used_at: at }) => [id, at]))
    }
    const before = await database.dump()
    for (let use = 0; use < 5; use++) {
      app.time.now += 1000
      await as(app, org.keys.read.secret).getRoomById({ roomId: org.room })
    }
    const lastRead = app.time.now
    expect(await database.dump()).toEqual(before)
    expect((await lastUse()).get(org.keys.read.id)).toBeNull()
    // A failed attempt with the key's id is no use of it.
    app.time.now += 1000
    const wrong = `${org.keys.read.secret.slice(0, -1)}!`
    expect(await outcome(as(app, wrong).getRoomById({ roomId: org.room }))).toBe('UNAUTHORIZED')
    await app.close()
    expect((await lastUse()).get(org.keys.read.id)).toBe(lastRead)
    expect((await lastUse()).get(org.keys.support.id)).toBeNull()
  })

  test('a use that could not be stored is stored later', async () => {
    await using app = await createTestApp(unlimited)
    const org = await createOrganisation(app, ORG)
    await using operator = createOperator(app)
    const lastUsed = createLastUsedTracker(operator.deps.db, () => 1234)
    lastUsed.note({ id: org.keys.read.id, org_id: ORG })
    await ask(app, 'alter table api_keys rename to away')
    await expect(lastUsed.flush()).rejects.toThrow()
    await ask(app, 'alter table away rename to api_keys')
    await lastUsed.flush()
    const used = await ask(app, 'select last_used_at from api_keys where id = ?', org.keys.read.id)
    expect(used).toEqual([{ last_used_at: 1234 }])
  })
})

test('createUserToken rejects a credential in its body', async () => {
  await using app = await createTestApp(unlimited)
  const org = await createOrganisation(app, ORG)
  const body = { orgId: ORG, userId: 'a', side: true, key: org.keys.admin.id }
  const response = await app.fetch('/api/v3/user-tokens', {
    ...json(body),
    headers: { 'Content-Type': 'application/json', ...bearer(org.keys.support.secret) },
  })
  expect(response.status).toBe(400)
})
