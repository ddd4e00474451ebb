import { EventEmitter } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { AppError } from '@dowell-chat/api'
import { createTestStore, type TestStore } from '@dowell-chat/db/testing'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { readConfig } from '../src/config.ts'
import { createDeps } from '../src/deps.ts'
import { createContextFactory } from '../src/http/caller/identity.ts'
import { createOpenMode } from '../src/http/caller/openMode.ts'
import { createQuotas } from '../src/http/caller/quota.ts'
import {
  type ErrorFormat,
  MethodNotAllowedError,
  plainErrorFormat,
  toErrorReply,
} from '../src/http/core/errors.ts'
import { type MessageReply, type Reply, writeReply } from '../src/http/core/reply.ts'
import { createRequest, type HttpRequest } from '../src/http/core/request.ts'
import type { Transport } from '../src/http/core/transport.ts'
import { v2ErrorFormat } from '../src/http/rest/errorFormat.ts'
import { restV3 } from '../src/http/rest/v3.ts'
import { trpcErrorFormat } from '../src/http/trpc/errorFormat.ts'
import { documentedRoom } from './support.ts'

/** A request that no socket has sent. */
function fakeRequest(
  method: string,
  url: string,
  options: { headers?: IncomingHttpHeaders; body?: unknown } = {},
): HttpRequest {
  const bytes = options.body === undefined ? [] : [Buffer.from(JSON.stringify(options.body))]
  const headers: IncomingHttpHeaders = {
    host: 'localhost',
    'x-request-id': 'the-id',
    ...(bytes[0]
      ? { 'content-type': 'application/json', 'content-length': String(bytes[0].length) }
      : {}),
    ...options.headers,
  }
  const raw = Object.assign(Readable.from(bytes, { objectMode: false }), {
    method,
    url,
    headers,
    rawHeaders: Object.entries(headers).flatMap(([name, value]) => [name, String(value)]),
    httpVersion: '1.1',
    socket: { remoteAddress: '127.0.0.1' },
    complete: true,
  })
  return createRequest(
    raw as unknown as IncomingMessage,
    new EventEmitter() as unknown as ServerResponse,
    '127.0.0.1',
  ).request
}

/** The reply's headers by name. Fails for a reply that is no message. */
function message(reply: Reply): {
  status: number
  headers: Record<string, string>
  body: MessageReply['body']
} {
  if (!('status' in reply) || 'start' in reply) throw new Error('the reply is no message')
  const { status, headers, body } = reply
  const pairs = headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]]] : []))
  return { status, headers: Object.fromEntries(pairs), body }
}

describe('REST v3 without a socket', () => {
  let store: TestStore
  let close: () => Promise<void>
  let v3: Transport
  beforeAll(async () => {
    store = await createTestStore()
    const config = readConfig({ DATABASE_URL: store.url, AUTH: 'open' })
    const deps = createDeps(config, pino({ level: 'silent' }))
    await deps.db.migrateToLatest()
    close = async () => {
      deps.live.close()
      await deps.db.close()
    }
    const openMode = createOpenMode(config, deps.db)
    v3 = restV3({
      createContext: createContextFactory(deps, createQuotas(config), openMode),
      bodyLimit: 1_000,
      serveStream: async () => ({ status: 404, headers: [] }),
    })
  })
  afterAll(async () => {
    await close()
    await store[Symbol.asyncDispose]()
  })

  const room = {
    userId: documentedRoom.user_id,
    orgId: documentedRoom.org_id,
    portfolioName: documentedRoom.portfolio_name,
    productName: documentedRoom.product_name,
  }

  test('replies to a write with 201, and to a read with a tag that a second read can name', async () => {
    const written = message(await v3.serve(fakeRequest('POST', '/api/v3/rooms', { body: room })))
    expect(written.status).toBe(201)
    const { id } = JSON.parse(String(written.body)).room

    const request = fakeRequest('GET', `/api/v3/rooms/${id}`)
    const read = message(await v3.serve(request))
    expect(read).toMatchObject({ status: 200, headers: { 'Cache-Control': 'private, no-cache' } })
    expect(JSON.parse(String(read.body))).toMatchObject({ id, userId: room.userId })
    const quota: string[] = []
    request.quota.appendTo(quota)
    expect(quota).toContain('"actor";q=60000;w=60, "address";q=120000;w=60')

    const { ETag: tag } = read.headers
    const again = fakeRequest('GET', `/api/v3/rooms/${id}`, { headers: { 'if-none-match': tag } })
    expect(message(await v3.serve(again))).toMatchObject({
      status: 304,
      headers: { ETag: tag },
      body: undefined,
    })
  })

  test('throws for a method that the path does not take, and for a body that is too large', async () => {
    const patch = v3.serve(fakeRequest('PATCH', '/api/v3/rooms'))
    await expect(patch).rejects.toMatchObject({ allow: 'POST, GET, HEAD, OPTIONS' })
    const large = fakeRequest('POST', '/api/v3/rooms', { body: 'x'.repeat(1_000) })
    await expect(v3.serve(large)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
  })

  test('rejects a path without an operation', async () => {
    const unknown = v3.serve(fakeRequest('GET', '/api/v3/unknown'))
    await expect(unknown).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('leaves a subscription to the event streams', async () => {
    const stream = v3.serve(fakeRequest('GET', '/api/v3/events'))
    expect(message(await stream).status).toBe(404)
  })
})

describe('an error reply', () => {
  const errorReply = (error: unknown, format: ErrorFormat = plainErrorFormat, method = 'GET') =>
    toErrorReply({ id: 'the-id', method }, error, format)
  const bodyOf = (reply: MessageReply) => JSON.parse(String(reply.body))

  test('has the words of its transport', () => {
    const error = new AppError('BAD_REQUEST', { errors: { roomId: ['is wrong'] } })
    const plain = { code: 'BAD_REQUEST', message: 'The input is not valid', requestId: 'the-id' }
    const errors = { roomId: ['is wrong'] }
    expect(bodyOf(errorReply(error))).toEqual({ ...plain, errors })
    expect(bodyOf(errorReply(error, v2ErrorFormat))).toEqual({
      success: false,
      ...plain,
      errors: { room_id: ['is wrong'] },
    })
    expect(bodyOf(errorReply(error, trpcErrorFormat))).toMatchObject({
      error: {
        json: { data: { code: 'BAD_REQUEST', httpStatus: 400, requestId: 'the-id', errors } },
      },
    })
  })

  test('has the headers that belong to its error', () => {
    expect(message(errorReply(new AppError('UNAUTHORIZED'))).headers).toMatchObject({
      'WWW-Authenticate': 'Bearer realm="dowell-chat"',
    })
    const late = new AppError('TOO_MANY_REQUESTS', { retryAfter: 7 })
    expect(message(errorReply(late)).headers).toMatchObject({ 'Retry-After': '7' })
    const method = message(errorReply(new MethodNotAllowedError(['GET', 'POST'])))
    expect(method).toMatchObject({ status: 405, headers: { Allow: 'GET, POST, HEAD, OPTIONS' } })
  })

  test('to OPTIONS is a 204 with the methods', () => {
    const reply = errorReply(new MethodNotAllowedError(['POST']), plainErrorFormat, 'OPTIONS')
    expect(reply).toEqual({ status: 204, headers: ['Allow', 'POST, OPTIONS'] })
  })

  test('keeps an unexpected error for the log and out of the body', () => {
    const failure = new Error('secret detail')
    const reply = errorReply(failure)
    expect(reply).toMatchObject({ status: 500, failure })
    expect(reply.body).not.toContain('secret')
    expect(errorReply(new AppError('NOT_FOUND'))).not.toHaveProperty('failure')
  })
})

describe('writing a reply', () => {
  function fakeResponse(properties: Partial<ServerResponse> = {}) {
    return Object.assign(new EventEmitter(), {
      ...{ headersSent: false, destroyed: false },
      ...{ writeHead: vi.fn(), write: vi.fn(), end: vi.fn() },
      ...properties,
    }) as unknown as ServerResponse
  }

  test('sends the id, the default headers, the quotas and its own headers in one list', () => {
    const res = fakeResponse()
    const request = fakeRequest('GET', '/')
    request.quota.set('actor', { limit: 5, windowSeconds: 60, remaining: 4, resetSeconds: 9 })
    writeReply(res, request, ['Vary', 'Origin'], { status: 200, headers: ['A', 'b'], body: 'ä' })
    expect(res.writeHead).toHaveBeenCalledExactlyOnceWith(200, [
      ...['X-Request-Id', 'the-id', 'Vary', 'Origin'],
      ...['RateLimit-Policy', '"actor";q=5;w=60', 'RateLimit', '"actor";r=4;t=9'],
      ...['Content-Length', '2', 'A', 'b'],
    ])
    expect(res.end).toHaveBeenCalledExactlyOnceWith('ä')
  })

  test('ends an error reply only after the rest of the request was read', async () => {
    const res = fakeResponse()
    const request = fakeRequest('POST', '/', { body: 'unread' })
    Object.assign(request.raw, { complete: false })
    const reply = toErrorReply(request, new AppError('UNAUTHORIZED'), plainErrorFormat)
    writeReply(res, request, [], reply)
    expect(res.write).toHaveBeenCalledExactlyOnceWith(reply.body)
    expect(res.end).not.toHaveBeenCalled()
    await vi.waitFor(() => expect(res.end).toHaveBeenCalledExactlyOnceWith())
  })

  test('cancels a stream that nobody can read', () => {
    const outcome = { streamEnd: { reason: 'client_left', isFault: false } }
    const stream = { status: 200, headers: [], start: vi.fn(), cancel: vi.fn(() => outcome) }
    writeReply(fakeResponse({ headersSent: true }), fakeRequest('GET', '/'), [], stream)
    writeReply(fakeResponse({ destroyed: true }), fakeRequest('GET', '/'), [], stream)
    expect(writeReply(fakeResponse(), fakeRequest('HEAD', '/'), [], stream)).toBe(outcome)
    expect(stream.cancel).toHaveBeenCalledTimes(3)
    expect(stream.start).not.toHaveBeenCalled()
  })
})
