import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createTestDb } from '@dowell-chat/db/testing'
import pino from 'pino'
import { describe, expect, test } from 'vitest'
import { health } from '../src/http/pages/health.ts'
import { createKey } from './credentials.ts'
import { send } from './http.ts'
import { createTestApp, type TestApp } from './support.ts'

describe('pages without a credential', () => {
  const pages = [
    '/docs',
    '/',
    '/docs/page.js',
    '/docs/assets/swagger-ui.css',
    '/openapi.json',
    '/nowhere',
  ]

  test.each(pages)('%s is under the limit of its address', async (path) => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '2' })
    const statuses = []
    for (let i = 0; i < 4; i++) statuses.push(await send(app, { path }))
    const [first, , third] = statuses
    expect(first?.status).toBeLessThan(429)
    expect(first?.headers.ratelimit).toContain('"actor";r=1')
    expect(third?.status).toBe(429)
    expect(third?.headers).toHaveProperty('retry-after')
    expect(third?.body).toMatchObject({ code: 'TOO_MANY_REQUESTS' })
  })

  test('the bytes of a page cost as those of any other response', async () => {
    await using app = await createTestApp()
    const left = async () =>
      Number(
        /"actor";r=(\d+)/.exec(String((await send(app, { path: '/docs' })).headers.ratelimit))?.[1],
      )
    const before = await left()
    const { text } = await send(app, { path: '/openapi.json' })
    const bytes = Math.ceil((Buffer.byteLength(text) - 32 * 1024) / (16 * 1024))
    // The charge follows the response.
    await expect.poll(async () => before - (await left())).toBeGreaterThan(bytes)
  })

  test('a credential does not lift the limit', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '0', RATE_LIMIT_ADDRESS: '1' })
    const { secret } = await createKey(app, { orgId: 'a' })
    const headers = { Authorization: `Bearer ${secret}` }
    await send(app, { path: '/docs', headers })
    expect((await send(app, { path: '/docs', headers })).status).toBe(429)
  })

  test.each(['/healthz', '/readyz'])('%s has no limit', async (path) => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '1', RATE_LIMIT_ADDRESS: '1' })
    for (let i = 0; i < 5; i++) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await send(app, { path, method })
        expect(answer.status).toBe(200)
        expect(answer.headers).not.toHaveProperty('ratelimit')
      }
    }
    expect((await send(app, { path, method: 'POST' })).status).toBe(405)
  })
})

test('readiness asks the database once a second, however often it is asked', async () => {
  await using db = await createTestDb()
  let pings = 0
  const ping = async () => {
    pings++
    await db.ping()
  }
  let isClosing = false
  const { serve } = health({ ping }, pino({ level: 'silent' }), {
    isClosing: () => isClosing,
    problem: () => undefined,
  })
  const ask = async () => (await serve({ method: 'GET', path: '/readyz' } as never)) as never
  const statuses = await Promise.all(Array.from({ length: 50 }, ask))
  expect(new Set(statuses.map(({ status }) => status))).toEqual(new Set([200]))
  expect(pings).toBe(1)
  await expect
    .poll(async () => {
      await ask()
      return pings
    })
    .toBe(2)
  isClosing = true
  expect(await ask()).toMatchObject({ status: 503 })
})

/** Opens connections until one is closed by the server, or all are open. */
async function open(app: TestApp, count: number): Promise<{ sockets: Socket[]; refused: number }> {
  const { hostname, port } = new URL(app.url)
  const sockets: Socket[] = []
  let refused = 0
  for (let i = 0; i < count; i++) {
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    // An answer shows that the server keeps the connection.
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const kept = await Promise.race([
      once(socket, 'data').then(() => true),
      once(socket, 'close').then(() => false),
    ])
    if (kept) sockets.push(socket)
    else refused++
  }
  return { sockets, refused }
}

describe.each(['CONNECTIONS_MAX', 'CONNECTIONS_PER_ADDRESS'])('%s', (setting) => {
  test('closes further connections, and the log warns once', async () => {
    await using app = await createTestApp({ [setting]: '3' })
    const { sockets, refused } = await open(app, 6)
    expect([sockets.length, refused]).toEqual([3, 3])
    const warnings = app.log.filter((line) => line.setting === setting)
    expect(warnings).toEqual([expect.objectContaining({ level: 40, refused: 1 })])
    for (const socket of sockets.splice(0, 2)) socket.destroy()
    await expect
      .poll(async () => {
        const more = await open(app, 1)
        sockets.push(...more.sockets)
        return more.refused
      })
      .toBe(0)
    for (const socket of sockets) socket.destroy()
  })

  test('0 is no limit', async () => {
    await using app = await createTestApp({ [setting]: '0' })
    const { sockets, refused } = await open(app, 20)
    expect(refused).toBe(0)
    for (const socket of sockets) socket.destroy()
  })
})

test('a trusted proxy has no limit by address', async () => {
  await using app = await createTestApp({
    CONNECTIONS_PER_ADDRESS: '1',
    TRUST_PROXY: 'loopback',
    AUTH: 'open',
  })
  const { sockets, refused } = await open(app, 5)
  expect(refused).toBe(0)
  for (const socket of sockets) socket.destroy()
})

describe('a 429 in place of another refusal keeps its headers', () => {
  test('WWW-Authenticate after too many failed authentications', async () => {
    await using app = await createTestApp({ RATE_LIMIT_FAILURES: '1' })
    const headers = { Authorization: 'Bearer nobody' }
    const paths = [
      '/api/v3/rooms?orgId=a',
      '/api/v2/room-list/?org_id=a',
      '/trpc/listRooms?input=%7B%7D',
      '/api/v3/events?orgId=a',
    ]
    expect((await send(app, { path: '/api/v3/rooms?orgId=a', headers })).status).toBe(401)
    for (const path of paths) {
      const answer = await send(app, { path, headers })
      expect(answer.status, answer.text).toBe(429)
      expect(answer.headers['www-authenticate'], path).toContain('Bearer')
      expect(answer.headers).toHaveProperty('retry-after')
    }
  })

  test('Allow where v2 refuses a method', async () => {
    await using app = await createTestApp({ RATE_LIMIT_ACTOR: '1' })
    const path = '/api/v2/room-service/?type=create_message'
    const answers = [await send(app, { path }), await send(app, { path })]
    expect(answers.map(({ status }) => status)).toEqual([405, 429])
    expect(answers[1]?.headers.allow).toBe(answers[0]?.headers.allow)
    expect(answers[0]?.headers.allow).toContain('POST')
  })
})
