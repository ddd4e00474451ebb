import { Buffer } from 'node:buffer'
import { EventEmitter, once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { pointsOf } from '../src/http/caller/quota.ts'
import { createTurns } from '../src/http/caller/turns.ts'
import { whenSent } from '../src/http/core/request.ts'
import { createOperator } from './credentials.ts'
import { EventReader } from './eventReader.ts'
import { type Answer, type Outgoing as Sent, send } from './http.ts'
import { createTestApp, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const LARGEST = '🙂'.repeat(16_000)
const KIB = 1024

/** A customer with a room of largest messages, and what a request of theirs takes from their budget. */
async function createCustomer(app: TestApp, messages: number) {
  await using operator = createOperator(app)
  const { secret } = await operator.call.createApiKey({ orgId: ORG, right: 'admin' })
  const key = { Authorization: `Bearer ${secret}`, 'Content-Type': 'application/json' }
  const asKey = (path: string, body: unknown) =>
    send(app, { path, method: 'POST', headers: key, body: JSON.stringify(body) })
  const user = { orgId: ORG, userId: 'customer', side: false }
  const { body } = await asKey('/api/v3/user-tokens', user)
  const own = { Authorization: `Bearer ${body?.token}`, 'Content-Type': 'application/json' }
  const identity = { orgId: ORG, userId: 'customer', portfolioName: 'p', productName: 'q' }
  const opened = await asKey('/api/v3/rooms', identity)
  const { id: room } = (opened.body as never as { room: { id: string } }).room
  for (let i = 0; i < messages; i++) {
    const message = { messageData: LARGEST, side: false, author: 'customer' }
    const { status } = await asKey(`/api/v3/rooms/${room}/messages`, message)
    expect(status).toBe(201)
  }
  let before = 3_000
  const ask = (sent: Sent) => send(app, { ...sent, headers: { ...own, ...sent.headers } })
  return {
    room,
    key,
    own,
    ask,
    /** Points that a request costs. */
    async price(sent: Sent): Promise<{ points: number; answer: Answer }> {
      const answer = await ask(sent)
      const [, left] = /"actor";r=(\d+)/.exec(String(answer.headers.ratelimit)) ?? []
      const points = before - Number(left)
      before = Number(left)
      return { points, answer }
    },
  }
}

test('an answer costs a point for each 16 KiB beyond the first 32', () => {
  expect(pointsOf(0)).toBe(0)
  expect(pointsOf(32 * KIB)).toBe(0)
  expect(pointsOf(32 * KIB + 1)).toBe(1)
  expect(pointsOf(48 * KIB)).toBe(1)
  expect(pointsOf(1024 * KIB)).toBe(62)
})

test('the price of a call is that of its bytes, on every surface and for a 304 that had to be made', async () => {
  await using app = await createTestApp()
  const { room, price } = await createCustomer(app, 20)
  const pages = {
    v3: { path: `/api/v3/rooms/${room}/messages?limit=200` },
    snapshot: { path: `/api/v3/rooms/${room}/snapshot?limit=200` },
    v2: { path: `/api/v2/room-service/?type=get_messages&room_id=${room}` },
    tRPC: { path: `/trpc/getMessages?input=${input({ json: { roomId: room, limit: 200 } })}` },
    log: { path: `/api/v3/event-log?orgId=${ORG}&roomId=${room}&limit=200` },
  }
  for (const [name, page] of Object.entries(pages)) {
    const { points, answer } = await price(page)
    expect(answer.status, name).toBe(200)
    expect(points, name).toBe(1 + pointsOf(Buffer.byteLength(answer.text)))
    expect(points, name).toBeGreaterThan(50)
  }
  const first = (await price(pages.v3)).answer
  const condition = { 'If-None-Match': String(first.headers.etag) }
  const unchanged = await price({ ...pages.v3, headers: condition })
  expect([unchanged.answer.status, unchanged.points]).toEqual([304, 1])
  const log = (await price(pages.log)).answer
  const made = await price({ ...pages.log, headers: { 'If-None-Match': String(log.headers.etag) } })
  expect([made.answer.status, made.points > 50]).toEqual([304, true])
  const batch = `/trpc/getMessages,getMessages?batch=1&input=${input({
    0: { json: { roomId: room, limit: 200 } },
    1: { json: { roomId: room, limit: 200 } },
  })}`
  for (const query of ['', '&connectionParams=null']) {
    const { points, answer } = await price({ path: `${batch}${query}` })
    expect(answer.status).toBe(200)
    expect(points).toBeGreaterThan(100)
    expect(Math.abs(points - 2 - pointsOf(Buffer.byteLength(answer.text)))).toBeLessThan(5)
  }
})

test('a body costs as much as an answer, also one that is refused', async () => {
  await using app = await createTestApp()
  const { room, price } = await createCustomer(app, 0)
  const post = (path: string, body: string): Sent => ({ path, method: 'POST', body })
  const message = JSON.stringify({ messageData: LARGEST, side: false, author: 'customer' })
  const stored = await price(post(`/api/v3/rooms/${room}/messages`, message))
  expect(stored.answer.status).toBe(201)
  const { length } = Buffer.from(message)
  expect(stored.points).toBe(
    2 + 3 * pointsOf(length) + pointsOf(Buffer.byteLength(stored.answer.text)),
  )
  const broken = `${message.slice(0, -1)} `
  const refused = await price(post(`/api/v3/rooms/${room}/messages`, broken))
  expect([refused.answer.status, refused.points]).toEqual([400, 1 + 3 * pointsOf(length)])
})

test('a customer whose budget is spent is refused, and nobody else is', async () => {
  await using app = await createTestApp({ RATE_LIMIT_CUSTOMER: '200' })
  const { room, key, ask } = await createCustomer(app, 20)
  const page = { path: `/api/v3/rooms/${room}/messages?limit=200` }
  const statuses: number[] = []
  for (let i = 0; i < 6; i++) statuses.push((await ask(page)).status)
  // Each costs 63 points. What is made already is not refused; the next call is.
  expect(statuses).toEqual([200, 200, 200, 200, 429, 429])
  expect((await ask({ path: `/api/v3/rooms/${room}` })).status).toBe(429)
  expect((await send(app, { ...page, headers: key })).status).toBe(200)
})

test('requests whose client has left are not served for nobody', async () => {
  await using app = await createTestApp()
  const { room, own, price } = await createCustomer(app, 20)
  await price({ path: `/api/v3/rooms/${room}` })
  const { hostname, port } = new URL(app.url)
  const head = `Host: ${hostname}\r\nAuthorization: ${own.Authorization}\r\n\r\n`
  const sockets = Array.from({ length: 40 }, () => connect(Number(port), hostname))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  const before = app.log.length
  for (const socket of sockets) {
    socket.on('error', () => undefined)
    socket.write(`GET /api/v3/rooms/${room}/messages?limit=200 HTTP/1.1\r\n${head}`)
    socket.resetAndDestroy()
  }
  // Some were gone before they were seen.
  await expect.poll(async () => (await price({ path: `/api/v3/rooms/${room}` })).points).toBe(1)
  const left = Number(
    /"actor";r=(\d+)/.exec(
      String((await price({ path: `/api/v3/rooms/${room}` })).answer.headers.ratelimit),
    )?.[1],
  )
  // All 40 would have cost 2,520.
  expect(left).toBeGreaterThan(3_000 - 600)
  expect(app.log.slice(before).filter(({ level }) => Number(level) >= 50)).toEqual([])
})

test('two requests of a customer on one connection are both answered', async () => {
  await using app = await createTestApp()
  const { room, own } = await createCustomer(app, 1)
  const { hostname, port } = new URL(app.url)
  const socket = connect(Number(port), hostname)
  const head = `Host: ${hostname}\r\nAuthorization: ${own.Authorization}\r\n`
  const body = JSON.stringify({ messageData: LARGEST, side: false, author: 'customer' })
  const length = Buffer.byteLength(body)
  socket.write(
    `POST /api/v3/rooms/${room}/messages HTTP/1.1\r\n${head}Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body.slice(0, 100)}`,
  )
  await turn()
  socket.write(
    `${body.slice(100)}GET /api/v3/rooms/${room} HTTP/1.1\r\n${head}Connection: close\r\n\r\n`,
  )
  let text = ''
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  await once(socket, 'close')
  expect(text.match(/HTTP\/1.1 (\d+)/g)).toEqual(['HTTP/1.1 201', 'HTTP/1.1 200'])
})

test('a stream pays for what it replays, and for nothing that is live', async () => {
  await using app = await createTestApp()
  const { room, ask, price, key, own } = await createCustomer(app, 20)
  const { body } = await ask({ path: `/api/v3/event-log?orgId=${ORG}&limit=1` })
  const { after } = body as never as { after: string }
  await price({ path: `/api/v3/rooms/${room}` })
  const path = `/api/v3/rooms/${room}/events?after=${after}`
  const { Authorization } = own
  await using reader = await EventReader.open(app, path, { Authorization })
  await reader.nextOf('ready')
  const small = { path: `/api/v3/rooms/${room}` }
  const replayed = (await price(small)).points
  // 20 messages of 64,000 bytes, the stream and this read.
  expect(replayed).toBeGreaterThan(70)
  expect(replayed).toBeLessThan(100)
  const message = { messageData: LARGEST, side: true, author: 'support' }
  const sent = { path: `/api/v3/rooms/${room}/messages`, method: 'POST', headers: key }
  await send(app, { ...sent, body: JSON.stringify(message) })
  await reader.nextOf('message.created')
  expect((await price(small)).points).toBe(1)
})

function input(value: unknown): string {
  return encodeURIComponent(JSON.stringify(value))
}

describe('turns', () => {
  interface FakeRequest {
    readonly served: Promise<void>
    readonly serve: () => void
    readonly res: EventEmitter
    whenSent(): Promise<void>
  }

  function fakeRequest(): FakeRequest {
    const { promise: served, resolve: serve } = Promise.withResolvers<void>()
    const res = Object.assign(new EventEmitter(), { writableFinished: false, closed: false })
    return {
      served,
      serve,
      res,
      whenSent: () => whenSent(res as unknown as ServerResponse, served),
    }
  }

  /** Serves a request, and hands its answer to the system or loses its client. */
  async function serve(request: FakeRequest | undefined, end: 'finish' | 'close' = 'finish') {
    request?.serve()
    await turn()
    request?.res.emit(end)
    await turn()
  }

  /** Asks for turns and notes who has one. */
  function queue(count: number) {
    const turns = createTurns()
    const begun: number[] = []
    const refused: number[] = []
    const requests = Array.from({ length: count }, fakeRequest)
    for (const [index, request] of requests.entries()) {
      turns.enter('customer', request).then(
        () => begun.push(index),
        () => refused.push(index),
      )
    }
    return { turns, begun, refused, requests }
  }

  test('eight requests of one customer are served at once, the others in order', async () => {
    const { turns, begun, requests } = queue(20)
    await turn()
    expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    await serve(requests[3])
    await serve(requests[0], 'close')
    expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    // One whose client has left keeps its place while it is served.
    requests[1]?.res.emit('close')
    await turn()
    expect(begun).toHaveLength(10)
    // Another customer waits for none of them.
    await turns.enter('another', fakeRequest())
    for (const request of requests) await serve(request)
    expect(begun).toHaveLength(20)
  })

  test('one large call of a customer is at work, and pauses as long as its bytes were dear', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const turns = createTurns()
    const begun: number[] = []
    const requests = [fakeRequest(), fakeRequest(), fakeRequest()]
    for (const [index, request] of requests.entries()) {
      const points = () => (index === 0 ? 62 : 0)
      void turns.work('customer', 'perhaps large', request, points).then(() => begun.push(index))
    }
    await turn()
    expect(begun).toEqual([0])
    // Neither what is small waits for it, nor another customer.
    await turns.work('customer', 'small', fakeRequest(), () => 0)
    await turns.work('another', 'perhaps large', fakeRequest(), () => 0)
    requests[0]?.res.emit('close')
    await turn()
    expect(begun).toEqual([0])
    requests[0]?.serve()
    await vi.advanceTimersByTimeAsync(867)
    expect(begun).toEqual([0])
    await vi.advanceTimersByTimeAsync(1)
    await turn()
    expect(begun).toEqual([0, 1])
    requests[1]?.serve()
    await turn()
    expect(begun).toEqual([0, 1, 2])
  })

  test('more than a hundred that wait are refused, until there is room again', async () => {
    const { turns, begun, refused, requests } = queue(120)
    await turn()
    expect(begun).toHaveLength(8)
    expect(refused).toEqual([108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119])
    await serve(requests[0])
    let isRefused = false
    turns.enter('customer', fakeRequest()).catch(() => {
      isRefused = true
    })
    await turn()
    expect(isRefused).toBe(false)
  })

  test('a client that left before its turn holds nobody up', async () => {
    const { begun, requests } = queue(10)
    Object.assign(requests[8]?.res as object, { closed: true })
    await turn()
    await serve(requests[0])
    requests[8]?.serve()
    await turn()
    expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })
})
