import { crc32 } from 'node:zlib'
import { type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  as,
  bearer,
  createOrganisation,
  signingKey,
  signingKeysOf,
  unlimited,
} from './credentials.ts'
import { ask } from './database.ts'
import { expectFailure, parseRaw, raw, type Surface, send } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'
import { everySurface, formV2, multipartV2, surfaces } from './surfaces.ts'

interface Line {
  readonly level: number
  readonly req?: { readonly id: string; readonly method: string; readonly path: string }
  readonly res?: { readonly status: number }
  readonly err?: { readonly message: string; readonly stack: string }
}

const ERROR = 50

function linesOf(app: TestApp, requestId: string | undefined): Line[] {
  return (app.log as unknown as Line[]).filter(({ req }) => req?.id === requestId)
}

/** The line is written when the answer is through, which its reader may know a moment earlier. */
async function written(app: TestApp, ...requestIds: (string | undefined)[]): Promise<void> {
  await expect.poll(() => requestIds.every((id) => linesOf(app, id).length > 0)).toBe(true)
}

describe('every request has one line', () => {
  let app: TestApp
  beforeAll(async () => {
    app = await createTestApp()
  })
  afterAll(() => app?.[Symbol.asyncDispose]())

  const requests: [string, string, number, Record<string, string>?, string?][] = [
    ['GET', '/healthz', 200],
    ['HEAD', '/healthz', 200],
    ['GET', '/docs', 200],
    ['GET', '/nothing', 404],
    ['PUT', '/api/v3/rooms', 405],
    ['OPTIONS', '/api/v3/rooms', 204],
    ['GET', '/api/v3/rooms', 400],
    ['POST', '/api/v3/rooms', 415, { 'Content-Type': 'text/plain' }, 'x'],
    ['POST', '/api/v2/room-control/', 400, { 'Content-Type': 'application/json' }, '{'],
    ['GET', '/api/v2/room-list/', 400],
    ['GET', '/trpc/listRooms', 400],
    ['POST', '/trpc/createRoom', 400, { 'Content-Type': 'application/json' }, '{'],
    ['GET', '/trpc/nothing', 404],
    ['PATCH', '/trpc/nothing', 405],
  ]
  for (const [method, path, status, headers = {}, body] of requests) {
    test(`${method} ${path} ${status}`, async () => {
      const before = app.log.length
      const answer = await send(app, { method, path: `${path}?secret=1`, headers, body })
      expect(answer.status).toBe(status)
      const id = answer.headers['x-request-id'] as string
      await written(app, id)
      expect(linesOf(app, id)).toEqual([
        expect.objectContaining({
          level: status >= 400 ? 40 : 30,
          req: { id, method, path },
          res: { status },
          caller: expect.objectContaining({ address: '127.0.0.1' }),
        }),
      ])
      expect(app.log.slice(before).filter(({ req }) => req)).toHaveLength(1)
    })
  }

  test('without a credential that stands in the path, wherever the path is cut', async () => {
    await using app = await createTestApp()
    const header = Buffer.from('{"alg":"HS256"}').toString('base64url')
    const claims = 'sensitive'.repeat(30)
    const ids: (string | undefined)[] = []
    for (let length = 0; length <= 200; length += 10) {
      for (const credential of [`${header}.${claims}.${claims}`, `dck_${claims}`]) {
        const path = `/${'a'.repeat(length)}/${credential}`
        ids.push((await send(app, { path })).headers['x-request-id'] as string)
      }
    }
    await written(app, ...ids)
    expect(JSON.stringify(app.log)).toContain('[credential]')
    expect(JSON.stringify(app.log)).not.toContain('sens')
  })

  test('even one that is hardly HTTP', async () => {
    const answers = [
      ['nonsense\r\n\r\n', 400],
      [`GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ${'x'.repeat(64 * 1024)}\r\n\r\n`, 431],
    ] as const
    for (const [bytes, status] of answers) {
      const { headers } = parseRaw(await raw(app, bytes))
      const id = headers['x-request-id'] as string
      await written(app, id)
      expect(linesOf(app, id)).toEqual([
        expect.objectContaining({
          level: 40,
          res: { status },
          caller: { address: '127.0.0.1' },
        }),
      ])
    }
  })

  test('and one whose client left before its answer, which does not pass for answered', async () => {
    const types = [
      'application/json',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ]
    for (const type of types) {
      for (const path of ['/api/v2/room-control/', '/api/v3/rooms', '/trpc/createRoom']) {
        const before = app.log.length
        const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n`
        await raw(app, `${head}Content-Length: 100\r\n\r\n--x`, { hangUp: true })
        await expect.poll(() => app.log.slice(before).some(({ res }) => res)).toBe(true)
        const [line, ...more] = app.log
          .slice(before)
          .filter(({ req }) => (req as Line['req'])?.path === path)
        expect(line, type).toMatchObject({ req: { method: 'POST', path } })
        expect((line as unknown as Line).res?.status, type).not.toBe(200)
        expect(more).toEqual([])
      }
    }
  })
})

describe('a line says who called', () => {
  const ORG = 'DOWELL12345'
  const MINUTE_MS = 60_000

  /** The `caller` of the line of a request. */
  async function callerOf(
    app: TestApp,
    outgoing: Parameters<typeof send>[1],
  ): Promise<Record<string, unknown>> {
    const { headers } = await send(app, outgoing)
    const id = headers['x-request-id'] as string
    await written(app, id)
    const [line] = linesOf(app, id) as { caller?: Record<string, unknown> }[]
    return line?.caller ?? {}
  }

  test('by address, role, organisation and key, on every API, and never by user', async () => {
    await using app = await createTestApp({ ...unlimited, TRUST_PROXY: 'loopback' })
    const org = await createOrganisation(app, ORG)
    const { keys, tokens } = org
    const forwarded: [header: string | undefined, address: string][] = [
      [undefined, '127.0.0.1'],
      ['192.0.2.7', '192.0.2.7'],
      ['198.51.100.1, 192.0.2.7:4711', '192.0.2.7'],
      ['2001:db8::1', '2001:db8::1'],
      ['[2001:DB8:0::1]:4711', '2001:db8::1'],
      ['::ffff:192.0.2.7', '192.0.2.7'],
      ['a name of a person', 'unknown'],
    ]
    const input = encodeURIComponent(JSON.stringify({ json: { orgId: ORG } }))
    const paths = [
      `/api/v2/room-list/?org_id=${ORG}`,
      `/api/v3/rooms?orgId=${ORG}`,
      `/trpc/listRooms?input=${input}`,
      `/trpc/listRooms?batch=1&input=${encodeURIComponent('{"0":{"json":{}}}')}`,
    ]
    const callers = [
      [keys.admin.secret, 'adminKey', keys.admin.id],
      [keys.read.secret, 'readKey', keys.read.id],
      [tokens.support, 'supportToken', keys.admin.id],
      [tokens.customer, 'customerToken', keys.admin.id],
    ] as const
    for (const path of paths) {
      for (const [credential, role, keyId] of callers) {
        const caller = await callerOf(app, { path, headers: bearer(credential) })
        expect(caller).toEqual({ address: '127.0.0.1', role, orgId: ORG, keyId })
      }
    }
    for (const [header, address] of forwarded) {
      const headers = {
        ...bearer(keys.admin.secret),
        ...(header === undefined ? {} : { 'X-Forwarded-For': header }),
      }
      const path = `/api/v3/rooms?orgId=${ORG}`
      expect(await callerOf(app, { path, headers }), header).toMatchObject({ address })
      expect(await callerOf(app, { path: '/healthz', headers }), header).toEqual({ address })
    }
    expect(JSON.stringify(app.log)).not.toMatch(/customer of|supporter of|a name/)
  })

  test('and why a caller was refused, also when it gets 429', async () => {
    const time = { now: Date.UTC(2026, 0, 1, 12) }
    await using app = await createTestApp(
      { ...unlimited, TOKEN_SIGNING_KEYS: signingKeysOf(signingKey), RATE_LIMIT_FAILURES: '100' },
      { clock: () => time.now },
    )
    const org = await createOrganisation(app, ORG)
    const { keys, tokens, customer } = org
    const admin = as(app, keys.admin.secret)
    const made = await admin.createApiKey({ orgId: ORG, right: 'support' })
    const ofRevokedKey = await as(app, made.secret).createUserToken({
      orgId: ORG,
      userId: customer,
      side: false,
    })
    await admin.revokeApiKey({ keyId: made.apiKey.id })
    const mint = async (userId: string, expiresIn = 3600) =>
      (await admin.createUserToken({ orgId: ORG, userId, side: false, expiresIn })).token
    const [short, revoked] = [await mint(customer, 60), await mint('gone')]
    await admin.revokeUserTokens({ orgId: ORG, userId: 'gone' })
    time.now += 2 * MINUTE_MS
    const iat = Math.floor(time.now / 1000)
    const sign = (claims: JWTPayload, header = {}, secret = signingKey.secret) =>
      new SignJWT({ org: ORG, sub: customer, side: false, key: keys.admin.id, ...claims })
        .setProtectedHeader({
          ...{ alg: 'HS256', typ: 'dowell-chat-user+jwt', kid: signingKey.id },
          ...header,
        })
        .setIssuer('dowell-chat')
        .setAudience('dowell-chat')
        .sign(secret)
    const body = `dck_${'0'.repeat(24)}_${'A'.repeat(43)}`
    const sealed = (text: string) => text + crc32(text).toString(16).padStart(8, '0')
    const streamToken = await as(app, tokens.customer).createStreamToken({})
    const ofKey = { role: 'supportKey', orgId: ORG, keyId: made.apiKey.id }
    const ofCustomer = { role: 'customerToken', orgId: ORG, keyId: keys.admin.id }
    const times = { iat, exp: iat + 60 }
    const refused: [authorization: string | undefined, failure: string, who?: object][] = [
      [undefined, 'no_credential'],
      ['Basic abc', 'malformed'],
      ['Bearer garbage', 'malformed'],
      [`Bearer dck_${'0'.repeat(80)}`, 'malformed'],
      [`Bearer ${sealed(body)}`, 'unknown_key'],
      [`Bearer ${sealed(body.replace('0'.repeat(24), keys.admin.id))}`, 'wrong_secret'],
      [`Bearer ${made.secret}`, 'revoked_key', ofKey],
      [
        `Bearer ${ofRevokedKey.token}`,
        'revoked_key_of_token',
        { ...ofCustomer, keyId: made.apiKey.id },
      ],
      [`Bearer ${short}`, 'expired', ofCustomer],
      [`Bearer ${revoked}`, 'revoked_user_tokens', ofCustomer],
      [`Bearer ${streamToken.token}`, 'wrong_content'],
      [`Bearer ${await sign(times, { kid: 'another' })}`, 'unknown_signing_key'],
      [`Bearer ${await sign(times, {}, Buffer.alloc(32, 8))}`, 'bad_signature'],
      [`Bearer ${await sign({ ...times, side: 'left' })}`, 'wrong_content'],
      [`Bearer ${await sign({ iat, exp: iat + 90_000 })}`, 'too_long_lived', ofCustomer],
      [`Bearer ${await sign({ iat: iat + 600, exp: iat + 900 })}`, 'not_yet_valid', ofCustomer],
    ]
    const outgoing = (authorization: string | undefined) => ({
      path: `/api/v3/rooms?orgId=${ORG}`,
      headers: authorization === undefined ? {} : { authorization },
    })
    for (const [authorization, authFailure, who = {}] of refused) {
      expect(await callerOf(app, outgoing(authorization)), authFailure).toEqual({
        address: '127.0.0.1',
        authFailure,
        ...who,
      })
    }
    for (let n = refused.length; n < 100; n++) await send(app, outgoing('Bearer garbage'))
    const { status, headers } = await send(app, outgoing(`Bearer ${made.secret}`))
    expect(status).toBe(429)
    await written(app, headers['x-request-id'] as string)
    expect(linesOf(app, headers['x-request-id'] as string)).toMatchObject([
      { res: { status: 429 }, caller: { ...ofKey, authFailure: 'revoked_key' } },
    ])
    expect(JSON.stringify(app.log)).not.toMatch(/customer of|gone/)
  })

  test('and a caller that is over its budget', async () => {
    await using app = await createTestApp({ ...unlimited, RATE_LIMIT_ACTOR: '200' })
    const org = await createOrganisation(app, ORG)
    const path = `/api/v3/rooms?orgId=${ORG}`
    const outgoing = { path, headers: bearer(org.keys.read.secret) }
    const statuses = []
    for (let n = 0; n < 200; n++) statuses.push((await send(app, outgoing)).status)
    expect(new Set(statuses)).toEqual(new Set([200]))
    const { status, headers } = await send(app, outgoing)
    expect(status).toBe(429)
    await written(app, headers['x-request-id'] as string)
    expect(linesOf(app, headers['x-request-id'] as string)).toMatchObject([
      { caller: { role: 'readKey', orgId: ORG, keyId: org.keys.read.id } },
    ])
  })

  test('without the user in the path, in any spelling', async () => {
    await using app = await createTestApp()
    const ids: (string | undefined)[] = []
    for (const users of ['users', 'user%73', 'USERS', 'users/', '%75sers']) {
      for (const user of [
        'sensitive',
        '%73ensitive',
        `${'a'.repeat(300)}sensitive`,
        'sensitive%2Fa',
        '../sensitive',
        ';/sensitive',
        '\\sensitive',
      ]) {
        for (const end of ['/events?orgId=a&after=x', '', '/nothing']) {
          const path = `/api/v3/${users}/${user}${end}`
          // A stream is refused before it begins: it has a line at once.
          const { headers } = await send(app, { path, method: 'POST' })
          ids.push(headers['x-request-id'] as string)
        }
      }
    }
    const masked = await send(app, { path: '/api/v3/users/sensitive/events', method: 'POST' })
    ids.push(masked.headers['x-request-id'] as string)
    await written(app, ...ids)
    expect(JSON.stringify(app.log)).not.toContain('sensitive')
    expect(linesOf(app, ids.at(-1))).toMatchObject([{ req: { path: '/api/v3/users/…/events' } }])
  })

  test('without a credential in a path that spells it in another way', async () => {
    await using app = await createTestApp()
    const ids: (string | undefined)[] = []
    for (const key of [
      `%64ck_${'a1'.repeat(12)}`,
      `d%63%6B_${'a1'.repeat(12)}`,
      `DCK_${'a1'.repeat(12)}`,
    ]) {
      ids.push(
        (await send(app, { path: `/api/v3/api-keys/${key}` })).headers['x-request-id'] as string,
      )
    }
    await written(app, ...ids)
    expect(JSON.stringify(app.log)).not.toContain('a1a1')
  })
})

test('a valid X-Request-Id is used, any other is replaced', async () => {
  await using app = await createTestApp()
  const ids = ['a', 'x'.repeat(64), '0192f3a1-7c1e-4d3b', 'trace.id_1']
  for (const id of ids) {
    for (const [surface, path] of [
      ['v2', '/api/v2/room-list'],
      ['v3', '/api/v3/rooms'],
      ['trpc', '/trpc/listRooms'],
      ['v3', '/nothing'],
    ] as const) {
      const answer = await send(app, { path, headers: { 'X-Request-Id': id } })
      expect(answer.headers['x-request-id']).toBe(id)
      expectFailure(surface, answer)
    }
    await written(app, id)
  }
  for (const id of ['', ' ', 'x'.repeat(65), 'a b', 'a/b', '<script>', 'é', 'a,b', '{}']) {
    const { headers } = await send(app, { path: '/healthz', headers: { 'X-Request-Id': id } })
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    await written(app, headers['x-request-id'] as string)
    expect(linesOf(app, id)).toEqual([])
  }
})

test('after a busy run the log has nothing of what people wrote or who they are', async () => {
  await using app = await createTestApp()
  const user = 'sensitive-user'
  const org = 'sensitive-org'
  const text = 'sensitive-text'
  const author = 'sensitive-author'
  const clientId = 'sensitive-client-id'
  const ids: (string | undefined)[] = []
  for (const surface of everySurface) {
    const { openRoom, say, read } = surfaces[surface]
    const opened = await openRoom(app, user, org)
    const room = (surface === 'v2'
      ? opened.body?.inserted_id
      : (opened.body?.result?.data?.json ?? opened.body)?.room?.id) as unknown as string
    const answers = [
      opened,
      await say(app, { room, text, author }),
      await say(app, { room, text, author, clientId: `${clientId}-${surface}` }),
      await say(app, { room, text: `${text}\0`, author, kind: text }),
      await say(app, { room, text: text.repeat(2_000), author }),
      await say(app, { room: '0'.repeat(24), text, author }),
      await openRoom(app, `${user}\0`, org),
    ]
    await read(app, room)
    ids.push(...answers.map(({ headers }) => headers['x-request-id'] as string))
    const fields = { type: 'create_message', room_id: room, message_data: text, auther: author }
    for (const outgoing of [
      formV2({ ...fields, side: 'true' }),
      formV2({ ...fields, side: text }),
      multipartV2({ ...fields, side: 'true' }),
      { path: `/api/v2/room-service/?message_data=${text}&auther=${author}` },
      { path: `/api/v2/room-list/?org_id=${org}` },
      { path: `/api/v3/rooms?orgId=${org}` },
      { path: `/api/v3/rooms?orgId=${org}&${text}=${author}` },
      { path: `/api/v3/rooms/${room}?isActive=${text}`, method: 'DELETE' },
      { path: `/nothing?${text}` },
      { path: '/healthz', headers: { Authorization: text, Cookie: user, Referer: `/${org}` } },
      { path: `/trpc/listRooms?input=${encodeURIComponent(`{"json":{"orgId":"${org}"}}`)}` },
      { path: `/trpc/listRooms?input=${text}` },
    ]) {
      const { headers } = await send(app, outgoing)
      ids.push(headers['x-request-id'] as string)
    }
    const url = `http://${user}:${text}@a/api/v3/rooms?orgId=${org}`
    await raw(app, `GET ${url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  }
  await breakMessages(app)
  for (const surface of everySurface) {
    const { headers } = await surfaces[surface].say(app, {
      room: await openRoom(app, user, org),
      text,
      author,
    })
    ids.push(headers['x-request-id'] as string)
  }
  await written(app, ...ids)
  for (const line of app.log) expect(JSON.stringify(line)).not.toMatch(/sensitive|orgId=|\?/)
})

describe('an unexpected failure', () => {
  const cause = /no such table: messages|relation "messages" does not exist/

  for (const surface of everySurface) {
    test(`${surface}: is a 500 without its cause, which the log has`, async () => {
      await using app = await createTestApp()
      const room = await openRoom(app)
      await breakMessages(app)
      await expectLogged(app, surface, await surfaces[surface].say(app, { room, text: 'x' }), cause)
      const paths = {
        v2: `/api/v2/room-service/?type=get_messages&room_id=${room}`,
        v3: `/api/v3/rooms/${room}/messages`,
        trpc: `/trpc/getMessages?input=${encodeURIComponent(`{"json":{"roomId":"${room}"}}`)}`,
      }
      await expectLogged(app, surface, await send(app, { path: paths[surface] }), cause)
      // What does not need the table still works.
      expect((await surfaces[surface].openRoom(app, 'another')).status).toBeLessThan(300)
    })

    test(`${surface}: also when it is no failure of the database`, async () => {
      let broken = false
      const clock = () => {
        if (broken) throw new Error('the clock has stopped')
        return Date.now()
      }
      await using app = await createTestApp({}, { clock })
      const room = await openRoom(app)
      broken = true
      const answer = await surfaces[surface].say(app, { room, text: 'x' })
      await expectLogged(app, surface, answer, /the clock has stopped/)
      broken = false
      expect((await surfaces[surface].say(app, { room, text: 'x' })).status).toBeLessThan(300)
      expect((await surfaces[surface].read(app, room)).map(({ seq }) => seq)).toEqual([1])
    })
  }

  test('of one call in a batch is logged as well', async () => {
    await using app = await createTestApp()
    const room = await openRoom(app)
    await breakMessages(app)
    const input = encodeURIComponent(
      JSON.stringify({ 0: { json: { roomId: room } }, 1: { json: { roomId: room } } }),
    )
    const path = `/trpc/getRoomById,getMessages?batch=1&input=${input}`
    const { status, headers, body, text } = await send(app, { path })
    expect(status).toBe(207)
    expect(body?.[1]?.error?.json?.data).toMatchObject({ httpStatus: 500 })
    expect(text).not.toMatch(cause)
    const id = headers['x-request-id'] as string
    await written(app, id)
    expect(linesOf(app, id)).toMatchObject([
      { level: ERROR, err: { stack: expect.stringMatching(cause) } },
    ])
  })

  async function expectLogged(
    app: TestApp,
    surface: Surface,
    answer: Awaited<ReturnType<typeof send>>,
    cause: RegExp,
  ): Promise<void> {
    expectFailure(surface, answer, { status: 500, code: 'INTERNAL_SERVER_ERROR' })
    expect(answer.text).not.toMatch(cause)
    const id = answer.headers['x-request-id'] as string
    await written(app, id)
    expect(linesOf(app, id)).toMatchObject([
      { level: ERROR, res: { status: 500 }, err: { stack: expect.stringMatching(cause) } },
    ])
  }
})

test('/healthz and /readyz', async () => {
  await using app = await createTestApp()
  for (const path of ['/healthz', '/readyz']) {
    const { status, body } = await send(app, { path })
    expect({ status, body }).toEqual({ status: 200, body: { status: 'ok' } })
    expect(await send(app, { path, method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
  }
})

/** Takes a table away behind the server's back. */
async function breakMessages(app: TestApp): Promise<void> {
  await ask(app, 'alter table messages rename to away')
}
