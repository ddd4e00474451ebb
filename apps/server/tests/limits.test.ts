import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { readConfig } from '../src/config.ts'
import { networkOf } from '../src/http/caller/address.ts'
import { createQuotas } from '../src/http/caller/quota.ts'
import { QuotaHeaders } from '../src/http/core/quotaHeaders.ts'
import { createKey as createKeyAs } from './credentials.ts'
import { type Answer, request } from './sockets.ts'
import { createTestApp, documentedRoom, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const JSON_TYPE = { 'Content-Type': 'application/json' }

interface Call {
  readonly path: string
  readonly method?: string
  readonly body?: unknown
}

function send(
  app: TestApp,
  { path, method = 'GET', body }: Call,
  options: { credential?: string; headers?: Record<string, string>; localAddress?: string } = {},
): Promise<Answer> {
  const { credential, headers, ...rest } = options
  return request(`${app.url}${path}`, {
    ...rest,
    method,
    headers: {
      ...(body === undefined ? {} : JSON_TYPE),
      ...(credential === undefined ? {} : { Authorization: `Bearer ${credential}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

function trpcInput(input: unknown): string {
  return encodeURIComponent(JSON.stringify(input))
}

/** The same read on each surface. */
const reads = {
  v3: { path: `/api/v3/rooms?orgId=${ORG}` },
  v2: { path: `/api/v2/room-list/?org_id=${ORG}` },
  tRPC: { path: `/trpc/listRooms?input=${trpcInput({ json: { orgId: ORG } })}` },
} satisfies Record<string, Call>
const read = reads.v3

/** What is refused before it becomes a call. */
const nonsense = [
  { path: '/api/v3/rooms', type: 'application/json', body: '{', status: 400 },
  { path: '/api/v2/room-control/', type: 'application/json', body: '{', status: 400 },
  { path: '/api/v2/room-service/', type: 'application/json', body: '{"type":"sing"}', status: 400 },
  { path: '/trpc/createRoom', type: 'text/plain', body: '{}', status: 415 },
]

test.each(nonsense)('a request that is no valid call consumes quota: $path', async (sent) => {
  await using app = await createTestApp({ RATE_LIMIT_ACTOR: '3' })
  const { path, type, body, status } = sent
  const statuses = []
  for (let i = 0; i < 5; i++) {
    const headers = { 'Content-Type': type }
    statuses.push((await request(`${app.url}${path}`, { method: 'POST', headers, body })).status)
  }
  expect(statuses).toEqual([status, status, status, 429, 429])
  // It is the same budget.
  expect((await send(app, read)).status).toBe(429)
})

/** The same write on each surface. */
const writes = {
  v3: {
    path: '/api/v3/rooms',
    method: 'POST',
    body: { userId: 'a', orgId: ORG, portfolioName: 'p', productName: 'p' },
  },
  v2: { path: '/api/v2/room-control/', method: 'POST', body: documentedRoom },
  tRPC: {
    path: '/trpc/createRoom',
    method: 'POST',
    body: { json: { userId: 'b', orgId: ORG, portfolioName: 'p', productName: 'p' } },
  },
} satisfies Record<string, Call>

const user = (userId: string) => ({ orgId: ORG, userId, side: false })
const mints = {
  v3: { path: '/api/v3/user-tokens', method: 'POST', body: user('a') },
  tRPC: { path: '/trpc/createUserToken', method: 'POST', body: { json: user('a') } },
} satisfies Record<string, Call>

function batch(count: number): Call {
  const input = Object.fromEntries(
    Array.from({ length: count }, (_, index) => [index, { json: { orgId: ORG } }]),
  )
  const names = Array.from({ length: count }, () => 'listRooms').join(',')
  return { path: `/trpc/${names}?batch=1&input=${trpcInput(input)}` }
}

/** The two headers, which are lists of structured fields (RFC 9651), by the names of the budgets. */
function budgets(answer: Answer): Record<string, Record<'q' | 'w' | 'r' | 't', number>> {
  const found: Record<string, Record<string, number>> = {}
  for (const header of ['ratelimit-policy', 'ratelimit']) {
    const text = String(answer.headers[header] ?? '')
    if (text === '') continue
    expect(text).toMatch(/^"\w+"(;\w=\d+){2}(, "\w+"(;\w=\d+){2})*$/)
    for (const item of text.split(', ')) {
      const [name = '', ...parameters] = item.split(';')
      const values = parameters.map((parameter) => parameter.split('='))
      found[name.replaceAll('"', '')] = {
        ...found[name.replaceAll('"', '')],
        ...Object.fromEntries(values.map(([key, value]) => [key, Number(value)])),
      }
    }
  }
  return found
}

function left(answer: Answer, name = 'actor'): number {
  const budget = budgets(answer)[name]
  if (!budget) throw new Error(`no budget ${name} in ${JSON.stringify(answer.headers)}`)
  return budget.r
}

async function createKey(app: TestApp, orgId = ORG): Promise<string> {
  return (await createKeyAs(app, { orgId })).secret
}

async function createToken(app: TestApp, key: string, userId: string, orgId = ORG) {
  const body = { orgId, userId, side: false }
  const call = { path: '/api/v3/user-tokens', method: 'POST', body }
  const answer = await send(app, call, { credential: key })
  expect(answer.status, answer.text).toBe(201)
  return answer.json.token as string
}

describe('an exhausted quota', () => {
  test('an exhausted quota gets 429 on every surface and nothing changes', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '3' })
    await openRoom(app)
    const last = await send(app, read)
    expect(last.status).toBe(200)
    expect(last.headers['ratelimit-policy']).toBe('"actor";q=3;w=60, "address";q=120000;w=60')
    expect(budgets(last).actor).toMatchObject({ q: 3, w: 60, r: 0 })
    expect(last.headers).not.toHaveProperty('retry-after')

    const refusals: Record<string, Answer[]> = {}
    for (const surface of ['v3', 'v2', 'tRPC'] as const) {
      refusals[surface] = [await send(app, reads[surface]), await send(app, writes[surface])]
    }
    for (const [surface, answers] of Object.entries(refusals)) {
      for (const answer of answers) {
        expect(answer.status, surface).toBe(429)
        const { r, t, q, w } = budgets(answer).actor ?? {}
        expect({ r, q, w }).toEqual({ r: 0, q: 3, w: 60 })
        expect(t).toBeGreaterThanOrEqual(1)
        expect(t).toBeLessThanOrEqual(60)
        expect(answer.headers['retry-after']).toBe(String(t))
        expect(answer.headers['cache-control']).toBe('no-store')
        const requestId = answer.headers['x-request-id']
        const told = { code: 'TOO_MANY_REQUESTS', message: 'Too many requests', requestId }
        if (surface === 'v3') expect(answer.json).toEqual(told)
        if (surface === 'v2') expect(answer.json).toEqual({ success: false, ...told })
        if (surface === 'tRPC') {
          expect(answer.json.error.json).toMatchObject({
            message: told.message,
            data: { code: told.code, httpStatus: 429, requestId },
          })
        }
      }
    }
    // Another address has a budget of its own.
    const rooms = await send(app, read, { localAddress: '127.0.0.2' })
    expect(rooms.json.items).toHaveLength(1)
  })

  test('the quota is full again a minute after the first call', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '2' })
    const first = await send(app, read)
    expect(budgets(first).actor).toMatchObject({ r: 1, t: 60 })
    vi.setSystemTime(Date.now() + 40_000)
    expect(budgets(await send(app, read)).actor).toMatchObject({ r: 0, t: 20 })
    const refused = await send(app, read)
    expect(refused.status).toBe(429)
    expect(refused.headers['retry-after']).toBe('20')
    vi.setSystemTime(Date.now() + 20_000)
    expect(budgets(await send(app, read)).actor).toMatchObject({ r: 1, t: 60 })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('rejected calls of an actor do not consume the quota of its address', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '40', RATE_LIMIT_ADDRESS: '80' })
    const key = await createKey(app)
    const [noisy, quiet] = [await createToken(app, key, 'a'), await createToken(app, key, 'b')]
    const statuses: number[] = []
    for (let i = 0; i < 120; i += 1) {
      statuses.push((await send(app, read, { credential: noisy })).status)
    }
    expect(statuses.filter((status) => status === 429)).toHaveLength(80)
    // 40 points went for the tokens, 40 to the noisy one.
    expect((await send(app, read, { credential: quiet })).status).toBe(429)
    await using roomy = await createTestApp({ RATE_LIMIT_ACTOR: '40', RATE_LIMIT_ADDRESS: '81' })
    const other = await createKey(roomy)
    const [loud, still] = [
      await createToken(roomy, other, 'a'),
      await createToken(roomy, other, 'b'),
    ]
    for (let i = 0; i < 120; i += 1) await send(roomy, read, { credential: loud })
    expect((await send(roomy, read, { credential: still })).status).toBe(200)
  })

  test('the error names the quota of the address', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ADDRESS: '1' })
    expect((await send(app, read)).status).toBe(200)
    const refused = await send(app, read)
    expect(refused.status).toBe(429)
    expect(budgets(refused).address).toMatchObject({ q: 1, r: 0 })
    expect(refused.headers['retry-after']).toBe(String(budgets(refused).address?.t))
  })
})

describe('the cost of a call', () => {
  /** What is left goes down by this much. */
  async function cost(app: TestApp, call: Call, credential?: string): Promise<number> {
    const options = credential === undefined ? {} : { credential }
    const before = await send(app, read, options)
    const answer = await send(app, call, options)
    const price = left(before) - left(answer)
    expect(left(before, 'address') - left(answer, 'address')).toBe(price)
    return price
  }

  test('a read costs 1, a write 2 and a token or key 20 on every surface', async () => {
    await using app = await createTestApp()
    for (const call of Object.values(reads)) expect(await cost(app, call)).toBe(1)
    for (const call of Object.values(writes)) expect(await cost(app, call)).toBe(2)
    for (const call of Object.values(mints)) expect(await cost(app, call)).toBe(20)
    const room_id = await openRoom(app)
    const service = '/api/v2/room-service/'
    for (const [call, price] of [
      [{ path: `${service}?type=get_messages&room_id=${room_id}` }, 1],
      [{ path: `${service}?type=get_room_by_id&room_id=${room_id}` }, 1],
      [{ path: `${service}?type=delete_room&room_id=${room_id}&is_active=true` }, 2],
      [{ path: `/api/v3/rooms/${room_id}/messages` }, 1],
      [{ path: `/api/v3/rooms/${room_id}` }, 1],
      [{ path: `/api/v3/rooms/${room_id}`, method: 'DELETE' }, 2],
    ] as const) {
      expect(await cost(app, call), call.path).toBe(price)
    }
    expect((await send(app, read)).json.items.length).toBeGreaterThan(0)
    expect(await cost(app, { path: '/healthz' }).catch(() => 'nothing')).toBe('nothing')
  })

  test('a rejected call costs as much as a successful one', async () => {
    await using app = await createTestApp()
    for (const call of [
      { path: '/api/v3/rooms' },
      { path: `/api/v3/rooms?orgId=${ORG}&limit=many` },
      { path: '/api/v2/room-list/' },
      { path: '/trpc/listRooms' },
      { path: '/api/v3/rooms/64ed7d75a57293efb539eb19' },
      { path: '/api/v2/room-service/?type=get_room_by_id&room_id=64ed7d75a57293efb539eb19' },
    ]) {
      expect(await cost(app, call), call.path).toBe(1)
    }
    for (const path of ['/api/v3/rooms', '/api/v2/room-control/', '/trpc/createRoom']) {
      expect(await cost(app, { path, method: 'POST', body: {} }), path).toBe(2)
    }
    const key = await createKey(app)
    const token = await createToken(app, key, 'a')
    expect(await cost(app, mints.v3, token)).toBe(20)
    expect((await send(app, mints.v3, { credential: token })).status).toBe(403)
  })

  test('each call of a batch consumes quota', async () => {
    await using app = await createTestApp()
    expect(await cost(app, batch(20))).toBe(20)
    expect(await cost(app, batch(50))).toBe(50)
    const body = Object.fromEntries([0, 1, 2].map((index) => [index, writes.tRPC.body]))
    const path = '/trpc/createRoom,createRoom,createRoom?batch=1'
    expect(await cost(app, { path, method: 'POST', body })).toBe(6)
  })

  test('a batch of 51 calls is rejected without consuming quota', async () => {
    await using app = await createTestApp()
    const before = left(await send(app, read))
    const answer = await send(app, batch(51))
    expect(answer.status).toBe(400)
    const [{ error }] = [answer.json].flat()
    expect(error.json).toMatchObject({ data: { code: 'BAD_REQUEST', httpStatus: 400 } })
    expect(error.json.data.requestId).toBe(answer.headers['x-request-id'])
    expect(left(await send(app, read))).toBe(before - 1)
  })

  test('a batch that exceeds the quota gets its first calls answered', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '5' })
    const answer = await send(app, batch(8))
    expect(answer.status).toBe(207)
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    const codes = answer.json.map(
      (item: { error?: { json: { data: { code: string } } } }) =>
        item.error?.json.data.code ?? 'fine',
    )
    expect(codes).toEqual([
      ...Array.from({ length: 5 }, () => 'fine'),
      ...Array.from({ length: 3 }, () => 'TOO_MANY_REQUESTS'),
    ])
    const refused = await send(app, batch(2))
    expect(refused.status).toBe(429)
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  })

  test('a streamed batch costs as much as any batch', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '30' })
    const streamed = { headers: { 'trpc-accept': 'application/jsonl' } }
    const answer = await send(app, batch(20), streamed)
    expect(answer.status).toBe(200)
    expect(answer.text).toContain('"items"')
    expect(answer.text).not.toContain('INTERNAL_SERVER_ERROR')
    expect(left(await send(app, read))).toBe(9)
    const refused = await send(app, batch(20), streamed)
    expect(refused.text).toContain('TOO_MANY_REQUESTS')
    expect(refused.text).not.toContain('INTERNAL_SERVER_ERROR')
    expect((await send(app, batch(51), streamed)).status).toBe(400)
  })
})

describe('the owner of a quota', () => {
  test('each key and each user has a quota of its own, whatever its name', async () => {
    await using app = await createTestApp({ RATE_LIMIT_CUSTOMER: '0' })
    const key = await createKey(app)
    const second = await createKey(app)
    const mint = await send(app, mints.v3, { credential: key })
    expect(mint.status).toBe(201)
    const full = 60_000
    const ask = async (credential: string) => left(await send(app, read, { credential }))
    expect(await ask(key)).toBe(full - 20 - 1)
    expect(await ask(second)).toBe(full - 1)
    expect(await ask(key)).toBe(full - 20 - 2)
    const tokens = [await createToken(app, key, 'a'), await createToken(app, key, 'b')]
    for (const token of tokens) expect(await ask(token)).toBe(full - 1)
    // Another token of the same person is the same person.
    expect(await ask(await createToken(app, key, 'a'))).toBe(full - 2)
  })

  test('users with similar names in two organisations have separate quotas', async () => {
    await using app = await createTestApp({ AUTH: 'open' })
    const [one, two] = [await createKey(app, 'B'), await createKey(app, 'A@B')]
    const token = await createToken(app, one, 'x@A', 'B')
    const other = await createToken(app, two, 'x', 'A@B')
    const ask = async (credential: string, orgId: string) =>
      left(
        await send(
          app,
          { path: `/api/v3/rooms?orgId=${encodeURIComponent(orgId)}` },
          { credential },
        ),
      )
    expect(await ask(token, 'B')).toBe(2_999)
    expect(await ask(other, 'A@B')).toBe(2_999)
  })

  test('all callers from one address share its quota', async () => {
    await using app = await createTestApp()
    const key = await createKey(app)
    const token = await createToken(app, key, 'a')
    const from = (localAddress: string, credential: string) =>
      send(app, read, { localAddress, credential })
    expect(left(await from('127.0.0.3', key), 'address')).toBe(119_999)
    expect(left(await from('127.0.0.3', token), 'address')).toBe(119_998)
    expect(left(await from('127.0.0.4', token), 'address')).toBe(119_999)
  })

  test('only a trusted proxy names the address whose quota counts', async () => {
    const ask = async (app: TestApp, forwarded: string) =>
      left(await send(app, read, { headers: { 'X-Forwarded-For': forwarded } }), 'address')
    await using app = await createTestApp({ AUTH: 'open', TRUST_PROXY: 'loopback' })
    expect(await ask(app, '203.0.113.1')).toBe(119_999)
    expect(await ask(app, '::ffff:203.0.113.1')).toBe(119_998)
    expect(await ask(app, '::ffff:cb00:7101')).toBe(119_997)
    expect(await ask(app, '203.0.113.1:4711')).toBe(119_996)
    expect(await ask(app, '198.51.100.7, 203.0.113.1')).toBe(119_995)
    expect(await ask(app, '203.0.113.2')).toBe(119_999)
    expect(await ask(app, '2001:db8:1:2::1')).toBe(119_999)
    expect(await ask(app, '2001:DB8:1:2:ffff:ffff:ffff:ffff')).toBe(119_998)
    expect(await ask(app, '[2001:db8:1:2::9]:443')).toBe(119_997)
    expect(await ask(app, '2001:db8:1:3::1')).toBe(119_999)
    expect(await ask(app, '2001:db8:1::1')).toBe(119_999)
    expect(await ask(app, 'fe80::1%eth0')).toBe(119_999)
    expect(await ask(app, 'fe80::2%eth1')).toBe(119_998)
    expect(await ask(app, 'unknown')).toBe(119_999)
    expect(await ask(app, 'something else')).toBe(119_998)
    await using plain = await createTestApp({ AUTH: 'open' })
    expect(await ask(plain, '203.0.113.1')).toBe(119_999)
    expect(await ask(plain, '203.0.113.2')).toBe(119_998)
  })

  test('IPv6 addresses share a quota by their first 64 bits', () => {
    const bits = (size: number) => fc.bigInt({ min: 0n, max: (1n << BigInt(size)) - 1n })
    const written = (value: bigint, style: number) => {
      const groups = (value.toString(16).padStart(32, '0').match(/.{4}/g) ?? []).map((group) =>
        style & 1 ? group : group.replace(/^0+(?=.)/, ''),
      )
      const text = groups.join(':')
      const short = style & 2 ? text.replace(/(^|:)(0+(:0+)+)(:|$)/, '::') : text
      return `${style & 4 ? short.toUpperCase() : short}${style & 8 ? '%eth0' : ''}`
    }
    const style = fc.nat(15)
    fc.assert(
      fc.property(
        bits(64),
        bits(64),
        bits(64),
        bits(64),
        style,
        style,
        (net, a, b, other, s1, s2) => {
          // The first 80 bits of a mapped IPv4 address are zero.
          fc.pre(net !== 0n && other !== net)
          const one = networkOf(written((net << 64n) | a, s1))
          expect(one).toMatch(/^[0-9a-f]+(:[0-9a-f]+){3}::\/64$/)
          expect(networkOf(written((net << 64n) | b, s2))).toBe(one)
          expect(networkOf(written((other << 64n) | b, s2))).not.toBe(one)
        },
      ),
    )
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), (a, b) => {
        expect(networkOf(a)).toBe(a)
        const hex = Buffer.from(b.split('.').map(Number)).toString('hex')
        const mapped = `::ffff:${hex.slice(0, 4)}:${hex.slice(4)}`
        expect([networkOf(`::ffff:${b}`), networkOf(mapped)]).toEqual([b, b])
      }),
    )
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        // Whatever a stranger writes there, it is short and makes nothing fail.
        expect(networkOf(text).length).toBeLessThan(48)
      }),
    )
    for (const address of ['::', '::1']) expect(networkOf(address)).toBe('0:0:0:0::/64')
    expect(networkOf('fe80::1%-')).toBe('unknown')
    expect(networkOf(undefined)).toBe('unknown')
  })
})

describe('failed authentications', () => {
  test('failed authentications have a smaller quota for each address on every surface', async () => {
    await using app = await createTestApp({ RATE_LIMIT_FAILURES: '4' })
    const key = await createKey(app)
    const wrong = `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`
    const failing = [
      await send(app, reads.v3, { credential: wrong }),
      await send(app, reads.v2),
      // One request, whatever it carries.
      await send(app, batch(20), { credential: 'a.b.c' }),
      await send(app, writes.tRPC, { headers: { Authorization: 'Basic YTpi' } }),
    ]
    for (const [index, answer] of failing.entries()) {
      expect(answer.status).toBe(401)
      expect(budgets(answer).failures).toMatchObject({ q: 4, w: 60, r: 3 - index })
    }
    for (const surface of ['v3', 'v2', 'tRPC'] as const) {
      const answer = await send(app, writes[surface], { credential: wrong })
      expect(answer.status).toBe(429)
      expect(answer.headers['retry-after']).toBe(String(budgets(answer).failures?.t))
      expect((await send(app, reads[surface], { credential: key })).status).toBe(200)
    }
    const elsewhere = await send(app, read, { credential: wrong, localAddress: '127.0.0.2' })
    expect(elsewhere.status).toBe(401)
    expect((await send(app, read, { credential: key })).json.items).toEqual([])
  })

  test('a failed authentication consumes no other quota, and a success consumes none of the failures', async () => {
    await using app = await createTestApp({ RATE_LIMIT_FAILURES: '1' })
    const key = await createKey(app)
    for (let i = 0; i < 5; i += 1) {
      expect((await send(app, read, { credential: key })).status).toBe(200)
    }
    expect((await send(app, read)).status).toBe(401)
    const refused = await send(app, read)
    expect(refused.status).toBe(429)
    expect(Object.keys(budgets(refused))).toEqual(['failures'])
    expect(left(await send(app, read, { credential: key }), 'address')).toBe(120_000 - 6)
  })
})

test('0 turns each quota off', async () => {
  await using app = await createTestApp({ RATE_LIMIT_ACTOR: '0', RATE_LIMIT_FAILURES: '1' })
  expect(Object.keys(budgets(await send(app, read)))).toEqual(['address'])
  await using other = await createTestApp({ RATE_LIMIT_ADDRESS: '0' })
  expect(Object.keys(budgets(await send(other, read)))).toEqual(['actor'])
  await using none = await createTestApp({
    RATE_LIMIT_ACTOR: '0',
    RATE_LIMIT_ADDRESS: '0',
    RATE_LIMIT_FAILURES: '0',
  })
  expect((await send(none, batch(50))).status).toBe(200)
  const key = await createKey(none)
  for (let i = 0; i < 70; i += 1) {
    const answer = await send(none, read)
    expect(answer.status).toBe(401)
    expect(budgets(answer)).toEqual({})
  }
  expect(budgets(await send(none, read, { credential: key }))).toEqual({})
})

describe('memory', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  const callerOf = (key: string, address: string) => ({ key, address, isCustomer: false })

  test('the memory of a quota is freed after its minute', async () => {
    vi.useFakeTimers()
    const quotas = createQuotas(readConfig({}))
    for (let i = 0; i < 1000; i += 1) {
      await quotas.consume(new QuotaHeaders(), callerOf(`caller ${i}`, `address ${i}`), 1)
      await quotas.consume(new QuotaHeaders(), callerOf(`caller ${i}`, `address ${i}`), 1)
      await quotas.recordAuthFailure(new QuotaHeaders(), `address ${i}`)
    }
    // One for each of three budgets, however often they are taken from.
    expect(vi.getTimerCount()).toBe(3000)
    vi.advanceTimersByTime(60_000)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('the quotas keep no process alive', async () => {
    const timeouts = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout')
    const before = timeouts().length
    const quotas = createQuotas(readConfig({}))
    for (let i = 0; i < 100; i += 1)
      await quotas.consume(new QuotaHeaders(), callerOf(`caller ${i}`, `a ${i}`), 1)
    expect(timeouts().length).toBeLessThan(before + 50)
  })
})

test('a streamed tRPC batch reports the quota in its headers', async () => {
  await using app = await createTestApp({ RATE_LIMIT_ACTOR: '100' })
  const inputs = { 0: { json: { roomId: '0'.repeat(24) } }, 1: { json: { roomId: 'x' } } }
  const input = encodeURIComponent(JSON.stringify(inputs))
  const response = await app.fetch(`/trpc/getRoomById,getMessages?batch=1&input=${input}`, {
    headers: { 'trpc-accept': 'application/jsonl' },
  })
  expect(response.status).toBe(200)
  expect(response.headers.get('ratelimit-policy')).toContain('q=100')
  expect(response.headers.get('ratelimit')).toMatch(/r=9[89]/)
  await response.text()
})
