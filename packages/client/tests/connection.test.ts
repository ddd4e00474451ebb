import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { CredentialOptions } from '../src/credential.ts'
import { DowellChatError } from '../src/error.ts'
import type { ConnectionState, FeedEvent } from '../src/live/events.ts'
import { createFakeChat, data, FakeServer, ORG, refusal, tokenOf } from './fakes.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

/** Subscribes to an inbox and records its events, states and errors. */
function subscribeToInbox(options: CredentialOptions = {}) {
  const server = new FakeServer()
  const events: FeedEvent[] = []
  const states: ConnectionState[] = []
  const errors: unknown[] = []
  const stop = createFakeChat(server, options)
    .inbox({ orgId: ORG })
    .subscribe({
      onEvent: (event) => events.push(event),
      onState: (state) => states.push(state),
      onError: (error) => errors.push(error),
    })
  return { server, events, states, errors, stop }
}

/** Enough for a first connection, and less than any retry delay. */
const SETTLE_MS = 100
const wait = (time: number) => vi.advanceTimersByTimeAsync(time)
const mockRandom = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value)

test('is live after the ready event, and closes its connection when it is stopped', async () => {
  const { server, events, states, stop } = subscribeToInbox()
  await wait(SETTLE_MS)
  expect(events).toEqual([{ type: 'reset', reason: 'start', position: 0, cursor: 'c0.0' }])
  expect(states).toEqual([{ status: 'live' }])
  expect(server.requests.map(String)).toEqual([`http://chat.test/api/v3/events?orgId=${ORG}`])
  stop()
  await wait(SETTLE_MS)
  expect(server.connections.size).toBe(0)
  expect(vi.getTimerCount()).toBe(0)
})

test('parses the dates of events, rooms, messages and markers, and nothing else', async () => {
  const { server, events } = subscribeToInbox()
  await wait(SETTLE_MS)
  const text = '2026-01-02T03:04:05.678Z'
  const time = new Date(text)
  const base = { orgId: ORG, roomId: 'room-1' }
  const sent = [
    {
      type: 'room.updated',
      room: { createdAt: text, updatedAt: text, custom: { createdAt: text } },
    },
    { type: 'message.updated', message: { createdAt: text, editedAt: text, deletedAt: null } },
    { type: 'marker.moved', marker: { updatedAt: text } },
    { type: 'typing', expiresAt: text, isTyping: true },
  ]
  for (const [i, event] of sent.entries()) {
    const place = event.type === 'typing' ? {} : { position: i + 1, cursor: `c${i + 1}` }
    server.sendAll(data({ ...base, ...place, createdAt: text, ...event }))
  }
  await wait(0)
  const common = { ...base, createdAt: time }
  expect(events.slice(1)).toMatchObject([
    { ...common, room: { createdAt: time, updatedAt: time, custom: { createdAt: text } } },
    { ...common, message: { createdAt: time, editedAt: time, deletedAt: null } },
    { ...common, marker: { updatedAt: time } },
    { ...common, expiresAt: time },
  ])
})

describe('a lost connection', () => {
  test.each([
    ['ended', undefined],
    ['broken', new TypeError('terminated')],
  ])('that was %s is reopened after a delay, from its last place', async (_, error) => {
    mockRandom(0)
    const { server, events, states } = subscribeToInbox()
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(0)
    server.cutAll(error)
    server.append('room-1')
    await wait(249)
    expect(states.at(-1)).toEqual({ status: 'waiting', retryAt: new Date(SETTLE_MS + 250) })
    expect(server.requests).toHaveLength(1)
    await wait(1)
    expect(server.requests.at(-1)?.searchParams.get('after')).toBe('c1.0')
    expect(events.map((event) => 'position' in event && event.position)).toEqual([0, 1, 2])
    expect(states.slice(-2)).toEqual([{ status: 'connecting' }, { status: 'live' }])
  })

  test('is retried with a delay that grows until a stream is live', async () => {
    mockRandom(0)
    const { server, states } = subscribeToInbox()
    await wait(SETTLE_MS)
    server.refusals.push(
      new Response('', { status: 502 }),
      new TypeError('no route'),
      new Response('<html>Accept our terms', { headers: { 'Content-Type': 'text/html' } }),
    )
    const delays = []
    for (let i = 0; i < 5; i++) {
      if (i === 0 || i === 4) server.cutAll()
      await wait(0)
      const state = states.at(-1) as ConnectionState
      const delay = 'retryAt' in state ? state.retryAt.getTime() - Date.now() : 0
      delays.push(delay)
      await wait(delay)
    }
    expect(delays).toEqual([250, 2_000, 4_000, 6_000, 250])
  })

  test('is not retried before Retry-After', async () => {
    mockRandom(0)
    const { server, states } = subscribeToInbox()
    server.refusals.push(
      refusal(429, 'TOO_MANY_REQUESTS', { 'Retry-After': '10' }),
      refusal(503, 'SERVICE_UNAVAILABLE', { 'Retry-After': '1' }),
    )
    await wait(SETTLE_MS)
    expect(server.requests).toHaveLength(1)
    await wait(9_900)
    expect(server.requests).toHaveLength(1)
    await wait(100)
    expect(server.requests).toHaveLength(2)
    await wait(1_900)
    expect(server.requests).toHaveLength(2)
    await wait(100)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })

  test('is replaced when it sends malformed data', async () => {
    mockRandom(0)
    const { server, states } = subscribeToInbox()
    await wait(SETTLE_MS)
    server.sendAll('data: {"type": \n\n')
    await wait(0)
    expect(server.connections.size).toBe(0)
    await wait(250)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })
})

describe('a silent connection', () => {
  test('is closed after 45 s without data, and retried', async () => {
    mockRandom(0)
    const { server, states } = subscribeToInbox()
    await wait(SETTLE_MS)
    await wait(44_900)
    server.sendAll(data({ type: 'heartbeat' }))
    await wait(44_900)
    expect(server.requests).toHaveLength(1)
    await wait(200)
    expect(states.at(-1)).toMatchObject({ status: 'waiting' })
    expect(server.connections.size).toBe(0)
    await wait(250)
    expect(server.requests).toHaveLength(2)
  })

  test('is closed after 45 s without response headers, and retried', async () => {
    let requests = 0
    const { states } = subscribeToInbox({
      fetch: (_input, init) => {
        requests++
        return new Promise((_, reject) => {
          init?.signal?.addEventListener('abort', () => reject(init.signal?.reason))
        })
      },
    })
    await wait(45_100)
    expect(states.at(-1)).toMatchObject({ status: 'waiting' })
    await wait(2_500)
    expect(requests).toBe(2)
  })
})

describe('a stream that the server ended', () => {
  test.each(['shutdown', 'lifetime', 'expired', 'revoked'])(
    'with %s is resumed within a second, with a new token',
    async (reason) => {
      let tokens = 0
      const { server, states } = subscribeToInbox({ token: () => tokenOf('A', { exp: tokens++ }) })
      await wait(SETTLE_MS)
      const [first] = server.connections
      server.sendAll(data({ type: 'end', reason }))
      await wait(1_000)
      expect(server.requests).toHaveLength(2)
      const [second] = server.connections
      expect(second?.authorization).not.toBe(first?.authorization)
      expect(states.map(({ status }) => status)).toEqual(['live', 'connecting', 'live'])
    },
  )

  test('with slow_reader is resumed after a retry delay', async () => {
    mockRandom(0.5)
    const { server, states } = subscribeToInbox()
    await wait(SETTLE_MS)
    server.sendAll(data({ type: 'end', reason: 'slow_reader' }))
    await wait(1_000)
    expect(states.at(-1)).toMatchObject({ status: 'waiting' })
    await wait(1_000)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })
})

describe('a permanent failure', () => {
  test('ends the subscription when a new token is refused too', async () => {
    let tokens = 0
    const { server, states, errors } = subscribeToInbox({
      token: () => tokenOf('A', { exp: tokens++ }),
    })
    await wait(SETTLE_MS)
    server.refusals.push(refusal(401, 'UNAUTHORIZED'), refusal(401, 'UNAUTHORIZED'))
    server.sendAll(data({ type: 'end', reason: 'revoked' }))
    await wait(1_000)
    expect(errors).toEqual([expect.any(DowellChatError)])
    expect(errors).toMatchObject([
      { code: 'UNAUTHORIZED', status: 401, message: 'No', requestId: 'request-1' },
    ])
    expect(states.at(-1)).toEqual({ status: 'closed' })
    await wait(60_000)
    expect(server.requests).toHaveLength(3)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('is not assumed when one token is refused', async () => {
    const { server, errors, states } = subscribeToInbox()
    server.refusals.push(refusal(401, 'UNAUTHORIZED'))
    await wait(SETTLE_MS)
    expect(states.at(-1)).toEqual({ status: 'live' })
    expect(errors).toEqual([])
  })

  test.each([
    [400, 'BAD_REQUEST'],
    [403, 'FORBIDDEN'],
    [404, 'NOT_FOUND'],
  ])('ends the subscription with status %i', async (status, code) => {
    const { server, errors } = subscribeToInbox()
    server.refusals.push(refusal(status, code))
    await wait(SETTLE_MS)
    expect(errors).toMatchObject([{ code, status }])
  })

  test('is not assumed when the token function throws', async () => {
    mockRandom(0)
    let isDown = true
    const { errors, states } = subscribeToInbox({
      token: () => {
        if (isDown) throw new Error('down')
        return tokenOf('A')
      },
    })
    await wait(SETTLE_MS)
    expect(states.at(-1)).toMatchObject({ status: 'waiting' })
    isDown = false
    await wait(500)
    expect(states.at(-1)).toEqual({ status: 'live' })
    expect(errors).toEqual([])
  })
})

describe('in a browser that comes online', () => {
  /** Stubs the browser globals that report the network. */
  function stubWindow() {
    const target = new EventTarget()
    const navigator = { onLine: true }
    vi.stubGlobal('addEventListener', target.addEventListener.bind(target))
    vi.stubGlobal('removeEventListener', target.removeEventListener.bind(target))
    vi.stubGlobal('navigator', navigator)
    return {
      navigator,
      comeOnline() {
        navigator.onLine = true
        target.dispatchEvent(new Event('online'))
      },
    }
  }

  test('a pending retry starts at once', async () => {
    mockRandom(0)
    const browser = stubWindow()
    const { server, states } = subscribeToInbox()
    await wait(SETTLE_MS)
    browser.navigator.onLine = false
    server.refusals.push(...Array.from({ length: 8 }, () => new TypeError('offline')))
    server.cutAll()
    await wait(60_000)
    expect(states.at(-1)).toMatchObject({ status: 'offline', retryAt: expect.any(Date) })
    server.refusals.length = 0
    browser.comeOnline()
    await wait(0)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })

  test('an open connection is replaced', async () => {
    const browser = stubWindow()
    const { server, states } = subscribeToInbox()
    await wait(SETTLE_MS)
    browser.comeOnline()
    await wait(1_000)
    expect(server.requests).toHaveLength(2)
    expect(server.connections.size).toBe(1)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })
})
