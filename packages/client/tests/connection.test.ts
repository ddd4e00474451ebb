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

/** An inbox that somebody reads, and all that they were told. */
function readInbox(options: CredentialOptions = {}) {
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

/** Long enough for a first connection, and too short for any retry. */
const SOON = 100
const wait = (time: number) => vi.advanceTimersByTimeAsync(time)
const chance = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value)

test('is live when the server says so', async () => {
  const { server, events, states, stop } = readInbox()
  await wait(SOON)
  expect(events).toEqual([{ type: 'reset', reason: 'start', position: 0, cursor: 'c0.0' }])
  expect(states).toEqual([{ status: 'live' }])
  expect(server.requests.map(String)).toEqual([`http://chat.test/api/v3/events?orgId=${ORG}`])
  stop()
  await wait(SOON)
  expect(server.connections.size).toBe(0)
  expect(vi.getTimerCount()).toBe(0)
})

test('gives the times of events, rooms, messages and markers as Dates, and nothing else', async () => {
  const { server, events } = readInbox()
  await wait(SOON)
  const text = '2026-01-02T03:04:05.678Z'
  const time = new Date(text)
  const base = { orgId: ORG, roomId: 'room-1' }
  const told = [
    {
      type: 'room.updated',
      room: { createdAt: text, updatedAt: text, custom: { createdAt: text } },
    },
    { type: 'message.updated', message: { createdAt: text, editedAt: text, deletedAt: null } },
    { type: 'marker.moved', marker: { updatedAt: text } },
    { type: 'typing', expiresAt: text, isTyping: true },
  ]
  for (const [i, event] of told.entries()) {
    const place = event.type === 'typing' ? {} : { position: i + 1, cursor: `c${i + 1}` }
    server.tellAll(data({ ...base, ...place, createdAt: text, ...event }))
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

describe('a connection that is cut', () => {
  test.each([
    ['ended', undefined],
    ['broken', new TypeError('terminated')],
  ])('%s, is made again after a while, from where it was', async (_, error) => {
    chance(0)
    const { server, events, states } = readInbox()
    await wait(SOON)
    server.append('room-1')
    await wait(0)
    server.cutAll(error)
    server.append('room-1')
    await wait(249)
    expect(states.at(-1)).toEqual({ status: 'waiting', retryAt: new Date(SOON + 250) })
    expect(server.requests).toHaveLength(1)
    await wait(1)
    expect(server.requests.at(-1)?.searchParams.get('after')).toBe('c1.0')
    expect(events.map((event) => 'position' in event && event.position)).toEqual([0, 1, 2])
    expect(states.slice(-2)).toEqual([{ status: 'connecting' }, { status: 'live' }])
  })

  test('is waited for longer after each failure, until one is live', async () => {
    chance(0)
    const { server, states } = readInbox()
    await wait(SOON)
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

  test('is not made again before the time that the server names', async () => {
    chance(0)
    const { server, states } = readInbox()
    server.refusals.push(
      refusal(429, 'TOO_MANY_REQUESTS', { 'Retry-After': '10' }),
      refusal(503, 'SERVICE_UNAVAILABLE', { 'Retry-After': '1' }),
    )
    await wait(SOON)
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

  test('that brings what is no event is cut', async () => {
    chance(0)
    const { server, states } = readInbox()
    await wait(SOON)
    server.tellAll('data: {"type": \n\n')
    await wait(0)
    expect(server.connections.size).toBe(0)
    await wait(250)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })
})

describe('a connection on which nothing is heard', () => {
  test('for 45 s is dead', async () => {
    chance(0)
    const { server, states } = readInbox()
    await wait(SOON)
    await wait(44_900)
    server.tellAll(data({ type: 'heartbeat' }))
    await wait(44_900)
    expect(server.requests).toHaveLength(1)
    await wait(200)
    expect(states.at(-1)).toMatchObject({ status: 'waiting' })
    expect(server.connections.size).toBe(0)
    await wait(250)
    expect(server.requests).toHaveLength(2)
  })

  test('is dead as well when not even an answer begins', async () => {
    let requests = 0
    const { states } = readInbox({
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

describe('a stream that the server ends', () => {
  test.each(['shutdown', 'lifetime', 'expired', 'revoked'])(
    'for %s is resumed within a second, with a new token',
    async (reason) => {
      let tokens = 0
      const { server, states } = readInbox({ token: () => tokenOf('A', { exp: tokens++ }) })
      await wait(SOON)
      const [first] = server.connections
      server.tellAll(data({ type: 'end', reason }))
      await wait(1_000)
      expect(server.requests).toHaveLength(2)
      const [second] = server.connections
      expect(second?.authorization).not.toBe(first?.authorization)
      expect(states.map(({ status }) => status)).toEqual(['live', 'connecting', 'live'])
    },
  )

  test('for slow_reader is resumed after a while', async () => {
    chance(0.5)
    const { server, states } = readInbox()
    await wait(SOON)
    server.tellAll(data({ type: 'end', reason: 'slow_reader' }))
    await wait(1_000)
    expect(states.at(-1)).toMatchObject({ status: 'waiting' })
    await wait(1_000)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })
})

describe('what to try again would not mend', () => {
  test('ends the subscription: a token that is refused, and its successor too', async () => {
    let tokens = 0
    const { server, states, errors } = readInbox({ token: () => tokenOf('A', { exp: tokens++ }) })
    await wait(SOON)
    server.refusals.push(refusal(401, 'UNAUTHORIZED'), refusal(401, 'UNAUTHORIZED'))
    server.tellAll(data({ type: 'end', reason: 'revoked' }))
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

  test('but not one refused token', async () => {
    const { server, errors, states } = readInbox()
    server.refusals.push(refusal(401, 'UNAUTHORIZED'))
    await wait(SOON)
    expect(states.at(-1)).toEqual({ status: 'live' })
    expect(errors).toEqual([])
  })

  test.each([
    [400, 'BAD_REQUEST'],
    [403, 'FORBIDDEN'],
    [404, 'NOT_FOUND'],
  ])('ends the subscription: %i', async (status, code) => {
    const { server, errors } = readInbox()
    server.refusals.push(refusal(status, code))
    await wait(SOON)
    expect(errors).toMatchObject([{ code, status }])
  })

  test('is not a token that cannot be had at the moment', async () => {
    chance(0)
    let isDown = true
    const { errors, states } = readInbox({
      token: () => {
        if (isDown) throw new Error('down')
        return tokenOf('A')
      },
    })
    await wait(SOON)
    expect(states.at(-1)).toMatchObject({ status: 'waiting' })
    isDown = false
    await wait(500)
    expect(states.at(-1)).toEqual({ status: 'live' })
    expect(errors).toEqual([])
  })
})

describe('in a browser that comes online', () => {
  /** The part of a browser's globals that tells. */
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

  test('what waits is tried at once', async () => {
    chance(0)
    const browser = stubWindow()
    const { server, states } = readInbox()
    await wait(SOON)
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

  test('what was open is made anew', async () => {
    const browser = stubWindow()
    const { server, states } = readInbox()
    await wait(SOON)
    browser.comeOnline()
    await wait(1_000)
    expect(server.requests).toHaveLength(2)
    expect(server.connections.size).toBe(1)
    expect(states.at(-1)).toEqual({ status: 'live' })
  })
})
