import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { callVariants, callVariantsOf, type Reply } from './callVariants.ts'
import { bearer, createOrganisation, type Organisation, rights, unlimited } from './credentials.ts'
import { openDirectly } from './database.ts'
import { fixtures } from './fixtures.ts'
import type { SentHeaders } from './http.ts'
import { PIECE, Secrets } from './leaks.ts'
import { createTestApp, type TestApp } from './support.ts'

let app: TestApp
let org: Organisation
const secrets = new Secrets()
/** What was answered, without the two answers that show a secret once. */
const told: string[] = []
const statuses = new Map<number, number>()

function note({ status, headers, text }: Reply, showsSecret = false): void {
  statuses.set(status, (statuses.get(status) ?? 0) + 1)
  told.push(JSON.stringify(headers))
  if (!showsSecret || status >= 400) told.push(text)
}

/** Each variant is tried with every credential; where a call takes longer, with every fourth, by turns. */
const share = inject('testTarget').dialect === 'postgres' ? 4 : 1

/** What shows a credential, once, in its answer. */
function shows(name: string): boolean {
  return /^create(ApiKey|UserToken|StreamToken)$/.test(name)
}

async function noteFailures(headers: SentHeaders): Promise<void> {
  for (const variant of callVariants) {
    const input = fixtures[variant.procedure].input(org, { side: true, author: org.supporter })
    note(await variant.call(app, { ...input }, headers), shows(variant.procedure))
  }
}

beforeAll(async () => {
  app = await createTestApp(unlimited)
  org = await createOrganisation(app, 'DOWELL12345')
  for (const right of rights) secrets.keep(`${right} key`, org.keys[right].secret)
  for (const [name, token] of Object.entries(org.tokens)) secrets.keep(`${name} token`, token)
  const valid = [...rights.map((right) => org.keys[right].secret), ...Object.values(org.tokens)]

  // New ones over every surface that makes them.
  for (const variant of [
    ...callVariantsOf('createApiKey'),
    ...callVariantsOf('createUserToken'),
    ...callVariantsOf('createStreamToken'),
  ]) {
    const { input } = fixtures[variant.procedure]
    const sender = { side: true, author: 'a' }
    const reply = await variant.call(
      app,
      input(org, sender) as never,
      bearer(org.keys.admin.secret),
    )
    note(reply, true)
    const [made = ''] = /dck_[\w-]+|eyJ[\w-]+\.[\w-]+\.[\w-]+/.exec(reply.text) ?? []
    valid.push(secrets.keep(variant.title, made))
  }
  const invalid = valid.map((credential, index) => {
    const end = credential.length - 30
    const other = credential[end] === 'A' ? 'B' : 'A'
    return secrets.keep(
      `invalid ${index}`,
      credential.slice(0, end) + other + credential.slice(end + 1),
    )
  })

  for (const [turn, variant] of callVariants.entries()) {
    const input = fixtures[variant.procedure].input(org, { side: true, author: org.supporter })
    for (const credential of [...valid, ...invalid].filter((_, at) => (at + turn) % share === 0)) {
      const headers = bearer(credential)
      if (!shows(variant.procedure)) note(await variant.call(app, { ...input }, headers))
      // What is refused for its input, and what is asked of somebody else.
      note(await variant.call(app, { ...input, roomId: 'x', orgId: '', keyId: 'x' }, headers))
      note(await variant.call(app, { ...input, roomId: 'f'.repeat(24), orgId: 'x' }, headers))
    }
  }

  // Credentials in all the wrong places.
  for (const credential of [...valid.slice(0, 4), ...invalid.slice(0, 4)]) {
    const wrongPlaces: [path: string, init: RequestInit][] = [
      [`/api/v3/api-keys/${credential}`, { method: 'DELETE' }],
      [`/api/v3/rooms/${credential}/messages`, {}],
      [`/api/v2/${credential}`, {}],
      [`/${credential}?key=${credential}`, {}],
      [`/api/v2/room-list/?org_id=a&access_token=${credential}`, {}],
      ['/api/v2/room-list/?org_id=a', { headers: { Authorization: credential } }],
      ['/api/v3/rooms?orgId=a', { headers: { Authorization: `Basic ${credential}` } }],
      ['/api/v3/rooms?orgId=a', { headers: { 'X-Request-Id': credential, Cookie: credential } }],
      ['/api/v3/rooms', { method: 'POST', body: `{"orgId": "${credential}`, headers: jsonType }],
      [
        '/api/v3/rooms',
        { method: 'POST', body: credential, headers: { ...jsonType, ...bearer(credential) } },
      ],
      ['/api/v3/rooms', { method: 'POST', body: credential, headers: bearer(credential) }],
      [
        '/trpc/createRoom',
        { method: 'POST', body: credential, headers: { ...jsonType, ...bearer(credential) } },
      ],
    ]
    for (const [path, init] of wrongPlaces) {
      const response = await app.fetch(path, init)
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
      told.push(await response.text(), JSON.stringify([...response.headers]))
    }
  }

  // What breaks is written down with all that is known of it.
  await using database = await openDirectly(app)
  for (const table of ['messages', 'rooms', 'audit_events', 'signing_keys', 'api_keys']) {
    await database.ask(`alter table ${table} rename to away`)
    for (const credential of valid.slice(0, 5)) await noteFailures(bearer(credential))
    await database.ask(`alter table away rename to ${table}`)
  }
})

const jsonType = { 'Content-Type': 'application/json' }

afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
})

describe('pieces of keys and tokens after many requests', () => {
  test('the requests got every status, and a leak would be found', () => {
    for (const status of [200, 400, 401, 403, 404, 500]) {
      expect(statuses.get(status), String(status)).toBeGreaterThan(20)
    }
    expect(secrets.leaksIn(`say ${org.keys.admin.secret.slice(40, 60)}!`)).toEqual(['admin key'])
    expect(secrets.leaksIn(org.tokens.customer.slice(-PIECE))).toEqual(['customer token'])
    expect(app.log.filter(({ err }) => err !== undefined).length).toBeGreaterThan(20)
  })

  test('no log line has a piece of a key or a token', () => {
    expect(secrets.leaksIn(JSON.stringify(app.log))).toEqual([])
    expect(JSON.stringify(app.log)).toContain('[credential]')
  })

  test('no response has a piece of a key or a token, except the one that creates it', () => {
    expect(told.filter((text) => secrets.leaksIn(text).length > 0)).toEqual([])
  })

  test('no column of the database has a piece of a key or a token', async () => {
    await using database = await openDirectly(app)
    const rows = await database.dump()
    expect(rows.audit_events?.length).toBeGreaterThan(20)
    expect(secrets.leaksIn(JSON.stringify(rows))).toEqual([])
  })

  test('only their own column has the signing keys', async () => {
    await using database = await openDirectly(app)
    const { signing_keys: signingKeys = [], ...rest } = await database.dump()
    const signing = signingKeys.map(({ secret }) => String(secret))
    expect(signing).toHaveLength(1)
    const everything = JSON.stringify([app.log, told, rest])
    for (const secret of signing) {
      for (let at = 0; at + PIECE <= secret.length; at++) {
        expect(everything.includes(secret.slice(at, at + PIECE))).toBe(false)
      }
    }
  })
})
