import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import express, { type Router } from 'express'
import pino from 'pino'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createBodyReader } from '../src/http/core/body.ts'
import { createDispatch } from '../src/http/core/dispatch.ts'
import { securityHeaders } from '../src/http/core/headers.ts'
import { createHttpServer, defaultTimeouts } from '../src/http/core/server.ts'
import { staticRoutes } from '../src/http/pages/staticRoutes.ts'
import { CHROMIUM, hasBrowser, launchBrowser, requiresBrowser } from './chromium.ts'
import { createKey } from './credentials.ts'
import { type Answer, answersIn, closeOf, converse, request } from './sockets.ts'
import { createTestApp, documentedRoom, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const ROOMS = `/api/v3/rooms?orgId=${ORG}`
const TRPC = `/trpc/listRooms?input=${encodeURIComponent(`{"json":{"orgId":"${ORG}"}}`)}`
const V2_ROOMS = `/api/v2/room-list/?org_id=${ORG}`
const JSON_TYPE = { 'Content-Type': 'application/json' }

function post(url: string, body: string, headers: http.OutgoingHttpHeaders = JSON_TYPE) {
  return request(url, { method: 'POST', headers, body })
}

/** A request as bytes, for a connection that ends with its answer. */
function raw(first: string, ...headers: string[]): string {
  return [first, 'Host: localhost', ...headers, 'Connection: close', '', ''].join('\r\n')
}

function expectHardened(answer: Answer, what: string): void {
  const { headers, text } = answer
  expect(headers, what).toMatchObject({
    'content-security-policy': expect.stringMatching(/default-src 'none'.*frame-ancestors 'none'/),
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'origin-agent-cluster': '?1',
    'x-dns-prefetch-control': 'off',
    'x-permitted-cross-domain-policies': 'none',
    'x-xss-protection': '0',
    'x-request-id': expect.stringMatching(/^[\w.-]+$/),
  })
  for (const name of ['server', 'x-powered-by', 'strict-transport-security', 'via']) {
    expect(headers, what).not.toHaveProperty(name)
  }
  if (answer.status >= 400) {
    expect(text, what).not.toMatch(/node_modules|\.ts\b|\.js\b|\bat .+:\d+|stack|Error:/)
  }
}

/** An error in the shape of every surface but v2 and tRPC, with the id of its answer. */
function expectPlainError(answer: Answer | undefined, status: number, code: string): void {
  expect(answer?.status).toBe(status)
  expect(answer?.json).toEqual({
    code,
    message: expect.any(String),
    requestId: answer?.headers['x-request-id'],
  })
  expect(answer?.headers['content-type']).toMatch(/^application\/json/)
  expect(answer?.headers['cache-control']).toBe('no-store')
}

describe('every answer is hardened', () => {
  test('whatever the surface and the status', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '100' })
    const room = await openRoom(app)
    const call = (path: string, options: http.RequestOptions & { body?: string } = {}) =>
      request(`${app.url}${path}`, options)
    const large = 'x'.repeat(300_000)
    const evil = { headers: { Origin: 'http://evil.com' } }
    const answers: [number, Answer][] = [
      [200, await call('/healthz')],
      [200, await call('/readyz')],
      [200, await call('/docs')],
      [200, await call('/docs/page.js')],
      [200, await call('/docs/assets/swagger-ui.css')],
      [200, await call('/docs/assets/swagger-ui-bundle.js', { method: 'HEAD' })],
      [200, await call('/docs/assets/swagger-ui.css', { headers: { Range: 'bytes=0-9' } })],
      [200, await call('/openapi.json')],
      [302, await call('/')],
      [200, await call(ROOMS)],
      [200, await call(V2_ROOMS)],
      [200, await call(TRPC)],
      [
        201,
        await post(
          `${app.url}/api/v3/rooms`,
          `{"userId":"b","orgId":"${ORG}","portfolioName":"p","productName":"p"}`,
        ),
      ],
      [204, await call(ROOMS, { method: 'OPTIONS' })],
      [204, await call(TRPC, { method: 'HEAD' })],
      [400, await call('/api/v3/rooms')],
      [400, await call('/api/v2/room-list/')],
      [400, await call('/trpc/listRooms')],
      [400, await call('/trpc/listRooms?input=%7B')],
      [400, await post(`${app.url}/api/v3/rooms`, '{')],
      [400, await post(`${app.url}/api/v2/room-control/`, '{')],
      [400, await post(`${app.url}/trpc/createRoom`, '{')],
      [401, await call(ROOMS, { headers: { Authorization: 'Bearer x' } })],
      [401, await call(V2_ROOMS, { headers: { Authorization: 'Bearer x' } })],
      [401, await call(TRPC, { headers: { Authorization: 'Bearer x' } })],
      [403, await call(ROOMS, evil)],
      [403, await call(V2_ROOMS, evil)],
      [403, await call(TRPC, evil)],
      [404, await call('/nothing')],
      [404, await call('/api/v3/nothing')],
      [404, await call('/api/v2/nothing')],
      [404, await call('/trpc/nothing')],
      [404, await call('/docs/assets/')],
      [404, await call('/docs/assets')],
      [404, await call('/docs/assets/index.html')],
      [404, await call('/docs/assets/package.json')],
      [404, await call('/docs/assets/..%2fpackage.json')],
      [404, await call('/%ff%fe')],
      [404, await call('/docs/assets/%00')],
      [404, await call('/api/v3/rooms/64ed7d75a57293efb539eb19')],
      [405, await call('/api/v3/rooms', { method: 'PUT' })],
      [405, await call('/api/v2/room-list/', { method: 'POST' })],
      [405, await call('/trpc/createRoom')],
      [
        409,
        await post(
          `${app.url}/api/v2/room-service/?type=create_message`,
          `{"room_id":"${await deleted(app, room)}","message_data":"m","side":true,"author":"a"}`,
        ),
      ],
      [413, await post(`${app.url}/api/v3/rooms`, `"${large}"`)],
      [413, await post(`${app.url}/api/v2/room-control/`, `"${large}"`)],
      [413, await post(`${app.url}/trpc/createRoom`, `"${large.repeat(10)}"`)],
      [414, await call(`/${'a'.repeat(9000)}`)],
      [415, await post(`${app.url}/api/v3/rooms`, 'x', { 'Content-Type': 'text/plain' })],
      [415, await post(`${app.url}/trpc/createRoom`, 'x', { 'Content-Type': 'text/plain' })],
    ]
    for (const [index, [status, answer]] of answers.entries()) {
      const what = `${index}: ${answer.text.slice(0, 300)}`
      expect(answer.status, what).toBe(status)
      expectHardened(answer, what)
    }
    for (let i = 0; i < 100; i += 1) await call(ROOMS)
    for (const path of [ROOMS, V2_ROOMS, TRPC]) {
      const answer = await call(path)
      expect(answer.status).toBe(429)
      expectHardened(answer, path)
    }
  })

  async function deleted(app: TestApp, room: string): Promise<string> {
    await request(`${app.url}/api/v3/rooms/${room}`, { method: 'DELETE' })
    return room
  }

  test('a fault of ours, of which nothing is told', async () => {
    const clock = () => {
      throw new Error('the secret text of /home/somebody/clock.ts')
    }
    await using app = await createTestApp({}, { clock })
    const body = { userId: 'a', orgId: ORG, portfolioName: 'p', productName: 'p' }
    for (const [path, content] of [
      ['/api/v3/rooms', body],
      ['/api/v2/room-control/', documentedRoom],
      ['/trpc/createRoom', { json: body }],
    ] as const) {
      const answer = await post(`${app.url}${path}`, JSON.stringify(content))
      expect(answer.status).toBe(500)
      expectHardened(answer, path)
      expect(answer.text).not.toMatch(/secret|clock|somebody/)
    }
    // It is in the log, for whom it concerns.
    expect(JSON.stringify(app.log)).toContain('the secret text')
  })

  test('a server on its way out', async () => {
    await using app = await createTestApp()
    const { hostname, port } = new URL(app.url)
    const socket = net.connect(Number(port), hostname)
    socket.write('GET /readyz HTTP/1.1\r\nHost: localhost\r\n')
    // The server has read that when it answers on another connection.
    await request(`${app.url}/healthz`)
    const closed = app.close()
    socket.write('\r\n')
    const chunks = await socket.setEncoding('utf8').toArray()
    await closed
    const [answer] = answersIn(chunks.join(''))
    expect(answer?.status).toBe(503)
    expect(answer?.headers.connection).toBe('close')
    if (answer) expectHardened(answer, 'readyz')
  })

  test('what is no request at all', async () => {
    await using app = await createTestApp()
    const big = `X-Big: ${'x'.repeat(20_000)}`
    for (const [bytes, status, code] of [
      ['nonsense\r\n\r\n', 400, 'BAD_REQUEST'],
      ['GET / HTTP/9.9\r\n\r\n', 400, 'BAD_REQUEST'],
      ['BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'BAD_REQUEST'],
      [Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), 400, 'BAD_REQUEST'],
      ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'BAD_REQUEST'],
      [raw(`GET ${ROOMS} HTTP/1.1`, 'X: a\0b'), 400, 'BAD_REQUEST'],
      [
        raw(`GET ${ROOMS} HTTP/1.1`, 'Content-Length: 1', 'Transfer-Encoding: chunked'),
        400,
        'BAD_REQUEST',
      ],
      [raw(`GET ${ROOMS} HTTP/1.1`, 'Content-Length: 1', 'Content-Length: 2'), 400, 'BAD_REQUEST'],
      [raw(`GET ${ROOMS} HTTP/1.1`, 'X : space before the colon'), 400, 'BAD_REQUEST'],
      [raw(`GET ${ROOMS} HTTP/1.1`, big), 431, 'HEADERS_TOO_LARGE'],
      [raw(`GET /${'a'.repeat(20_000)} HTTP/1.1`), 431, 'HEADERS_TOO_LARGE'],
      [
        raw(`GET ${ROOMS} HTTP/1.1`, ...Array.from({ length: 3000 }, (_, i) => `a${i}: b`)),
        431,
        'HEADERS_TOO_LARGE',
      ],
    ] as const) {
      const answers = answersIn(await converse(app.url, bytes))
      expect(answers, String(bytes).slice(0, 80)).toHaveLength(1)
      expectPlainError(answers[0], status, code)
      expectHardened(answers[0] as Answer, code)
      expect(answers[0]?.headers.connection).toBe('close')
      // Whoever asks about it can be told: the log has the id.
      expect(JSON.stringify(app.log)).toContain(answers[0]?.headers['x-request-id'])
    }
  })

  test('over TLS, as a trusted proxy says, browsers are told to stay with it', async () => {
    const tls = { headers: { 'X-Forwarded-Proto': 'https', 'X-Forwarded-For': '127.0.0.1' } }
    await using app = await createTestApp({ TRUST_PROXY: 'loopback' })
    const answer = await request(`${app.url}${ROOMS}`, tls)
    expect(answer.headers['strict-transport-security']).toBe('max-age=31536000')
    await using other = await createTestApp()
    const untrusted = await request(`${other.url}${ROOMS}`, tls)
    expect(untrusted.headers).not.toHaveProperty('strict-transport-security')
  })
})

describe('pages of other origins', () => {
  const paths = [ROOMS, V2_ROOMS, TRPC]
  const preflight = (app: TestApp, origin: string, path: string, method = 'POST') =>
    request(`${app.url}${path}`, {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': method,
        'Access-Control-Request-Headers': 'authorization,content-type',
      },
    })
  const from = (app: TestApp, origin: string, path: string, headers = {}) =>
    request(`${app.url}${path}`, { headers: { Origin: origin, ...headers } })

  function expectAllowed(answer: Answer, origin: string): void {
    expect(answer.headers['access-control-allow-origin']).toBe(origin)
    expect(String(answer.headers.vary)).toMatch(/\bOrigin\b/)
    expect(answer.headers).not.toHaveProperty('access-control-allow-credentials')
  }

  function expectNothing(answer: Answer): void {
    const names = Object.keys(answer.headers).filter((name) => name.startsWith('access-control-'))
    expect(names).toEqual([])
    expect(String(answer.headers.vary)).toMatch(/\bOrigin\b/)
  }

  test('those that are listed may call with a credential, and read also what went wrong', async () => {
    const origin = 'https://app.example.com'
    await using app = await createTestApp({
      CORS_ORIGINS: `${origin}, http://localhost:9`,
      RATE_LIMIT_FAILURES: '3',
    })
    const { secret: key } = await createKey(app)
    for (const path of paths) {
      const asked = await preflight(app, origin, path)
      expect(asked.status).toBe(204)
      expect(asked.text).toBe('')
      expectAllowed(asked, origin)
      expect(asked.headers['access-control-max-age']).toBe('600')
      expect(asked.headers['access-control-allow-methods']).toBe('GET,HEAD,POST,PUT,PATCH,DELETE')
      expect(asked.headers['access-control-allow-headers']).toBe('authorization,content-type')
      expectHardened(asked, path)

      const answer = await from(app, origin, path, { Authorization: `Bearer ${key}` })
      expect(answer.status).toBe(200)
      expectAllowed(answer, origin)
      const exposed = String(answer.headers['access-control-expose-headers']).split(',')
      expect(exposed).toEqual([
        'X-Request-Id',
        'ETag',
        'Location',
        'Retry-After',
        'RateLimit',
        'RateLimit-Policy',
      ])

      // A listed origin opens no door.
      const refused = await from(app, origin, path)
      expect(refused.status).toBe(401)
      expectAllowed(refused, origin)
    }
    for (const path of paths) {
      const limited = await from(app, origin, path)
      expect(limited.status).toBe(429)
      expectAllowed(limited, origin)
    }
    for (const path of ['/nothing', '/api/v3/nothing', '/trpc/nothing', `/${'a'.repeat(9000)}`]) {
      const answer = await from(app, origin, path, { Authorization: `Bearer ${key}` })
      expect([404, 414]).toContain(answer.status)
      expectAllowed(answer, origin)
    }
    for (const other of [
      'https://evil.com',
      'http://app.example.com',
      'https://app.example.com:8443',
      'https://app.example.com.evil.com',
      'https://x.app.example.com',
      'HTTPS://APP.EXAMPLE.COM',
      'http://localhost:10',
      'null',
    ]) {
      for (const path of paths) {
        expectNothing(await preflight(app, other, path))
        expectNothing(await from(app, other, path, { Authorization: `Bearer ${key}` }))
      }
    }
  })

  test('* means each of them', async () => {
    await using app = await createTestApp({ CORS_ORIGINS: '*' })
    const { secret: key } = await createKey(app)
    for (const origin of ['https://one.example', 'http://localhost:3', 'null']) {
      for (const path of paths) {
        expectAllowed(await preflight(app, origin, path), '*')
        const answer = await from(app, origin, path, { Authorization: `Bearer ${key}` })
        expect(answer.status).toBe(200)
        expectAllowed(answer, '*')
        expect((await from(app, origin, path)).status).toBe(401)
      }
    }
  })

  test('in open mode those of this machine may, and no others', async () => {
    await using app = await createTestApp()
    for (const path of paths) {
      for (const origin of ['http://localhost:5173', 'http://127.0.0.1', 'https://a.localhost']) {
        expectAllowed(await preflight(app, origin, path), origin)
        const answer = await from(app, origin, path)
        expect(answer.status).toBe(200)
        expectAllowed(answer, origin)
      }
      for (const origin of ['http://evil.com', 'null', 'http://localhost.evil.com']) {
        expectNothing(await preflight(app, origin, path))
        const answer = await from(app, origin, path)
        expect(answer.status).toBe(403)
        expectNothing(answer)
      }
    }
  })

  test('AUTH=open lets pages of every origin call while CORS_ORIGINS is empty or *', async () => {
    for (const env of [{}, { CORS_ORIGINS: '*' }]) {
      await using app = await createTestApp({ AUTH: 'open', ...env })
      for (const path of paths) {
        for (const origin of ['https://any.example', 'http://localhost:3', 'null']) {
          expectAllowed(await preflight(app, origin, path), '*')
          const answer = await from(app, origin, path)
          expect(answer.status).toBe(200)
          expectAllowed(answer, '*')
        }
        expect((await request(`${app.url}${path}`)).status).toBe(200)
      }
    }
  })

  test('CORS_ORIGINS restricts pages without a credential under AUTH=open too', async () => {
    const origin = 'https://app.example.com'
    await using app = await createTestApp({ AUTH: 'open', CORS_ORIGINS: origin })
    const { secret } = await createKey(app)
    const form = new URLSearchParams(documentedRoom).toString()
    const write = (headers: Record<string, string>) =>
      request(`${app.url}/api/v2/room-control/`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
        body: form,
      })
    for (const path of paths) {
      expectAllowed(await preflight(app, origin, path), origin)
      expect((await from(app, origin, path)).status).toBe(200)
      for (const other of ['https://evil.com', 'http://localhost:3', 'null']) {
        expectNothing(await preflight(app, other, path))
        const answer = await from(app, other, path)
        expect(answer.status).toBe(403)
        expect(answer.text).toContain('CORS_ORIGINS does not name')
        expectNothing(answer)
      }
      // A link or an image has no Origin.
      const linked = { headers: { 'Sec-Fetch-Site': 'cross-site' } }
      expect((await request(`${app.url}${path}`, linked)).status).toBe(403)
    }
    // A form needs no preflight.
    expect((await write({ Origin: 'https://evil.com' })).status).toBe(403)
    expect((await write({ Origin: origin })).status).toBe(200)
    // The server's own pages, programs that are no page, and who has a credential.
    expect((await write({ Origin: app.url })).status).toBe(200)
    expect((await write({})).status).toBe(200)
    const withKey = { Origin: 'https://evil.com', Authorization: `Bearer ${secret}` }
    expect((await write(withKey)).status).toBe(200)
  })

  test('what has no Origin varies by it all the same, and OPTIONS that is no preflight says Allow', async () => {
    await using app = await createTestApp()
    for (const path of [...paths, '/docs', '/healthz', '/nothing', '/docs/assets/swagger-ui.css']) {
      expectNothing(await request(`${app.url}${path}`))
    }
    await createKey(app)
    for (const [path, allow, status] of [
      ['/api/v3/rooms', 'GET, POST, HEAD, OPTIONS', 204],
      ['/api/v2/room-list/', 'GET, HEAD, OPTIONS', 204],
      ['/api/v2/room-control', 'POST, OPTIONS', 204],
      ['/api/v2/room-service/', 'POST, GET, DELETE, HEAD, OPTIONS', 204],
      ['/docs', 'GET, HEAD, OPTIONS', 204],
      ['/healthz', 'GET, HEAD, OPTIONS', 204],
      ['/docs/assets/swagger-ui.css', 'GET, HEAD, OPTIONS', 204],
      ['/trpc/listRooms', 'GET, POST, HEAD, OPTIONS', 204],
    ] as const) {
      for (const headers of [{}, { Origin: 'http://localhost' }]) {
        const answer = await request(`${app.url}${path}`, { method: 'OPTIONS', headers })
        expect(answer.status, path).toBe(status)
        const methods = (text: unknown) => String(text).split(', ').sort()
        expect(methods(answer.headers.allow)).toEqual(methods(allow))
      }
    }
  })
})

describe('sizes', () => {
  test('a body that is too large is refused, with or without its length', async () => {
    await using app = await createTestApp()
    const limit = 256 * 1024
    for (const [path, most, type] of [
      ['/api/v3/rooms', limit, 'application/json'],
      ['/api/v2/room-control/', limit, 'application/json'],
      ['/api/v2/room-control/', limit, 'application/x-www-form-urlencoded'],
      ['/api/v2/room-control/', limit, 'multipart/form-data; boundary=b'],
      ['/trpc/createRoom', 8 * limit, 'application/json'],
    ] as const) {
      const what = `${path} ${type}`
      const [before, after] = type.startsWith('multipart')
        ? ['--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n', '\r\n--b--\r\n']
        : type.endsWith('json')
          ? ['{"a":"', '"}']
          : ['a=', '']
      const body = (length: number) =>
        `${before}${'x'.repeat(length - before.length - after.length)}${after}`
      for (const headers of [{ 'Transfer-Encoding': 'chunked' }, {}]) {
        const send = (length: number) =>
          post(`${app.url}${path}`, body(length), { 'Content-Type': type, ...headers })
        const fitting = await send(most)
        expect(fitting.status, what).toBe(400)
        expect(fitting.text, what).not.toMatch(/PARSE_ERROR|TOO_LARGE/)
        const refused = await send(2 * most)
        expect(refused.status, what).toBe(413)
        expect(refused.text, what).toContain('PAYLOAD_TOO_LARGE')
      }
      // One that says beforehand what it would send need not send it.
      const announcing = http.request(`${app.url}${path}`, { method: 'POST', agent: false })
      announcing.setHeader('Content-Type', type).setHeader('Content-Length', most + 1)
      announcing.on('error', () => undefined)
      announcing.flushHeaders()
      const [told] = (await once(announcing, 'response')) as [http.IncomingMessage]
      expect(told.statusCode, what).toBe(413)
      announcing.destroy()
    }
    expect((await request(`${app.url}${ROOMS}`)).json.items).toEqual([])
  })

  test('what unpacks to too much is refused as well', async () => {
    const { gzipSync } = await import('node:zlib')
    await using app = await createTestApp()
    const bomb = gzipSync(Buffer.alloc(50_000_000, '"'))
    const { hostname, port } = new URL(app.url)
    const req = http.request({
      hostname,
      port,
      path: '/api/v3/rooms',
      method: 'POST',
      agent: false,
    })
    req.setHeader('Content-Type', 'application/json').setHeader('Content-Encoding', 'gzip')
    req.on('error', () => undefined)
    req.end(bomb)
    const [res] = (await once(req, 'response')) as [http.IncomingMessage]
    expect(res.statusCode).toBe(413)
    res.destroy()
  })
})

describe('more than one request on a connection', () => {
  test('answers come in the order of the requests', async () => {
    await using app = await createTestApp()
    const paths = [ROOMS, '/healthz', V2_ROOMS, '/nothing', TRPC, '/docs']
    const bytes = paths
      .map((path, index) =>
        [
          `GET ${path} HTTP/1.1`,
          'Host: localhost',
          `X-Request-Id: ${index}`,
          ...(index === paths.length - 1 ? ['Connection: close'] : []),
          '',
          '',
        ].join('\r\n'),
      )
      .join('')
    // tRPC answers in chunks.
    const text = await converse(app.url, bytes)
    const ids = [...text.matchAll(/^x-request-id: (\d)\r$/gim)].map(([, id]) => Number(id))
    expect(ids).toEqual([0, 1, 2, 3, 4, 5])
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
    expect(statuses).toEqual([200, 200, 200, 404, 200, 200])
  })

  test('expectations: 100-continue is met, and any other passed over', async () => {
    await using app = await createTestApp()
    const ask = (expectation: string) =>
      converse(app.url, raw(`GET ${ROOMS} HTTP/1.1`, `Expect: ${expectation}`))
    expect(await ask('100-continue')).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/)
    expect(await ask('the-unexpected')).toMatch(/^HTTP\/1\.1 200 OK/)
    expect(await ask('the-unexpected')).toMatch(/x-frame-options: DENY/i)
  })
})

describe('patience', () => {
  const quick = {
    headers: 300,
    request: 600,
    check: 50,
    stall: 400,
    idle: 300,
    closeDelay: 200,
  }

  /** A server with little patience, and the surfaces' own way to read bodies. */
  async function serve(add: (app: Router) => void, timeouts = quick) {
    const app = express.Router()
    const log: Record<string, unknown>[] = []
    const logger = pino({ level: 'trace' }, { write: (line) => log.push(JSON.parse(line)) })
    const readBody = createBodyReader(100_000, { forms: true })
    app.post('/echo', (req, res, next) => {
      readBody(req, { bytes: 0 }).then((body) => res.json(body), next)
    })
    add(app)
    const noQuota = { consume: async () => undefined, charge: async () => undefined }
    const dispatch = createDispatch({
      logger,
      addressOf: () => '127.0.0.1',
      routes: [{ pattern: /^/, transport: staticRoutes(app, noQuota) }],
      defaultHeaders: securityHeaders,
      cors: async (_req, headers) => ({ headers, preflight: undefined }),
      isClosing: () => false,
    })
    const server = createHttpServer(dispatch, logger, timeouts)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      server,
      log,
      connections: () =>
        new Promise<number>((resolve, reject) =>
          server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
        ),
      async [Symbol.asyncDispose]() {
        server.closeAllConnections()
        server.close()
      },
    }
  }

  /** Sends text a byte at a time until the server has had enough. */
  async function dribble(url: string, head: string, text: string): Promise<string> {
    const { hostname, port } = new URL(url)
    const socket = net.connect(Number(port), hostname).setEncoding('utf8').setNoDelay()
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk
    })
    const closed = closeOf(socket)
    socket.write(head)
    for (const letter of text) {
      if (!socket.writable) break
      socket.write(letter)
      await sleep(20)
    }
    await closed
    return heard
  }

  const slowly = 'x'.repeat(500)

  test('in earnest it is a matter of seconds, in the order that makes sense', () => {
    const { headers, request, check, stall, idle, closeDelay } = defaultTimeouts
    expect(headers).toBeLessThan(request)
    expect(check).toBeLessThanOrEqual(headers / 5)
    expect([request <= 30_000, stall <= 60_000, idle > 60_000, closeDelay <= 5000]).not.toContain(
      false,
    )
  })

  test('ends with a client that dribbles headers, a body, or says nothing', async () => {
    await using server = await serve(() => undefined)
    const head = 'POST /echo HTTP/1.1\r\nHost: localhost\r\n'
    const withBody = (more: string) => `${head}Content-Type: application/json\r\n${more}\r\n\r\n`
    const heard = await Promise.all([
      dribble(server.url, head, `X-Slow: ${slowly}`),
      dribble(server.url, withBody('Content-Length: 500'), slowly),
      dribble(
        server.url,
        withBody('Transfer-Encoding: chunked'),
        slowly.replaceAll('x', '1\r\na\r\n'),
      ),
      dribble(server.url, 'G', ''),
      dribble(server.url, '', ''),
    ])
    for (const text of heard) {
      const answers = answersIn(text)
      expect(answers).toHaveLength(1)
      expectPlainError(answers[0], 408, 'TIMEOUT')
      expectHardened(answers[0] as Answer, text)
      expect(answers[0]?.headers.connection).toBe('close')
    }
    await gone(server)
  })

  test('with a connection that never asked for anything ends with the server', async () => {
    await using server = await serve(() => undefined, defaultTimeouts)
    const { hostname, port } = new URL(server.url)
    const socket = net.connect(Number(port), hostname)
    const closed = closeOf(socket)
    await once(server.server, 'connection')
    server.server.closeIdleConnections()
    await closed
    await gone(server)
  })

  test('ends on a real server too, and what was not all there is not done', async () => {
    await using app = await createTestApp()
    // Not for its own patience, but by hanging up.
    const head = raw(
      'POST /api/v2/room-control/ HTTP/1.1',
      'Content-Type: application/json',
      'Content-Length: 500',
    )
    const { hostname, port } = new URL(app.url)
    for (const path of ['/api/v2/room-control/', '/api/v3/rooms', '/trpc/createRoom']) {
      const socket = net.connect(Number(port), hostname)
      socket.on('error', () => undefined)
      socket.write(head.replace('/api/v2/room-control/', path))
      socket.write(JSON.stringify(documentedRoom).slice(0, -1))
      await sleep(30)
      socket.resetAndDestroy()
      const polite = net.connect(Number(port), hostname)
      polite.end(head.replace('/api/v2/room-control/', path))
      const [answer] = answersIn((await polite.setEncoding('utf8').toArray()).join(''))
      expect(answer?.status, path).toBe(400)
      expectHardened(answer as Answer, path)
    }
    expect((await request(`${app.url}${ROOMS}`)).json.items).toEqual([])
  })

  test('a kept connection ends without a word', async () => {
    await using server = await serve(() => undefined)
    const body = '{"a":1}'
    const bytes = `POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    const answers = answersIn(await converse(server.url, bytes))
    expect(answers.map(({ status }) => status)).toEqual([200])
    await gone(server)
  })

  test('an answer that was begun is never mixed with an error', async () => {
    let release: () => void = () => undefined
    await using server = await serve((app) => {
      app.get('/slow', (_req, res) => {
        res.setHeader('Content-Length', 10)
        res.write('first')
        release = () => void res.end('final')
      })
      app.get('/waiting', (_req, res) => {
        release = () => void res.send('at last')
      })
    })
    for (const [path, body] of [
      ['/slow', 'firstfinal'],
      ['/waiting', 'at last'],
    ]) {
      const { hostname, port } = new URL(server.url)
      const socket = net.connect(Number(port), hostname).setEncoding('utf8')
      let heard = ''
      socket.on('data', (chunk) => {
        heard += chunk
      })
      const closed = closeOf(socket)
      for (const bytes of [`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, 'nonsense\r\n', 'more\r\n']) {
        socket.write(bytes)
        await sleep(40)
      }
      release()
      await closed
      const answers = answersIn(heard)
      expect(answers.map(({ status }) => status)).toEqual([200, 400])
      expect(answers[0]?.text).toBe(body)
      expectPlainError(answers[1], 400, 'BAD_REQUEST')
    }
    expect(server.log.filter(({ msg }) => msg === 'not a request')).toHaveLength(2)
    await gone(server)
  })

  test('what was asked before a broken body is answered before it', async () => {
    await using server = await serve((app) => {
      app.get('/slow', async (_req, res) => {
        await sleep(100)
        res.send('slow')
      })
    })
    const broken = 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n'
    const heard = await converse(server.url, `GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${broken}`)
    const answers = answersIn(heard)
    expect(answers.map(({ status }) => status)).toEqual([200, 400])
    expectPlainError(answers[1], 400, 'PARSE_ERROR')
  })

  test('a refused body that never ends gets one answer', async () => {
    await using server = await serve(() => undefined)
    const head = 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n'
    const heard = await dribble(server.url, `${head}Content-Length: 100001\r\n\r\n`, slowly)
    expect(answersIn(heard).map(({ status }) => status)).toEqual([413])
    expect(heard.match(/HTTP\/1\.1/g)).toHaveLength(1)
    await gone(server)
  })

  test('one that goes on sending after it was refused is cut', async () => {
    // Nothing else cuts it so soon.
    const patient = { ...quick, headers: 20_000, request: 30_000, stall: 60_000 }
    await using server = await serve(() => undefined, patient)
    const heard = await dribble(server.url, 'nonsense\r\n\r\n', slowly)
    expect(answersIn(heard).map(({ status }) => status)).toEqual([400])
    // A client that will not hang up is hung up on.
    const { hostname, port } = new URL(server.url)
    const silent = net.connect({ port: Number(port), host: hostname, allowHalfOpen: true })
    silent.on('error', () => undefined)
    silent.write('nonsense\r\n\r\n')
    await once(silent, 'readable')
    await gone(server)
    silent.destroy()
  })

  test('one that does not read holds little memory, and not for long', async () => {
    let begun = 0
    const piece = Buffer.alloc(1_000_000)
    await using server = await serve((app) => {
      app.get('/large', (_req, res) => {
        begun += 1
        res.end(piece)
      })
    })
    const { hostname, port } = new URL(server.url)
    const socket = net.connect(Number(port), hostname)
    socket.on('error', () => undefined)
    socket.pause()
    const asked = 500
    for (let i = 0; i < asked; i += 1) {
      socket.write(`GET /large HTTP/1.1\r\nHost: a\r\nX-Padding: ${'p'.repeat(2000)}\r\n\r\n`)
    }
    await once(server.server, 'connection')
    await gone(server)
    // What the kernel's own buffers take, and a chunk of requests that were read at once.
    expect(begun).toBeGreaterThan(0)
    expect(begun).toBeLessThan(asked / 4)
    socket.destroy()
  })

  test('one that reads slowly, but reads, gets all of it', async () => {
    const whole = Buffer.alloc(12_000_000, 'x')
    // Longer than a pause of a busy machine, and shorter than the reading.
    const patience = { ...quick, stall: 2_000 }
    await using server = await serve((app) => {
      app.get('/large', (_req, res) => res.end(whole))
    }, patience)
    const { hostname, port } = new URL(server.url)
    const socket = net.connect(Number(port), hostname)
    socket.write('GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    let read = 0
    const reader = new Writable({
      highWaterMark: 1,
      write(chunk, _encoding, done) {
        read += chunk.length
        setTimeout(done, 15)
      },
    })
    socket.pipe(reader)
    await once(reader, 'finish')
    expect(read).toBeGreaterThan(whole.length)
  })

  test('a client that goes away makes no noise', async () => {
    await using server = await serve((app) => {
      app.get('/slow', async (_req, res) => {
        await sleep(100)
        res.send('late')
      })
    })
    const { hostname, port } = new URL(server.url)
    for (const bytes of ['GET /slow HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /sl', 'nonsense\r\n\r\n']) {
      const socket = net.connect(Number(port), hostname)
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      socket.write(bytes)
      await sleep(20)
      socket.resetAndDestroy()
    }
    await gone(server)
    expect((await post(`${server.url}/echo`, '{}')).status).toBe(200)
    expect(server.log.filter(({ level }) => Number(level) >= 50)).toEqual([])
  })

  /** Waits until the server has no connection left. */
  async function gone(server: { connections(): Promise<number> }): Promise<void> {
    await expect.poll(server.connections).toBe(0)
  }
})

test('there is a browser to test the page with', ({ skip }) => {
  if (!requiresBrowser && !hasBrowser) skip('chromium is not installed')
  expect(hasBrowser, `${CHROMIUM} is missing, and REQUIRE_BROWSER is set`).toBe(true)
})

describe.skipIf(!hasBrowser)('in a real browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launchBrowser(
      '--host-resolver-rules=MAP evil.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
    )
  })
  afterAll(() => browser?.close())

  /** What the page did that it should not: errors, violations of its policy, requests to other hosts. */
  function watch(page: Page, url: string): string[] {
    const seen: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') seen.push(message.text())
    })
    page.on('pageerror', (error) => seen.push(String(error)))
    page.on('request', (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith('data:')) {
        seen.push(`request to ${request.url()}`)
      }
    })
    page.on('requestfailed', (request) => seen.push(`failed: ${request.url()}`))
    return seen
  }

  test('the docs page works under its own policy, with an API key', async () => {
    await using app = await createTestApp()
    await openRoom(app)
    const { secret: key } = await createKey(app)
    const page = await browser.newPage()
    const seen = watch(page, app.url)
    await page.addInitScript(() => {
      const page = globalThis as unknown as EventTarget
      page.addEventListener('securitypolicyviolation', (event) => {
        const { violatedDirective, blockedURI } = event as unknown as Record<string, string>
        // biome-ignore lint/suspicious/noConsole: so it is seen outside
        console.error(`violation of ${violatedDirective} by ${blockedURI}`)
      })
    })
    await page.goto(`${app.url}/docs`)
    await page.locator('button.authorize').first().click()
    await page.locator('.auth-container input').first().fill(key)
    await page.locator('.auth-container button.authorize').first().click()
    await page.locator('.dialog-ux button.btn-done, .modal-btn.btn-done').first().click()
    const operation = page.locator('[id$="-listRooms"]').first()
    await operation.locator('.opblock-summary').click()
    await operation.locator('tr[data-param-name="orgId"] input').fill(ORG)
    await operation.locator('button.execute').click()
    const live = operation.locator('.live-responses-table')
    await live.waitFor()
    expect(await live.locator('.response-col_status').last().textContent()).toMatch(/^200/)
    expect(await live.textContent()).toContain('ABCD12345')
    expect(seen).toEqual([])
    await page.close()
  })

  /** A page of a foreign origin, and of one on this machine. */
  async function servePage() {
    const server = http.createServer((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>page</title>')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return {
      evil: `http://evil.test:${port}`,
      local: `http://localhost:${port}`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections()
        server.close()
      },
    }
  }

  /** What a page of this origin gets when it reads, and when it writes without a preflight. */
  async function attempt(origin: string, target: string) {
    const page = await browser.newPage()
    try {
      await page.goto(origin)
      return await page.evaluate(
        async ([target, form, rooms]) => {
          const tell = (promise: Promise<Response>) =>
            promise.then(
              async (answer) => `${answer.status} ${await answer.text()}`,
              () => 'blocked',
            )
          return {
            read: await tell(fetch(`${target}${rooms}`)),
            written: await tell(
              fetch(`${target}/api/v2/room-control/`, {
                method: 'POST',
                body: new URLSearchParams(form),
              }),
            ),
            blind: await fetch(`${target}/api/v2/room-control/`, {
              method: 'POST',
              mode: 'no-cors',
              body: new URLSearchParams(form),
            }).then(
              (answer) => answer.type,
              () => 'blocked',
            ),
            asJson: await tell(
              fetch(`${target}/api/v3/rooms`, {
                method: 'POST',
                headers: { 'Content-Type': 'application/json' },
                body: '{}',
              }),
            ),
          }
        },
        [target, new URLSearchParams(documentedRoom).toString(), ROOMS] as const,
      )
    } finally {
      await page.close()
    }
  }

  test('a foreign page can neither read nor write in open mode, and a page of this machine can', async () => {
    await using pages = await servePage()
    await using app = await createTestApp()
    for (const target of [app.url, app.url.replace('127.0.0.1', 'localhost')]) {
      const foreign = await attempt(pages.evil, target)
      expect(foreign).toMatchObject({ read: 'blocked', written: 'blocked', asJson: 'blocked' })
    }
    expect((await request(`${app.url}${ROOMS}`)).json.items).toEqual([])
    // Under the page's own name, as after DNS rebinding: the same origin, and yet foreign here.
    const rebound = await attempt(
      app.url.replace('127.0.0.1', 'evil.test').concat('/docs'),
      app.url.replace('127.0.0.1', 'evil.test'),
    )
    expect(rebound.read).toMatch(/^403/)
    expect(rebound.written).toMatch(/^403/)
    expect((await request(`${app.url}${ROOMS}`)).json.items).toEqual([])

    const local = await attempt(pages.local, app.url)
    expect(local.read).toMatch(/^200/)
    expect(local.written).toMatch(/^200.*"success":true/)
    expect(local.asJson).toMatch(/^400/)
  })

  test('a link and an image of a foreign page cannot delete a room', async () => {
    await using pages = await servePage()
    await using app = await createTestApp()
    const id = await openRoom(app)
    const target = `${app.url}/api/v2/room-service/?type=delete_room&room_id=${id}`
    const page = await browser.newPage()
    await page.goto(pages.evil)
    const refused = () =>
      app.log.filter(({ res }) => (res as { status?: number } | undefined)?.status === 403)
    await page.setContent(`<img src="${target}"><a href="${target}">a prize</a>`)
    await expect.poll(refused).toHaveLength(1)
    const [followed] = await Promise.all([page.waitForNavigation(), page.click('a')])
    expect(followed?.status()).toBe(403)
    await page.close()
    expect((await request(`${app.url}${ROOMS}`)).json.items).toMatchObject([{ isActive: true }])
  })

  test('a foreign page that CORS_ORIGINS lists can under AUTH=open, and no other page', async () => {
    await using pages = await servePage()
    await using app = await createTestApp({ AUTH: 'open', CORS_ORIGINS: pages.evil })
    const listed = await attempt(pages.evil, app.url)
    expect(listed.read).toMatch(/^200/)
    expect(listed.written).toMatch(/^200.*"success":true/)
    expect(listed.asJson).toMatch(/^400/)
    const other = await attempt(pages.local, app.url)
    expect(other).toMatchObject({ read: 'blocked', written: 'blocked', asJson: 'blocked' })
    // Without AUTH=open every page needs a credential.
    await using closed = await createTestApp({ CORS_ORIGINS: pages.evil })
    const refused = await attempt(pages.evil, closed.url)
    expect(refused.read).toMatch(/^401/)
    expect(refused.written).toMatch(/^401/)
  })
})
