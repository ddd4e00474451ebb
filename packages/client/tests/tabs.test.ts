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
const SOON = 200

/** A tab that reads a room or an inbox, and what it was told. */
function openTab(
  tab: FakeTab,
  { room, ...options }: CredentialOptions & { room?: string; browser?: Browser } = {},
) {
  const told: string[] = []
  const states: string[] = []
  const errors: unknown[] = []
  const chat = createFakeChat(tab.server, { browser: tab, fetch: tab.fetch, ...options })
  const handlers = {
    onEvent: (event: { type: string }) => {
      told.push('position' in event ? `${event.type} ${event.position}` : event.type)
    },
    onState: ({ status }: { status: string }) => states.push(status),
    onError: (error: unknown) => errors.push(error),
  }
  const stop = room
    ? chat.room(room).subscribe(handlers)
    : chat.inbox({ orgId: ORG }).subscribe(handlers)
  return { tab, told, states, errors, stop }
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
    await wait(SOON)
    tabs.push(openTab(tab()))
    await wait(SOON)
    server.append('room-1')
    await wait(SOON)
    expect(server.requests).toHaveLength(1)
    for (const { told, states } of tabs) {
      expect(told).toEqual(['reset 0', 'message.created 1'])
      expect(states.at(-1)).toBe('live')
    }
  })

  test('share it for different rooms', async () => {
    const { server, tab } = setUp()
    const one = openTab(tab(), { room: 'room-1' })
    const two = openTab(tab(), { room: 'room-2' })
    await wait(SOON)
    server.append('room-2')
    await wait(SOON)
    expect([...server.connections].map(({ url }) => url.searchParams.get('roomIds'))).toEqual([
      'room-1,room-2',
    ])
    expect([one.told, two.told]).toEqual([['snapshot 0'], ['snapshot 0', 'message.created 1']])
    two.tab.kill()
    await wait(SOON)
    expect([...server.connections].map(({ url }) => url.searchParams.get('roomIds'))).toEqual([
      'room-1',
    ])
  })

  test('take over from one that is gone', async () => {
    const { server, tab } = setUp()
    const [first, second, third] = [openTab(tab()), openTab(tab()), openTab(tab())]
    await wait(SOON)
    server.append('room-1')
    await wait(SOON)
    first.tab.kill()
    server.append('room-1')
    await wait(SOON)
    second.stop()
    server.append('room-1')
    await wait(SOON)
    server.append('room-1')
    await wait(SOON)
    expect(third.told).toEqual(['reset 0', ...[1, 2, 3, 4].map((n) => `message.created ${n}`)])
    expect(server.connections.size).toBe(1)
    third.stop()
    await wait(SOON)
    expect(server.connections.size).toBe(0)
  })

  test('that have missed that a server lost its newest events begin anew', async () => {
    const { server, tab } = setUp()
    openTab(tab())
    const deaf = tab()
    const { told } = openTab(deaf)
    await wait(SOON)
    for (let i = 0; i < 5; i++) server.append('room-1')
    await wait(SOON)
    deaf.isDeaf = true
    server.lose(3)
    await wait(SOON)
    deaf.isDeaf = false
    server.append('room-1')
    await wait(SOON)
    server.append('room-1')
    await wait(SOON)
    const reset = told.lastIndexOf('reset 3')
    expect(told[reset - 1]).toBe('message.created 5')
    expect(told.slice(reset)).toEqual(['reset 3', 'message.created 4'])
  })

  test('that have missed a message are told it again', async () => {
    const { server, tab } = setUp()
    openTab(tab())
    const deaf = tab()
    const { told } = openTab(deaf)
    await wait(SOON)
    deaf.isDeaf = true
    server.append('room-1')
    await wait(SOON)
    deaf.isDeaf = false
    server.append('room-1')
    await wait(SOON)
    expect(told).toEqual(['reset 0', 'message.created 1', 'message.created 2'])
    // Also when nothing else happens.
    deaf.isDeaf = true
    server.append('room-1')
    await wait(SOON)
    deaf.isDeaf = false
    await wait(6_000)
    expect(told.at(-1)).toBe('message.created 3')
  })

  test('that miss it again when it is told again ask once more', async () => {
    const { server, tab } = setUp()
    openTab(tab())
    const deaf = tab()
    const { told } = openTab(deaf)
    await wait(SOON)
    deaf.isDeaf = true
    server.append('room-1')
    await wait(SOON)
    deaf.isDeaf = false
    server.append('room-1')
    // It has noticed, and asked.
    await wait(5)
    deaf.isDeaf = true
    await wait(SOON)
    expect(told).toEqual(['reset 0'])
    deaf.isDeaf = false
    await wait(11_000)
    expect(told).toEqual(['reset 0', 'message.created 1', 'message.created 2'])
  })

  test('do without one that is asleep, until it wakes', async () => {
    const { server, tab } = setUp()
    const sleeper = openTab(tab())
    await wait(SOON)
    const hidden = tab()
    hidden.isHidden = true
    openTab(hidden)
    const { told } = openTab(tab())
    await wait(SOON)
    // It keeps its lock, and does nothing; its connection is not heard.
    sleeper.tab.isAsleep = true
    await wait(11_000)
    server.append('room-1')
    await wait(SOON)
    expect(told).toEqual(['reset 0', 'message.created 1'])
    expect(server.connections.size).toBe(2)

    sleeper.tab.isAsleep = false
    await wait(11_000)
    expect(server.connections.size).toBe(1)
    server.append('room-1')
    await wait(SOON)
    expect(told).toEqual(['reset 0', 'message.created 1', 'message.created 2'])
    expect(sleeper.told.at(-1)).toBe('message.created 2')
  })

  test('go on with the connection of a tab whose credential is still good', async () => {
    const { server, tab } = setUp()
    const token = () => tokenOf('ABCD12345')
    const first = openTab(tab(), { token })
    const second = openTab(tab(), { token })
    await wait(SOON)
    server.refusals.push(refusal(401, 'UNAUTHORIZED'), refusal(401, 'UNAUTHORIZED'))
    server.cutAll()
    server.append('room-1')
    await wait(5_000)
    expect(first.errors).toMatchObject([{ code: 'UNAUTHORIZED' }])
    expect(second.errors).toEqual([])
    expect(second.told).toEqual(['reset 0', 'message.created 1'])
    expect(second.states.at(-1)).toBe('live')
  })
})

describe('tabs of different users', () => {
  test('share nothing', async () => {
    const { server, tab } = setUp()
    openTab(tab(), { token: () => tokenOf('one') })
    openTab(tab(), { token: () => tokenOf('two') })
    openTab(tab(), { token: () => tokenOf('two', { rooms: ['room-1'] }) })
    await wait(SOON)
    const seen = [...server.connections].map(({ authorization }) => authorization)
    expect(new Set(seen).size).toBe(3)
  })

  test('part when one of them becomes another user, who goes on from where they were', async () => {
    const { server, tab } = setUp()
    let user = 'one'
    const first = openTab(tab(), { token: () => tokenOf(user) })
    const second = openTab(tab(), { token: () => tokenOf('one') })
    await wait(SOON)
    server.append('room-1')
    await wait(SOON)
    user = 'two'
    server.cutAll()
    server.append('room-1')
    await wait(5_000)
    expect(server.connections.size).toBe(2)
    server.append('room-1')
    await wait(SOON)
    for (const { told, errors } of [first, second]) {
      expect(told).toEqual(['reset 0', ...[1, 2, 3].map((n) => `message.created ${n}`)])
      expect(errors).toEqual([])
    }
  })
})

describe('a tab has a connection of its own', () => {
  test('when its credential has no user', async () => {
    const { server, tab } = setUp()
    const headers = { Authorization: 'Bearer dck_key' }
    openTab(tab(), { headers, token: undefined } as never)
    openTab(tab(), { headers, token: undefined } as never)
    await wait(SOON)
    expect(server.connections.size).toBe(2)
  })

  test('when there are no locks to be had', async () => {
    const { server, tab } = setUp()
    const isolated = tab()
    const browser: Browser = {
      openChannel: (name) => isolated.openChannel(name),
      isVisible: () => true,
      locks: { request: () => Promise.reject(new DOMException('no origin', 'SecurityError')) },
    }
    const { told, stop } = openTab(isolated, { browser })
    await wait(SOON)
    server.append('room-1')
    await wait(SOON)
    expect(told).toEqual(['reset 0', 'message.created 1'])
    stop()
    await wait(SOON)
    expect(server.connections.size).toBe(0)
  })
})
