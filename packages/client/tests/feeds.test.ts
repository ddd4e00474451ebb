import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { DowellChatError } from '../src/error.ts'
import type { FeedEvent, RoomFeedEvent } from '../src/live/events.ts'
import type { Feed } from '../src/live/feed.ts'
import { createFakeChat, data, FakeServer, ORG, refusal } from './fakes.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})
afterEach(() => {
  vi.useRealTimers()
})

const wait = (time: number) => vi.advanceTimersByTimeAsync(time)
/** Enough for a snapshot and a connection. */
const SETTLE_MS = 200

/** Subscribes to a feed and records its events as `type position`. */
function subscribe(feed: Feed<FeedEvent> | Feed<RoomFeedEvent>) {
  const received: string[] = []
  const errors: unknown[] = []
  const onEvent = (event: FeedEvent | RoomFeedEvent) => {
    received.push('position' in event ? `${event.type} ${event.position}` : event.type)
  }
  const options = { onEvent, onError: (error: unknown) => errors.push(error) }
  const stop = feed.subscribe(options as never)
  return { received, errors, stop }
}

const roomsOf = (url: URL | undefined) => url?.searchParams.get('roomIds')?.split(',')

describe('room feeds', () => {
  test('start with a snapshot and continue from its place', async () => {
    const server = new FakeServer()
    server.append('room-1')
    const { received } = subscribe(createFakeChat(server).room('room-1'))
    await wait(40)
    // After the snapshot was read, and before the stream opens.
    server.append('room-1')
    await wait(SETTLE_MS)
    server.append('room-1')
    server.append('room-2')
    await wait(0)
    expect(received).toEqual(['snapshot 1', 'message.created 2', 'message.created 3'])
  })

  test('share one stream, which restarts once for changes of one moment', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const ids = Array.from({ length: 20 }, (_, i) => `room-${i}`)
    const readings = ids.map((id) => subscribe(chat.room(id)))
    await wait(SETTLE_MS)
    expect(server.requests).toHaveLength(1)
    expect(roomsOf(server.requests[0])).toEqual(ids)

    readings.push(subscribe(chat.room('another')), subscribe(chat.room('one more')))
    readings[0]?.stop()
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(1)
    expect(roomsOf(server.requests.at(-1))).toEqual([...ids.slice(1), 'another', 'one more'])

    server.append('room-7')
    await wait(0)
    expect(readings[7]?.received).toEqual(['snapshot 0', 'message.created 1'])
    expect(readings[8]?.received).toEqual(['snapshot 0'])
    for (const { stop } of readings) stop()
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(0)
  })

  test('open one stream per 50 rooms', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    for (let i = 0; i < 120; i++) subscribe(chat.room(`room-${i}`))
    await wait(SETTLE_MS)
    const sizes = [...server.connections].map(({ url }) => roomsOf(url)?.length)
    expect(sizes).toEqual([50, 50, 20])
  })

  test('of different sides have separate streams', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    subscribe(chat.room('room-1', { readerId: 'Amara', readerSide: true }))
    subscribe(chat.room('room-2', { readerId: 'Zoë', readerSide: false }))
    await wait(SETTLE_MS)
    expect(server.requests.map((url) => [roomsOf(url), url.searchParams.get('side')])).toEqual([
      [['room-1'], 'true'],
      [['room-2'], 'false'],
    ])
  })

  test('of a room that is already read share its connection, and get its presence', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const first = subscribe(chat.room('room-1'))
    await wait(SETTLE_MS)
    server.sendAll(data({ type: 'presence', roomId: 'room-1', customer: true, support: false }))
    const states: string[] = []
    const events: string[] = []
    chat.room('room-1').subscribe({
      onEvent: ({ type }) => events.push(type),
      onState: ({ status }) => states.push(status),
      onError: () => undefined,
    })
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(0)
    expect(server.requests).toHaveLength(1)
    expect(states).toEqual(['live'])
    expect(events).toEqual(['snapshot', 'presence', 'message.created'])
    expect(first.received.at(-1)).toBe('message.created 1')
  })

  test('send another snapshot when events are missing', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const { received } = subscribe(chat.room('room-1'))
    await wait(SETTLE_MS)
    server.append('room-1')
    server.cutAll()
    server.append('room-1')
    server.append('room-1')
    server.prune()
    await wait(5_000)
    server.append('room-1')
    await wait(0)
    expect(received).toEqual(['snapshot 0', 'message.created 1', 'snapshot 3', 'message.created 4'])
  })

  test('send another snapshot when the server went back to an earlier position', async () => {
    const server = new FakeServer()
    const { received } = subscribe(createFakeChat(server).room('room-1'))
    await wait(SETTLE_MS)
    server.append('room-1')
    server.append('room-1')
    await wait(0)
    // As after a restore from a backup.
    server.head = 1
    server.log.length = 1
    server.cutAll()
    await wait(5_000)
    server.append('room-1')
    await wait(0)
    expect(received).toEqual([
      'snapshot 0',
      'message.created 1',
      'message.created 2',
      'snapshot 1',
      'message.created 2',
    ])
  })
})

describe('after a server has lost its newest events', () => {
  const append = (server: FakeServer, count: number) => {
    for (let i = 0; i < count; i++) server.append('room-1')
  }

  test('connected readers start again from lower positions', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const [room, inbox] = [subscribe(chat.room('room-1')), subscribe(chat.inbox({ orgId: ORG }))]
    await wait(SETTLE_MS)
    append(server, 3)
    await wait(0)
    server.loseLatest(2)
    await wait(SETTLE_MS)
    append(server, 1)
    await wait(0)
    const before = [1, 2, 3].map((position) => `message.created ${position}`)
    expect(room.received).toEqual(['snapshot 0', ...before, 'snapshot 1', 'message.created 2'])
    expect(inbox.received).toEqual(['reset 0', ...before, 'reset 1', 'message.created 2'])
  })

  test('a room with a snapshot from before the loss starts again', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const first = subscribe(chat.room('room-2'))
    await wait(SETTLE_MS)
    append(server, 5)
    const late = subscribe(chat.room('room-1'))
    await wait(10)
    // Its snapshot is in flight.
    server.loseLatest(3)
    await wait(5_000)
    append(server, 1)
    await wait(0)
    expect(late.received.slice(0, 2)).toEqual(['snapshot 5', 'snapshot 2'])
    expect(late.received.at(-1)).toBe('message.created 3')
    expect(first.received.at(-1)).toBe('snapshot 2')
  })

  test('a reader that starts after a lost event gets a reset', async () => {
    const server = new FakeServer()
    append(server, 5)
    const after = server.place()
    server.loseLatest(3)
    const chat = createFakeChat(server)
    const other = subscribe(chat.inbox({ orgId: ORG }))
    await wait(SETTLE_MS)
    const received: string[] = []
    chat.inbox({ orgId: ORG }).subscribe({
      onEvent: (event) => {
        if ('position' in event) received.push(`${event.type} ${event.position}`)
      },
      onError: () => undefined,
      after,
    })
    await wait(SETTLE_MS)
    append(server, 1)
    await wait(SETTLE_MS)
    expect(received).toEqual(['reset 2', 'message.created 3'])
    expect(other.received.at(-1)).toBe('message.created 3')
  })

  test('an iterator with a full buffer gets the reset later', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const events = chat.inbox({ orgId: ORG }).events()
    const first = events.next()
    await wait(SETTLE_MS)
    await first
    append(server, 1_500)
    await wait(0)
    server.loseLatest(600)
    await wait(SETTLE_MS)
    append(server, 1)
    const received: string[] = []
    // 1,000 events were buffered; the reset comes after them.
    while (received.length < 1_001) {
      const next = events.next()
      await wait(25)
      const { value } = await next
      if (value && 'position' in value) received.push(`${value.type} ${value.position}`)
    }
    expect(received.slice(-2)).toEqual(['message.created 1000', 'reset 901'])
  })
})

describe('inbox and user feeds', () => {
  test('start with a reset, and send another one when events are missing', async () => {
    const server = new FakeServer()
    server.append('room-1')
    const chat = createFakeChat(server)
    const inbox = subscribe(chat.inbox({ orgId: ORG, productName: 'WIFI QR' }))
    const user = subscribe(chat.user({ orgId: ORG, userId: 'Zoë/1' }))
    await wait(SETTLE_MS)
    expect(server.requests.map((url) => url.pathname + url.search)).toEqual([
      `/api/v3/events?orgId=${ORG}&productName=WIFI+QR`,
      `/api/v3/events?orgId=${ORG}&userId=Zo%C3%AB%2F1`,
    ])
    server.append('room-1')
    server.cutAll()
    server.append('room-2')
    server.prune()
    await wait(5_000)
    server.append('room-2')
    await wait(0)
    for (const { received } of [inbox, user]) {
      expect(received).toEqual(['reset 1', 'message.created 2', 'reset 3', 'message.created 4'])
    }
  })

  test('of one target share a stream, also with a later subscriber', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    subscribe(chat.inbox({ orgId: ORG }))
    await wait(SETTLE_MS)
    server.append('room-1')
    const late = subscribe(chat.inbox({ orgId: ORG }))
    await wait(SETTLE_MS)
    server.append('room-1')
    await wait(0)
    expect(late.received).toEqual(['reset 1', 'message.created 2'])
    expect(server.requests).toHaveLength(1)
  })

  test('start after a given event, without a snapshot', async () => {
    const server = new FakeServer()
    for (let i = 0; i < 4; i++) server.append('room-1')
    const chat = createFakeChat(server)
    const received: string[] = []
    const options = {
      onEvent: (event: FeedEvent | RoomFeedEvent) => {
        if ('position' in event) received.push(`${event.type} ${event.position}`)
      },
      onError: () => undefined,
      after: { position: 2, cursor: 'c2' },
    }
    chat.inbox({ orgId: ORG }).subscribe(options)
    chat.room('room-1').subscribe(options)
    await wait(SETTLE_MS)
    const both = ['message.created 3', 'message.created 4']
    expect(received.sort()).toEqual([...both, ...both].sort())
    expect(chat.snapshots).toBe(0)
  })
})

describe('a handler that throws', () => {
  test('in onEvent ends its subscription, and no other', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const errors: unknown[] = []
    const states: string[] = []
    const handled: number[] = []
    chat.inbox({ orgId: ORG }).subscribe({
      onEvent: (event) => {
        if (event.type !== 'message.created') return
        if (event.position === 2) throw new Error('cannot draw this')
        handled.push(event.position)
      },
      onState: ({ status }) => states.push(status),
      onError: (error) => errors.push(error),
    })
    const other = subscribe(chat.inbox({ orgId: ORG }))
    await wait(SETTLE_MS)
    for (let i = 0; i < 3; i++) server.append('room-1')
    await wait(SETTLE_MS)
    expect(handled).toEqual([1])
    expect(errors).toEqual([new Error('cannot draw this')])
    expect(states.at(-1)).toBe('closed')
    expect(other.received).toEqual(['reset 0', ...[1, 2, 3].map((n) => `message.created ${n}`)])
  })

  test.each(['live', 'connecting'])(
    'in onState at %s ends its subscription, and no other',
    async (bad) => {
      const server = new FakeServer()
      const chat = createFakeChat(server)
      const errors: unknown[] = []
      chat.inbox({ orgId: ORG }).subscribe({
        onEvent: () => undefined,
        onState: ({ status }) => {
          if (status === bad) throw new Error('cannot show this')
        },
        onError: (error) => errors.push(error),
      })
      const other = subscribe(chat.inbox({ orgId: ORG }))
      await wait(SETTLE_MS)
      server.cutAll()
      server.append('room-1')
      await wait(5_000)
      expect(errors).toEqual([new Error('cannot show this')])
      expect(other.received).toEqual(['reset 0', 'message.created 1'])
    },
  )

  test('in onError is uncaught, and does not disturb other subscriptions', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    chat.inbox({ orgId: ORG }).subscribe({
      onEvent: () => undefined,
      onError: () => {
        throw new Error('cannot say this')
      },
    })
    const other = subscribe(chat.inbox({ orgId: ORG }))
    await wait(SETTLE_MS)
    server.refusals.push(refusal(403, 'FORBIDDEN'))
    server.cutAll()
    await expect(wait(5_000)).rejects.toThrow('cannot say this')
    expect(other.errors).toMatchObject([{ code: 'FORBIDDEN' }])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('gets the event again when it subscribes after the last one it had', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const feed = chat.inbox({ orgId: ORG })
    const handled: number[] = []
    let last: { position: number; cursor: string } | undefined
    let isBroken = true
    const subscribe = () =>
      feed.subscribe({
        onEvent: (event) => {
          if (!('position' in event)) return
          if (event.position === 2 && isBroken) throw new Error('not now')
          handled.push(event.position)
          last = event
        },
        onError: () => {
          isBroken = false
          subscribe()
        },
        ...(last && { after: last }),
      })
    subscribe()
    await wait(SETTLE_MS)
    for (let i = 0; i < 3; i++) server.append('room-1')
    await wait(SETTLE_MS)
    expect(handled).toEqual([0, 1, 2, 3])
  })

  test('may end its own subscription', async () => {
    const server = new FakeServer()
    const received: string[] = []
    const stop = createFakeChat(server)
      .inbox({ orgId: ORG })
      .subscribe({
        onEvent: ({ type }) => {
          received.push(type)
          if (received.length === 2) stop()
        },
        onError: () => undefined,
      })
    await wait(SETTLE_MS)
    for (let i = 0; i < 3; i++) server.append('room-1')
    await wait(SETTLE_MS)
    expect(received).toEqual(['reset', 'message.created'])
    expect(server.connections.size).toBe(0)
  })
})

describe('a subscription that is stopped', () => {
  test('while it starts leaves no request and no timer', async () => {
    const server = new FakeServer()
    const { received, stop } = subscribe(createFakeChat(server).room('room-1'))
    await wait(10)
    stop()
    await wait(SETTLE_MS)
    expect(received).toEqual([])
    expect(server.requests).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('in its onState callback leaves no timer', async () => {
    const token = () => Promise.reject(new Error('not signed in'))
    const chat = createFakeChat(new FakeServer(), { token })
    const states: string[] = []
    const stop = chat.inbox({ orgId: ORG }).subscribe({
      onEvent: () => undefined,
      onState: ({ status }) => {
        states.push(status)
        stop()
      },
      onError: () => undefined,
    })
    await wait(0)
    expect(states).toEqual(['waiting'])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('while it waits for a retry leaves no request and no timer', async () => {
    const server = new FakeServer()
    const { stop } = subscribe(createFakeChat(server).inbox({ orgId: ORG }))
    server.refusals.push(new Response('', { status: 503 }))
    await wait(SETTLE_MS)
    stop()
    await wait(60_000)
    expect(server.requests).toHaveLength(1)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('an iterator', () => {
  test('yields the same events, and closes its subscription on break', async () => {
    const server = new FakeServer()
    const received: string[] = []
    const reading = (async () => {
      for await (const event of createFakeChat(server).room('room-1').events()) {
        received.push(event.type)
        if (received.length === 3) break
      }
    })()
    await wait(SETTLE_MS)
    for (let i = 0; i < 5; i++) server.append('room-1')
    await wait(SETTLE_MS)
    await reading
    expect(received).toEqual(['snapshot', 'message.created', 'message.created'])
    expect(server.connections.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each([0, SETTLE_MS])('throws the reason of its signal after %i ms', async (time) => {
    const server = new FakeServer()
    const aborting = new AbortController()
    const { signal } = aborting
    const events = createFakeChat(server).inbox({ orgId: ORG }).events({ signal })
    const left = expect(
      (async () => {
        for await (const _ of events);
      })(),
    ).rejects.toBe('enough')
    await wait(time)
    aborting.abort('enough')
    await left
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(0)
    await expect(
      createFakeChat(server).inbox({ orgId: ORG }).events({ signal }).next(),
    ).rejects.toBe('enough')
  })

  test('that is returned while it waits for an event closes its connection at once', async () => {
    const server = new FakeServer()
    const events = createFakeChat(server).inbox({ orgId: ORG }).events()
    const first = events.next()
    await wait(SETTLE_MS)
    await first
    const next = events.next()
    const left = events.return(undefined as never)
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    expect(await Promise.all([next, left])).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
  })

  test('that is aborted between two events closes its connection at once', async () => {
    const server = new FakeServer()
    const aborting = new AbortController()
    const { signal } = aborting
    const events = createFakeChat(server).inbox({ orgId: ORG }).events({ signal })
    const first = events.next()
    await wait(SETTLE_MS)
    await first
    aborting.abort('enough')
    await wait(SETTLE_MS)
    expect(server.connections.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    await expect(events.next()).rejects.toBe('enough')
  })

  test('throws a permanent failure after all earlier events', async () => {
    const server = new FakeServer()
    const events = createFakeChat(server).inbox({ orgId: ORG }).events()
    const first = events.next()
    await wait(SETTLE_MS)
    server.append('room-1')
    server.refusals.push(refusal(403, 'FORBIDDEN'))
    server.cutAll()
    await wait(5_000)
    expect((await first).value).toMatchObject({ type: 'reset' })
    expect((await events.next()).value).toMatchObject({ type: 'message.created' })
    await expect(events.next()).rejects.toThrow(DowellChatError)
  })

  test('of a slow consumer yields every event, and buffers 1,000 at most', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const events = chat.inbox({ orgId: ORG }).events()
    const first = events.next()
    const other = subscribe(chat.inbox({ orgId: ORG }))
    await wait(SETTLE_MS)
    await first
    for (let i = 0; i < 2_500; i++) server.append('room-1')
    await wait(0)
    expect(other.received).toHaveLength(2_501)
    const positions: number[] = []
    while (positions.length < 2_500) {
      const next = events.next()
      await wait(25)
      const { value } = await next
      if (value && 'position' in value) positions.push(value.position)
    }
    expect(positions).toEqual(Array.from({ length: 2_500 }, (_, i) => i + 1))
    // The buffer filled up twice, and the rest was requested again.
    expect(server.requests).toHaveLength(3)
    expect(other.received).toHaveLength(2_501)
  })
})
