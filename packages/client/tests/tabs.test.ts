import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { CredentialOptions } from '../src/credential.ts'
import type { Browser } from '../src/live/browser.ts'
import {
  createFakeChat,
  FakeBrowser,
  FakeServer,
  type FakeTab,
  ORG,
  refusal,
  tokenOf,
} from './fakes.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})
afterEach(() => {
  vi.useRealTimers()
})

const wait = (time: number) => vi.advanceTimersByTimeAsync(time)
const SETTLE_MS = 200

/** Opens a room or an inbox in a tab, and records its events, states and errors. */
function openTab(
  tab: FakeTab,
  { room, ...options }: CredentialOptions & { room?: string; browser?: Browser } = {},
) {
  const received: string[] = []
  const states: string[] = []
  const errors: unknown[] = []
  const chat = createFakeChat(tab.server, { browser: tab, fetch: tab.fetch, ...options })
  const handlers = {
    onEvent: (event: { type: string }) => {
      received.push('position' in event ? `${event.type} ${event.position}` : event.type)
    },
    onState: ({ status }: { status: string }) => states.push(status),
    onError: (error: unknown) => errors.push(error),
  }
  const stop = room
    ? chat.room(room).subscribe(handlers)
    : chat.inbox({ orgId: ORG }).subscribe(handlers)
  return { tab, received, states, errors, stop }
}

function setUp() {
  const server = new FakeServer()
  const browser = new FakeBrowser()
  return { server, tab: () => browser.openTab(server) }
}

describe('tabs of one user', () => {
  test('share one connection', async () => {
    const { server, tab } = setUp()
    const tabs = [openTab(tab()), openTab(tab()), openTab(tab())]
    await wait(SETTLE_MS)
    tabs.push(openTab(tab()))
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(SETTLE_MS)
    expect(server.requests).toHaveLength(1)
    for (const { received, states } of tabs) {
      expect(received).toEqual(['reset 0', 'message.created 1'])
      expect(states.at(-1)).toBe('live')
    }
  })

  test('share it for different rooms', async () => {
    const { server, tab } = setUp()
    const one = openTab(tab(), { room: 'room-1' })
    const two = openTab(tab(), { room: 'room-2' })
    await wait(SETTLE_MS)
    server.append('room-2')
    await wait(SETTLE_MS)
    expect([...server.connections].map(({ url }) => url.searchParams.get('roomIds'))).toEqual([
      'room-1,room-2',
    ])
    expect([one.received, two.received]).toEqual([
      ['snapshot 0'],
      ['snapshot 0', 'message.created 1'],
    ])
    two.tab.crash()
    await wait(SETTLE_MS)
    expect([...server.connections].map(({ url }) => url.searchParams.get('roomIds'))).toEqual([
      'room-1',
    ])
  })

  test('replace a leader that crashed or was closed', async () => {
    const { server, tab } = setUp()
    const [first, second, third] = [openTab(tab()), openTab(tab()), openTab(tab())]
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(SETTLE_MS)
    first.tab.crash()
    server.append('room-1')
    await wait(SETTLE_MS)
    second.stop()
    server.append('room-1')
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(SETTLE_MS)
    expect(third.received).toEqual(['reset 0', ...[1, 2, 3, 4].map((n) => `message.created ${n}`)])
    expect(server.connections.size).toBe(1)
    third.stop()
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(0)
  })

  test('start again after they missed a reset of the server', async () => {
    const { server, tab } = setUp()
    openTab(tab())
    const disconnected = tab()
    const { received } = openTab(disconnected)
    await wait(SETTLE_MS)
    for (let i = 0; i < 5; i++) server.append('room-1')
    await wait(SETTLE_MS)
    disconnected.isDisconnected = true
    server.loseLatest(3)
    await wait(SETTLE_MS)
    disconnected.isDisconnected = false
    server.append('room-1')
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(SETTLE_MS)
    const reset = received.lastIndexOf('reset 3')
    expect(received[reset - 1]).toBe('message.created 5')
    expect(received.slice(reset)).toEqual(['reset 3', 'message.created 4'])
  })

  test('request an event that they missed', async () => {
    const { server, tab } = setUp()
    openTab(tab())
    const disconnected = tab()
    const { received } = openTab(disconnected)
    await wait(SETTLE_MS)
    disconnected.isDisconnected = true
    server.append('room-1')
    await wait(SETTLE_MS)
    disconnected.isDisconnected = false
    server.append('room-1')
    await wait(SETTLE_MS)
    expect(received).toEqual(['reset 0', 'message.created 1', 'message.created 2'])
    // Also without a later event.
    disconnected.isDisconnected = true
    server.append('room-1')
    await wait(SETTLE_MS)
    disconnected.isDisconnected = false
    await wait(6_000)
    expect(received.at(-1)).toBe('message.created 3')
  })

  test('request a missed event again when they miss its repetition', async () => {
    const { server, tab } = setUp()
    openTab(tab())
    const disconnected = tab()
    const { received } = openTab(disconnected)
    await wait(SETTLE_MS)
    disconnected.isDisconnected = true
    server.append('room-1')
    await wait(SETTLE_MS)
    disconnected.isDisconnected = false
    server.append('room-1')
    // By now it has requested the event.
    await wait(5)
    disconnected.isDisconnected = true
    await wait(SETTLE_MS)
    expect(received).toEqual(['reset 0'])
    disconnected.isDisconnected = false
    await wait(11_000)
    expect(received).toEqual(['reset 0', 'message.created 1', 'message.created 2'])
  })

  test('replace a frozen leader until it wakes', async () => {
    const { server, tab } = setUp()
    const frozen = openTab(tab())
    await wait(SETTLE_MS)
    const hidden = tab()
    hidden.isHidden = true
    openTab(hidden)
    const { received } = openTab(tab())
    await wait(SETTLE_MS)
    // It keeps its lock and its connection, but sends nothing.
    frozen.tab.isFrozen = true
    await wait(11_000)
    server.append('room-1')
    await wait(SETTLE_MS)
    expect(received).toEqual(['reset 0', 'message.created 1'])
    expect(server.connections.size).toBe(2)

    frozen.tab.isFrozen = false
    await wait(11_000)
    expect(server.connections.size).toBe(1)
    server.append('room-1')
    await wait(SETTLE_MS)
    expect(received).toEqual(['reset 0', 'message.created 1', 'message.created 2'])
    expect(frozen.received.at(-1)).toBe('message.created 2')
  })

  test('continue with the connection of a tab whose credential is still valid', async () => {
    const { server, tab } = setUp()
    const token = () => tokenOf('ABCD12345')
    const first = openTab(tab(), { token })
    const second = openTab(tab(), { token })
    await wait(SETTLE_MS)
    server.refusals.push(refusal(401, 'UNAUTHORIZED'), refusal(401, 'UNAUTHORIZED'))
    server.cutAll()
    server.append('room-1')
    await wait(5_000)
    expect(first.errors).toMatchObject([{ code: 'UNAUTHORIZED' }])
    expect(second.errors).toEqual([])
    expect(second.received).toEqual(['reset 0', 'message.created 1'])
    expect(second.states.at(-1)).toBe('live')
  })
})

describe('tabs of different users', () => {
  test('share nothing', async () => {
    const { server, tab } = setUp()
    openTab(tab(), { token: () => tokenOf('one') })
    openTab(tab(), { token: () => tokenOf('two') })
    openTab(tab(), { token: () => tokenOf('two', { rooms: ['room-1'] }) })
    await wait(SETTLE_MS)
    const seen = [...server.connections].map(({ authorization }) => authorization)
    expect(new Set(seen).size).toBe(3)
  })

  test('separate when one of them changes its user, who continues from the same place', async () => {
    const { server, tab } = setUp()
    let user = 'one'
    const first = openTab(tab(), { token: () => tokenOf(user) })
    const second = openTab(tab(), { token: () => tokenOf('one') })
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(SETTLE_MS)
    user = 'two'
    server.cutAll()
    server.append('room-1')
    await wait(5_000)
    expect(server.connections.size).toBe(2)
    server.append('room-1')
    await wait(SETTLE_MS)
    for (const { received, errors } of [first, second]) {
      expect(received).toEqual(['reset 0', ...[1, 2, 3].map((n) => `message.created ${n}`)])
      expect(errors).toEqual([])
    }
  })
})

describe('a tab opens its own connection', () => {
  test('when its credential names no user', async () => {
    const { server, tab } = setUp()
    const headers = { Authorization: 'Bearer dck_key' }
    openTab(tab(), { headers, token: undefined } as never)
    openTab(tab(), { headers, token: undefined } as never)
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(2)
  })

  test('when locks are not available', async () => {
    const { server, tab } = setUp()
    const isolated = tab()
    const browser: Browser = {
      openChannel: (name) => isolated.openChannel(name),
      isVisible: () => true,
      locks: { request: () => Promise.reject(new DOMException('no origin', 'SecurityError')) },
    }
    const { received, stop } = openTab(isolated, { browser })
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(SETTLE_MS)
    expect(received).toEqual(['reset 0', 'message.created 1'])
    stop()
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(0)
  })
})
