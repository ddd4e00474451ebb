import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import {
  type AccessLevel,
  appRouter,
  type CallName,
  callNames,
  type Inputs,
  type OperationName,
  operationNamed,
  operationNames,
  pointsOf,
  type Role,
  roles,
  streamNames,
} from '@dowell-chat/api'
import {
  allOrganisations,
  type Database,
  findApiKey,
  findMessage,
  findRoom,
  listApiKeysPage,
  listAuditEventsPage,
  listRoomsPage,
  messagesInRange,
} from '@dowell-chat/db'
import { CompactEncrypt, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CallVariant, callVariants, type Reply } from './callVariants.ts'
import {
  as,
  bearer,
  createOperator,
  createOrganisation,
  type Organisation,
  rights,
  signingKey,
  signingKeysOf,
  unlimited,
} from './credentials.ts'
import { EventReader, outcomeOfStream, streamVariants, type Told } from './eventReader.ts'
import { fixtures, type Sender } from './fixtures.ts'
import type { SentHeaders } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'

/** Someone who calls, and what the table makes of them. */
interface Caller {
  readonly title: string
  readonly headers: SentHeaders
  readonly sender: Sender
  /**
   * `nobody`: has no valid credential. `own`: acts for the organisation, and for the rooms, that is asked for.
   * `foreign`: for another organisation. `elsewhere`: for other rooms of the same organisation.
   */
  readonly place: 'nobody' | 'own' | 'foreign' | 'elsewhere'
  readonly role?: Role
}

type Expected = 'ok' | 401 | 403 | 404

/** What the table, and nothing else, says of a call. */
function expected(procedure: OperationName, { place, role }: Caller): Expected {
  if (place === 'nobody' || role === undefined) return 401
  if (operationNamed(procedure).access[role] === 'none') return 403
  if (place === 'own') return 'ok'
  const { about } = fixtures[procedure]
  if (about === 'caller') return 'ok'
  if (place === 'foreign') return 404
  switch (about) {
    case 'room':
      return 404
    case 'rooms':
      // A list of what there is for the caller; that nothing else is in it is checked as well.
      return 'ok'
    case 'room of a user':
      return 403
    case 'organisation':
      throw new Error(`${procedure}: what is this to a token that the table lets in?`)
  }
}

const DAY = 24 * 60 * 60
const anyone: Sender = { side: true, author: 'anyone' }
const NAME = 'DOWELL12345'

let app: TestApp
let openApp: TestApp
let org: Organisation
let openOrg: Organisation
let callers: Caller[]

beforeAll(async () => {
  const env = { ...unlimited, TOKEN_SIGNING_KEYS: signingKeysOf(signingKey) }
  app = await createTestApp(env)
  org = await createOrganisation(app, NAME)
  const foreign = await createOrganisation(app, 'FOREIGN')
  callers = [
    ...(await strangers(org, foreign)),
    ...members(org, 'own'),
    ...members(foreign, 'foreign'),
    {
      title: 'customer token of another user',
      headers: bearer(org.tokens.otherCustomer),
      role: 'customerToken',
      place: 'elsewhere',
      sender: { side: false, author: org.otherCustomer },
    },
    {
      title: 'customer token limited to another room',
      headers: bearer(org.tokens.customerElsewhere),
      role: 'customerToken',
      place: 'elsewhere',
      sender: { side: false, author: org.customer },
    },
    {
      title: 'support token limited to another room',
      headers: bearer(org.tokens.supportElsewhere),
      role: 'supportToken',
      place: 'elsewhere',
      sender: { side: true, author: org.supporter },
    },
  ]
  openApp = await createTestApp({ ...unlimited, AUTH: 'open' })
  openOrg = await createOrganisation(openApp, NAME)
})

afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
  await openApp?.[Symbol.asyncDispose]()
})

/** Each kind of caller of an organisation. */
function members(of: Organisation, place: Caller['place']): Caller[] {
  return [
    ...rights.map(
      (right): Caller => ({
        title: `${place} ${right} key`,
        headers: bearer(of.keys[right].secret),
        role: `${right}Key`,
        place,
        sender: anyone,
      }),
    ),
    {
      title: `${place} support token`,
      headers: bearer(of.tokens.support),
      role: 'supportToken',
      place,
      sender: { side: true, author: of.supporter },
    },
    {
      title: `${place} customer token`,
      headers: bearer(of.tokens.customer),
      role: 'customerToken',
      place,
      sender: { side: false, author: of.customer },
    },
  ]
}

/** Everybody whom no surface may let in, with the organisation's own credentials bent out of shape. */
async function strangers(of: Organisation, foreign: Organisation): Promise<Caller[]> {
  const key = of.keys.admin.secret
  const token = of.tokens.support
  const [header = '', payload = '', signature = ''] = token.split('.')

  await using operator = createOperator(app)
  const { apiKey, secret } = await operator.call.createApiKey({ orgId: of.id, right: 'admin' })
  const minted = await as(app, secret).createUserToken({ orgId: of.id, userId: 'a', side: true })
  await operator.call.revokeApiKey({ keyId: apiKey.id })

  const now = Math.floor(Date.now() / 1000)
  const claims = {
    sub: of.supporter,
    org: of.id,
    side: true,
    key: of.keys.admin.id,
    iss: 'dowell-chat',
    aud: 'dowell-chat',
    iat: now,
    exp: now + 600,
  }
  const head = { alg: 'HS256', typ: 'dowell-chat-user+jwt', kid: signingKey.id }
  const forge = (
    change: JWTPayload,
    headerChange: Partial<JWTHeaderParameters> = {},
    by: Parameters<SignJWT['sign']>[0] = signingKey.secret,
  ) =>
    new SignJWT({ ...claims, ...change }).setProtectedHeader({ ...head, ...headerChange }).sign(by)
  // As an attacker would who has the secret's owner confuse it with something else: a header of their choice.
  const sealed = (header: object, hash = 'sha256') => {
    const text = `${base64url(header)}.${base64url(claims)}`
    return `${text}.${createHmac(hash, signingKey.secret).update(text).digest('base64url')}`
  }
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { key: _, ...withoutKey } = claims
  // A signature that base64 and base64url spell differently.
  let dashed = await forge({})
  for (let jti = 0; !/[-_]/.test(dashed.slice(-43)); jti++) dashed = await forge({ jti: `${jti}` })

  // The forger's tools are sound: what they make without bending it is let in.
  const honest = await as(app, await forge({})).getRoomById({ roomId: of.room })
  expect(honest.id).toBe(of.room)
  expect((await as(app, sealed(head)).getRoomById({ roomId: of.room })).id).toBe(of.room)

  const headers: Record<string, SentHeaders> = {
    'no credential': {},
    'empty header': { authorization: '' },
    'scheme without a credential': { authorization: 'Bearer' },
    'key without a scheme': { authorization: key },
    'another scheme': { authorization: `Basic ${Buffer.from(`${key}:`).toString('base64')}` },
    'another scheme with a key': { authorization: `Token ${key}` },
    'two keys in one header': { authorization: `Bearer ${key}, Bearer ${key}` },
    'key and token in one header': { authorization: `Bearer ${key} ${token}` },
    'two headers': { authorization: [`Bearer ${key}`, `Bearer ${key}`] },
    'a valid header and then another': { authorization: [`Bearer ${key}`, 'Bearer garbage'] },
    'an invalid header and then a valid one': {
      authorization: ['Bearer garbage', `Bearer ${key}`],
    },
    'a key as a cookie': { cookie: `authorization=Bearer ${key}; token=${token}` },
    'a key in other headers': { 'x-api-key': key, 'proxy-authorization': `Bearer ${key}` },
  }
  const credentials: Record<string, string> = {
    garbage: 'garbage',
    'three dots': '...',
    'over-long': 'a'.repeat(8193),
    'over-long token': `${token}${'A'.repeat(8000)}`,
    'key with a bad checksum': `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`,
    'key in other letters': key.toUpperCase(),
    'key with a tail': `${key}0`,
    'key in another spelling of its secret': sealedKey(respelled(key.slice(0, -8))),
    'token in another spelling of its signature': respelled(token),
    'token with padding': `${token}=`,
    'token in the alphabet of base64': `${dashed.slice(0, -43)}${inBase64(dashed.slice(-43))}`,
    'token with a blank in its signature': `${token.slice(0, -1)}\u00a0${token.slice(-1)}`,
    'key between other blanks': `\u00a0${key}\u00a0`,
    'key cut short': key.slice(0, -1),
    'key of nobody': foreignSecret('0'.repeat(24)),
    'own key id with another secret': foreignSecret(of.keys.admin.id),
    'revoked key': secret,
    'token of a revoked key': minted.token,
    'expired token': await forge({ iat: now - 600, exp: now - 61 }),
    'token that never expires': await forge({ exp: undefined as never }),
    'token from the future': await forge({ nbf: now + 600 }),
    'token issued in the future': await forge({ iat: now + 300 }),
    'token without a time of issue': await forge({ iat: undefined as never }),
    'token that lives longer than a day': await forge({ iat: now - 60, exp: now + DAY }),
    'token of a year': await forge({ exp: now + 365 * DAY }),
    'wrongly signed token': await forge({}, {}, randomBytes(32)),
    'unknown kid': await forge({}, { kid: 'another' }),
    'no kid': await forge({}, { kid: undefined as never }),
    'kid that is no text': sealed({ ...head, kid: [signingKey.id] }),
    'alg none': `${base64url({ ...head, alg: 'none' })}.${base64url(claims)}.`,
    'alg none with a signature': sealed({ ...head, alg: 'none' }),
    'alg nOnE': `${base64url({ ...head, alg: 'nOnE' })}.${base64url(claims)}.${signature}`,
    'no alg': sealed({ typ: head.typ, kid: head.kid }),
    HS384: sealed({ ...head, alg: 'HS384' }, 'sha384'),
    HS512: sealed({ ...head, alg: 'HS512' }, 'sha512'),
    'HS512 in the header only': sealed({ ...head, alg: 'HS512' }),
    RS256: await forge({}, { alg: 'RS256' }, rsa.privateKey),
    'RS256 in the header only': sealed({ ...head, alg: 'RS256' }),
    ES256: await forge({}, { alg: 'ES256' }, ec.privateKey),
    'a key in the header': await forge(
      {},
      { alg: 'ES256', jwk: ec.publicKey.export({ format: 'jwk' }) as never },
      ec.privateKey,
    ),
    'unknown critical extension': sealed({ ...head, crit: ['exp2'], exp2: 1 }),
    'encrypted token': await new CompactEncrypt(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader({ ...head, alg: 'dir', enc: 'A256GCM' })
      .encrypt(signingKey.secret),
    'wrong typ': await forge({}, { typ: 'JWT' }),
    'no typ': await forge({}, { typ: undefined as never }),
    'wrong iss': await forge({ iss: 'someone' }),
    'no iss': await forge({ iss: undefined as never }),
    'wrong aud': await forge({ aud: 'something' }),
    'no aud': await forge({ aud: undefined as never }),
    'no org': await forge({ org: undefined }),
    'no sub': await forge({ sub: undefined as never }),
    'no side': await forge({ side: undefined }),
    'side that is text': await forge({ side: 'true' }),
    'rooms that are no list': await forge({ rooms: of.room }),
    "another organisation's key": await forge({ key: foreign.keys.admin.id }),
    'key that never was': await forge({ key: '0'.repeat(24) }),
    'key that is no text': await forge({ key: { id: of.keys.admin.id } }),
    // As made in open mode, which is over.
    'no key': await new SignJWT(withoutKey).setProtectedHeader(head).sign(signingKey.secret),
    'tampered payload': `${header}.${tampered(payload, { side: false })}.${signature}`,
    'tampered expiry': `${header}.${tampered(payload, { exp: now + 1e6 })}.${signature}`,
    'tampered signature': `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`,
    'no signature': `${header}.${payload}.`,
    'no third part': `${header}.${payload}`,
    'a fourth part': `${token}.${signature}`,
  }
  for (const [title, credential] of Object.entries(credentials)) headers[title] = bearer(credential)
  return Object.entries(headers).map(([title, headers]) => ({
    title,
    headers,
    place: 'nobody',
    sender: anyone,
  }))
}

/** A well-formed key that nobody was given, its checksum included. */
function foreignSecret(keyId: string): string {
  return sealedKey(`dck_${keyId}_${randomBytes(32).toString('base64url')}`)
}

function sealedKey(body: string): string {
  return body + crc32(body).toString(16).padStart(8, '0')
}

/** The same bytes, with the other value of the bits that base64url has to spare at the end of 32 bytes. */
function respelled(text: string): string {
  const other = text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1)
  expect(Buffer.from(other.slice(-43), 'base64url')).toEqual(
    Buffer.from(text.slice(-43), 'base64url'),
  )
  return other
}

function inBase64(text: string): string {
  return text.replaceAll('-', '+').replaceAll('_', '/')
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function tampered(payload: string, change: object): string {
  return base64url({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), ...change })
}

function outcomeOf({ status }: Reply): number | 'ok' {
  return status >= 200 && status < 300 ? 'ok' : status
}

const codes: Record<number, string> = { 401: 'UNAUTHORIZED', 403: 'FORBIDDEN', 404: 'NOT_FOUND' }

/** Each surface words an answer in its own shape, failures too. */
function expectShape(variant: CallVariant, reply: Reply): void {
  const failed = outcomeOf(reply) !== 'ok'
  const code = codes[reply.status]
  const told = failed ? { code, requestId: reply.headers['x-request-id'] } : {}
  if (variant.surface === 'v2') {
    // A list of rooms is documented without the envelope.
    const envelope = failed || variant.procedure !== 'listRooms' ? { success: !failed } : {}
    expect(reply.body).toMatchObject({ ...envelope, ...told })
    if (failed) expect(reply.body).toHaveProperty('message', expect.any(String))
  } else if (variant.surface === 'v3') {
    expect(reply.body).toMatchObject(told)
  } else if (failed) {
    expect(reply.body).toMatchObject({ error: { json: { data: told } } })
  } else {
    expect(reply.body).toHaveProperty('result.data.json')
  }
  if (variant.surface === 'tRPC batch') {
    // Its siblings fail for their input once the caller is let in.
    expect(reply.httpStatus).toBe(reply.status === 401 ? 401 : 207)
  }
  if (reply.status === 401) expect(reply.headers['www-authenticate']).toMatch(/^Bearer /)
}

async function call(
  target: TestApp,
  variant: CallVariant,
  caller: Caller,
  of: Organisation,
): Promise<Reply> {
  const input: Inputs[CallName] = fixtures[variant.procedure].input(of, caller.sender)
  const reply = await variant.call(target, { ...input }, caller.headers)
  expectShape(variant, reply)
  return reply
}

test('a caller without a credential gets 401 before the body is read', async () => {
  const strange = [
    ['application/json', '{'],
    ['text/plain', 'a'],
    ['application/json', 'x'.repeat(4 * 1024 * 1024)],
  ] as const
  for (const path of ['/api/v2/room-control/', '/api/v3/rooms', '/trpc/createRoom']) {
    for (const [type, body] of strange) {
      const response = await app.fetch(path, {
        method: 'POST',
        headers: { 'Content-Type': type },
        body,
      })
      expect(response.status, `${path} ${type} ${body.length}`).toBe(401)
      expect(await response.text()).toContain('UNAUTHORIZED')
    }
  }
})

describe.each(callVariants)('$title', (variant) => {
  test('allows and rejects each caller as its access table says', async () => {
    const outcomes = await Promise.all(
      callers.map(async (caller) => [
        caller.title,
        outcomeOf(await call(app, variant, caller, org)),
      ]),
    )
    expect(Object.fromEntries(outcomes)).toEqual(
      Object.fromEntries(
        callers.map((caller) => [caller.title, expected(variant.procedure, caller)]),
      ),
    )
  })

  test('allows a caller without a credential what the access table says, with AUTH=open', async () => {
    const caller: Caller = {
      title: 'open',
      headers: {},
      place: 'own',
      role: 'open',
      sender: anyone,
    }
    expect(outcomeOf(await call(openApp, variant, caller, openOrg))).toBe(
      expected(variant.procedure, caller),
    )
  })
})

describe.each(streamVariants)('$title', ({ name, open }) => {
  const outcome = async (target: TestApp, caller: Caller, of: Organisation, query?: string) => {
    const input = fixtures[name].input(of, caller.sender)
    await using reader = await open(target, { ...input }, caller.headers, query)
    const status = await outcomeOfStream(reader)
    if (status === 401) expect(reader.response.headers['www-authenticate']).toMatch(/^Bearer /)
    return status === 200 ? 'ok' : status
  }

  test('allows and rejects each caller as its access table says', async () => {
    const outcomes = await Promise.all(
      callers.map(async (caller) => [caller.title, await outcome(app, caller, org)]),
    )
    expect(Object.fromEntries(outcomes)).toEqual(
      Object.fromEntries(callers.map((caller) => [caller.title, expected(name, caller)])),
    )
  })

  test('gives a stream token the access of the credential that created it', async () => {
    for (const caller of callers) {
      if (caller.place === 'nobody') continue
      const { authorization } = caller.headers as { authorization: string }
      const { token } = await as(app, authorization.slice('Bearer '.length)).createStreamToken({})
      const got = await outcome(app, { ...caller, headers: {} }, org, `&streamToken=${token}`)
      expect([caller.title, got]).toEqual([caller.title, expected(name, caller)])
    }
  })

  test('needs no credential in open mode', async () => {
    const anybody: Caller = { title: 'open', headers: {}, place: 'own', sender: anyone }
    expect(await outcome(openApp, anybody, openOrg)).toBe('ok')
  })
})

test.each(streamVariants)(
  '$title sends a token the stored and live events of its rooms only',
  async (variant) => {
    await using own = await createTestApp(unlimited)
    const of = await createOrganisation(own, NAME)
    const { room, elsewhere, otherCustomersRoom, tokens, keys } = of
    const admin = as(own, keys.admin.secret)
    const rooms = [room, elsewhere, otherCustomersRoom]
    const write = async () => {
      for (const roomId of rooms) {
        await admin.createMessage({ roomId, messageData: 'to all', side: true, author: 'a' })
      }
    }
    const input = { ...fixtures[variant.name].input(of, anyone) }
    const { after } = await admin.listEvents({ orgId: NAME })
    await write()
    const readers = new Map<string, EventReader>()
    const replayed: Record<string, string[]> = {}
    const roomsIn = (events: Told[]) => {
      const ids = events.map(({ roomId }) => roomId)
      return rooms.filter((id) => ids.includes(id))
    }
    for (const [title, token] of Object.entries(tokens)) {
      const reader = await variant.open(own, input, bearer(token))
      if ((await outcomeOfStream(reader)) !== 200) continue
      readers.set(title, reader)
      await using again = await variant.open(own, { ...input, after }, bearer(token))
      const events: Told[] = []
      for (let told = await again.next(); told.type !== 'ready'; told = await again.next()) {
        events.push(told)
      }
      replayed[title] = roomsIn(events)
    }
    const path = `/api/v3/events?orgId=${NAME}`
    const witness = await EventReader.open(own, path, bearer(keys.admin.secret))
    await write()
    // All streams of an organisation are given an event in one go.
    while ((await witness.next()).roomId !== rooms.at(-1));
    await own.close()
    const heard: Record<string, string[]> = {}
    for (const [title, reader] of readers) heard[title] = roomsIn(await reader.rest())
    const expected = fixtures[variant.name].roomsByToken(of)
    expect(heard).toEqual(expected)
    expect(replayed).toEqual(expected)
  },
)

const lists = callVariants.filter(({ procedure }) => fixtures[procedure].about === 'rooms')

test.each(lists)('$title shows a token its own rooms only', async (variant) => {
  const { room, elsewhere, otherCustomersRoom, tokens } = org
  const shown = async (token: string) => {
    const { text } = await variant.call(app, { orgId: org.id }, bearer(token))
    return [room, elsewhere, otherCustomersRoom].filter((id) => text.includes(id))
  }
  expect(await shown(tokens.support)).toEqual([room, elsewhere, otherCustomersRoom])
  expect(await shown(tokens.customer)).toEqual([room, elsewhere])
  expect(await shown(tokens.otherCustomer)).toEqual([otherCustomersRoom])
  expect(await shown(tokens.customerElsewhere)).toEqual([elsewhere])
  expect(await shown(tokens.supportElsewhere)).toEqual([elsewhere])
})

test('a foreign page cannot delete a room with an image in open mode', async () => {
  await using app = await createTestApp()
  const roomId = await openRoom(app)
  const [byGet] = callVariants.filter(({ title }) => title === 'v2 GET deleteRoom')
  const isActive = async () => (await as(app).getRoomById({ roomId })).isActive
  const image = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }
  expect((await byGet?.call(app, { roomId }, image))?.status).toBe(403)
  expect(await isActive()).toBe(true)
  // A developer's own front end on another port, and a person at the address bar.
  expect((await byGet?.call(app, { roomId }, { 'sec-fetch-site': 'same-site' }))?.status).toBe(200)
  expect(await isActive()).toBe(false)
  expect((await byGet?.call(app, { roomId }, { 'sec-fetch-site': 'none' }))?.status).toBe(200)
})

test('the tests cover every operation on every surface', () => {
  expect([...callNames, ...streamNames].toSorted()).toEqual(
    Object.keys(appRouter._def.procedures).toSorted(),
  )
  for (const procedure of callNames) {
    const surfaces = callVariants
      .filter((variant) => variant.procedure === procedure)
      .map((variant) => variant.surface)
    expect(surfaces).toEqual(expect.arrayContaining(['tRPC', 'tRPC batch', 'v3']))
  }
  const documented = callVariants
    .filter(({ surface }) => surface === 'v2')
    .map(({ title }) => title)
  expect(documented.toSorted()).toEqual([
    'v2 DELETE deleteRoom',
    'v2 GET deleteRoom',
    'v2 GET getMessages',
    'v2 GET getRoomById',
    'v2 GET listRooms',
    'v2 POST createMessage',
    'v2 POST createRoom',
    'v2 POST deleteRoom',
  ])
})

const words: Record<AccessLevel, string> = {
  any: 'every organisation',
  organisation: 'its organisation',
  own: 'own rooms',
  none: 'no',
}

const titles: Record<Role, string> = {
  open: 'open mode',
  adminKey: 'admin key',
  supportKey: 'support key',
  readKey: 'read key',
  supportToken: 'support token',
  customerToken: 'customer token',
}

/** By tag and name, so that the order of the list of operations does not matter. */
function sortedNames(): OperationName[] {
  const tags = ['rooms', 'messages', 'events', 'access']
  const key = (name: OperationName) => `${tags.indexOf(operationNamed(name).rest.tag)} ${name}`
  return operationNames.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
}

function accessDocument(): string {
  const rows = sortedNames().map((name) => {
    const { access, cost } = operationNamed(name)
    return [`\`${name}\``, ...roles.map((role) => words[access[role]]), String(pointsOf(cost))]
  })
  const head = ['operation', ...roles.map((role) => titles[role]), 'points']
  const widths = head.map((_, at) =>
    Math.max(...[head, ...rows].map((row) => row[at]?.length ?? 0)),
  )
  const line = (row: string[]) =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at] as number)).join(' | ')} |`
  const table = [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)]
  return `# Access

Each operation names the access of each role, on every surface (tRPC, REST v2, REST v3). This page is generated from
the operations. Renew it with \`npm test -- access -u\`; a test fails when it is out of date.

${table.join('\n')}

The roles:

- **open mode**: a caller without a credential, while there is no API key and only from the server's own machine; or
  any caller when the server runs with \`AUTH=open\`. A proxy on that machine can look like such a caller, so open mode
  has no access to keys and tokens.
- **admin key**, **support key**, **read key**: a server of the organisation, with an API key of that right.
- **support token**, **customer token**: one person, with a user token that was made with an API key. A support token
  writes as the support team and a customer token as the customer, each as its own user only.

The operator at the command line (\`npm run cli\`) may do everything, in every organisation.

The cells say which rows the caller can see and change:

- **every organisation**: all rows.
- **its organisation**: the rows of the key's or token's organisation. Other rows are not found (404).
- **own rooms**: the rooms of the token's own user. Other rooms are not found (404), and the token cannot open a room
  for another user (403).
- **no**: the caller may not call this operation (403).

A token edits and deletes only messages that its own user wrote on its own side; for other messages it gets 403.

A token that is limited to some rooms finds no other room, lists no other room and opens no room (403).
A caller without a valid credential gets 401 first: one without any, or with one that is malformed, expired, wrongly
signed or revoked.

**points** are what a call consumes of the caller's quota for a minute: see \`RATE_LIMIT_ACTOR\` and
\`RATE_LIMIT_ADDRESS\` in \`npm start -- --help\`.
`
}

test('docs/access.md shows the access of every operation', async () => {
  const document = accessDocument()
  process.stdout.write(
    `\n${document
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .join('\n')}\n`,
  )
  await expect(document, 'renew docs/access.md with: npm test -- access -u').toMatchFileSnapshot(
    '../../../docs/access.md',
  )
})

describe('does not compile', () => {
  test('a table that misses the fixture of an operation', () => {
    const { createRoom: _, ...forgetful } = fixtures
    // @ts-expect-error createRoom is missing
    forgetful satisfies typeof fixtures
  })

  test('a query that misses the organisation', () => {
    const next = { direction: 'before', boundary: 1, limit: 1 } as const
    // Never called: only whether it compiles is asked.
    const queries = ({ read }: Database) => [
      findRoom(read, { orgId: 'a', roomId: '' }),
      findRoom(read, { orgId: allOrganisations, roomId: '' }),
      // @ts-expect-error whose?
      findRoom(read, { roomId: '' }),
      // @ts-expect-error whose?
      findRoom(read, { orgId: undefined, roomId: '' }),
      // @ts-expect-error only the symbol opens all
      findRoom(read, { orgId: { every: 'organisation' }, roomId: '' }),
      // @ts-expect-error whose?
      listRoomsPage(read, next),
      // @ts-expect-error no list spans organisations
      listRoomsPage(read, { ...next, orgId: allOrganisations }),
      // @ts-expect-error whose?
      findMessage(read, { roomId: '', messageId: '' }),
      // @ts-expect-error whose?
      messagesInRange(read, { roomId: '', from: 0, to: 1 }),
      // @ts-expect-error whose?
      findApiKey(read, { keyId: '' }),
      // @ts-expect-error whose?
      listApiKeysPage(read, next),
      // @ts-expect-error whose?
      listAuditEventsPage(read, next),
    ]
    expect(queries).toBeTypeOf('function')
  })
})
