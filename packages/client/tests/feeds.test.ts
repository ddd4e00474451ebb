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
/** Long enough for a snapshot and a connection. */
const SOON = 200

/** Reads a feed; what it brings, as `type position`. */
function read(feed: Feed<FeedEvent> | Feed<RoomFeedEvent>) {
  const told: string[] = []
  const errors: unknown[] = []
  const onEvent = (event: FeedEvent | RoomFeedEvent) => {
    told.push('position' in event ? `${event.type} ${event.position}` : event.type)
  }
  const options = { onEvent, onError: (error: unknown) => errors.push(error) }
  const stop = feed.subscribe(options as never)
  return { told, errors, stop }
}

const roomsOf = (url: URL | undefined) => url?.searchParams.get('roomIds')?.split(',')

describe('rooms', () => {
  test('begin with a snapshot and go on from its place', async () => {
    const server = new FakeServer()
    server.append('room-1')
    const { told } = read(createFakeChat(server).room('room-1'))
    await wait(40)
    // Written after the snapshot was read, and before there is a stream.
    server.append('room-1')
    await wait(SOON)
    server.append('room-1')
    server.append('room-2')
    await wait(0)
    expect(told).toEqual(['snapshot 1', 'message.created 2', 'message.created 3'])
  })

  test('share one stream, which changes once when many come', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const ids = Array.from({ length: 20 }, (_, i) => `room-${i}`)
    const readings = ids.map((id) => read(chat.room(id)))
    await wait(SOON)
    expect(server.requests).toHaveLength(1)
    expect(roomsOf(server.requests[0])).toEqual(ids)

    readings.push(read(chat.room('another')), read(chat.room('one more')))
    readings[0]?.stop()
    await wait(SOON)
    expect(server.connections.size).toBe(1)
    expect(roomsOf(server.requests.at(-1))).toEqual([...ids.slice(1), 'another', 'one more'])

    server.append('room-7')
    await wait(0)
    expect(readings[7]?.told).toEqual(['snapshot 0', 'message.created 1'])
    expect(readings[8]?.told).toEqual(['snapshot 0'])
    for (const { stop } of readings) stop()
    await wait(SOON)
    expect(server.connections.size).toBe(0)
  })

  test('have as many streams as it takes', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    for (let i = 0; i < 120; i++) read(chat.room(`room-${i}`))
    await wait(SOON)
    const sizes = [...server.connections].map(({ url }) => roomsOf(url)?.length)
    expect(sizes).toEqual([50, 50, 20])
  })

  test('are read for a side, which is part of the stream', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    read(chat.room('room-1', { readerId: 'Amara', readerSide: true }))
    read(chat.room('room-2', { readerId: 'Zoë', readerSide: false }))
    await wait(SOON)
    expect(server.requests.map((url) => [roomsOf(url), url.searchParams.get('side')])).toEqual([
      [['room-1'], 'true'],
      [['room-2'], 'false'],
    ])
  })

  test('that somebody reads already cost no new connection', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const first = read(chat.room('room-1'))
    await wait(SOON)
    server.tellAll(data({ type: 'presence', roomId: 'room-1', customer: true, support: false }))
    const states: string[] = []
    const events: string[] = []
    chat.room('room-1').subscribe({
      onEvent: ({ type }) => events.push(type),
      onState: ({ status }) => states.push(status),
      onError: () => undefined,
    })
    await wait(SOON)
    server.append('room-1')
    await wait(0)
    expect(server.requests).toHaveLength(1)
    expect(states).toEqual(['live'])
    expect(events).toEqual(['snapshot', 'presence', 'message.created'])
    expect(first.told.at(-1)).toBe('message.created 1')
  })

  test('get another snapshot when events are missing', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const { told } = read(chat.room('room-1'))
    await wait(SOON)
    server.append('room-1')
    server.cutAll()
    server.append('room-1')
    server.append('room-1')
    server.prune()
    await wait(5_000)
    server.append('room-1')
    await wait(0)
    expect(told).toEqual(['snapshot 0', 'message.created 1', 'snapshot 3', 'message.created 4'])
  })

  test('go on where a server goes on that has lost its newest events', async () => {
    const server = new FakeServer()
    const { told } = read(createFakeChat(server).room('room-1'))
    await wait(SOON)
    server.append('room-1')
    server.append('room-1')
    await wait(0)
    // As after a restore of a backup.
    server.head = 1
    server.log.length = 1
    server.cutAll()
    await wait(5_000)
    server.append('room-1')
    await wait(0)
    expect(told).toEqual([
      'snapshot 0',
      'message.created 1',
      'message.created 2',
      'snapshot 1',
      'message.created 2',
    ])
  })
})

describe('when a server has lost its newest events', () => {
  const stored = (server: FakeServer, count: number) => {
    for (let i = 0; i < count; i++) server.append('room-1')
  }

  test('readers on a connection begin anew, from lower positions', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const [room, inbox] = [read(chat.room('room-1')), read(chat.inbox({ orgId: ORG }))]
    await wait(SOON)
    stored(server, 3)
    await wait(0)
    server.lose(2)
    await wait(SOON)
    stored(server, 1)
    await wait(0)
    const before = [1, 2, 3].map((position) => `message.created ${position}`)
    expect(room.told).toEqual(['snapshot 0', ...before, 'snapshot 1', 'message.created 2'])
    expect(inbox.told).toEqual(['reset 0', ...before, 'reset 1', 'message.created 2'])
  })

  test('a room whose snapshot is of before begins anew too', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const first = read(chat.room('room-2'))
    await wait(SOON)
    stored(server, 5)
    const late = read(chat.room('room-1'))
    await wait(10)
    // Its snapshot is on the way.
    server.lose(3)
    await wait(5_000)
    stored(server, 1)
    await wait(0)
    expect(late.told.slice(0, 2)).toEqual(['snapshot 5', 'snapshot 2'])
    expect(late.told.at(-1)).toBe('message.created 3')
    expect(first.told.at(-1)).toBe('snapshot 2')
  })

  test('a reader that begins after an event of before is told so', async () => {
    const server = new FakeServer()
    stored(server, 5)
    const after = server.place()
    server.lose(3)
    const chat = createFakeChat(server)
    const other = read(chat.inbox({ orgId: ORG }))
    await wait(SOON)
    const told: string[] = []
    chat.inbox({ orgId: ORG }).subscribe({
      onEvent: (event) => {
        if ('position' in event) told.push(`${event.type} ${event.position}`)
      },
      onError: () => undefined,
      after,
    })
    await wait(SOON)
    stored(server, 1)
    await wait(SOON)
    expect(told).toEqual(['reset 2', 'message.created 3'])
    expect(other.told.at(-1)).toBe('message.created 3')
  })

  test('an iterator that had no room for the reset gets it later', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const events = chat.inbox({ orgId: ORG }).events()
    const first = events.next()
    await wait(SOON)
    await first
    stored(server, 1_500)
    await wait(0)
    server.lose(600)
    await wait(SOON)
    stored(server, 1)
    const told: string[] = []
    // A thousand waited for it; then comes what it has no room for.
    while (told.length < 1_001) {
      const next = events.next()
      await wait(25)
      const { value } = await next
      if (value && 'position' in value) told.push(`${value.type} ${value.position}`)
    }
    expect(told.slice(-2)).toEqual(['message.created 1000', 'reset 901'])
  })
})

describe('an inbox and a user', () => {
  test('begin with a reset, and are told of another one', async () => {
    const server = new FakeServer()
    server.append('room-1')
    const chat = createFakeChat(server)
    const inbox = read(chat.inbox({ orgId: ORG, productName: 'WIFI QR' }))
    const user = read(chat.user({ orgId: ORG, userId: 'Zoë/1' }))
    await wait(SOON)
    expect(server.requests.map((url) => url.pathname + url.search)).toEqual([
      `/api/v3/events?orgId=${ORG}&productName=WIFI+QR`,
      `/api/v3/users/Zo%C3%AB%2F1/events?orgId=${ORG}`,
    ])
    server.append('room-1')
    server.cutAll()
    server.append('room-2')
    server.prune()
    await wait(5_000)
    server.append('room-2')
    await wait(0)
    for (const { told } of [inbox, user]) {
      expect(told).toEqual(['reset 1', 'message.created 2', 'reset 3', 'message.created 4'])
    }
  })

  test('of one kind share a stream, also with somebody who comes later', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    read(chat.inbox({ orgId: ORG }))
    await wait(SOON)
    server.append('room-1')
    const late = read(chat.inbox({ orgId: ORG }))
    await wait(SOON)
    server.append('room-1')
    await wait(0)
    expect(late.told).toEqual(['reset 1', 'message.created 2'])
    expect(server.requests).toHaveLength(1)
  })

  test('begin after an event that was had', async () => {
    const server = new FakeServer()
    for (let i = 0; i < 4; i++) server.append('room-1')
    const chat = createFakeChat(server)
    const told: string[] = []
    const options = {
      onEvent: (event: FeedEvent | RoomFeedEvent) => {
        if ('position' in event) told.push(`${event.type} ${event.position}`)
      },
      onError: () => undefined,
      after: { position: 2, cursor: 'c2' },
    }
    chat.inbox({ orgId: ORG }).subscribe(options)
    chat.room('room-1').subscribe(options)
    await wait(SOON)
    const both = ['message.created 3', 'message.created 4']
    expect(told.sort()).toEqual([...both, ...both].sort())
    expect(chat.snapshots).toBe(0)
  })
})

describe('a handler that throws', () => {
  test('ends its subscription, and no other', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const errors: unknown[] = []
    const states: string[] = []
    const had: number[] = []
    chat.inbox({ orgId: ORG }).subscribe({
      onEvent: (event) => {
        if (event.type !== 'message.created') return
        if (event.position === 2) throw new Error('cannot draw this')
        had.push(event.position)
      },
      onState: ({ status }) => states.push(status),
      onError: (error) => errors.push(error),
    })
    const other = read(chat.inbox({ orgId: ORG }))
    await wait(SOON)
    for (let i = 0; i < 3; i++) server.append('room-1')
    await wait(SOON)
    expect(had).toEqual([1])
    expect(errors).toEqual([new Error('cannot draw this')])
    expect(states.at(-1)).toBe('closed')
    expect(other.told).toEqual(['reset 0', ...[1, 2, 3].map((n) => `message.created ${n}`)])
  })

  test.each(['live', 'connecting'])(
    'at the state %s ends its subscription, and no other',
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
      const other = read(chat.inbox({ orgId: ORG }))
      await wait(SOON)
      server.cutAll()
      server.append('room-1')
      await wait(5_000)
      expect(errors).toEqual([new Error('cannot show this')])
      expect(other.told).toEqual(['reset 0', 'message.created 1'])
    },
  )

  test('at the failure itself leaves the others theirs, and is caught by nobody', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    chat.inbox({ orgId: ORG }).subscribe({
      onEvent: () => undefined,
      onError: () => {
        throw new Error('cannot say this')
      },
    })
    const other = read(chat.inbox({ orgId: ORG }))
    await wait(SOON)
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
    const had: number[] = []
    let last: { position: number; cursor: string } | undefined
    let isBroken = true
    const subscribe = () =>
      feed.subscribe({
        onEvent: (event) => {
          if (!('position' in event)) return
          if (event.position === 2 && isBroken) throw new Error('not now')
          had.push(event.position)
          last = event
        },
        onError: () => {
          isBroken = false
          subscribe()
        },
        ...(last && { after: last }),
      })
    subscribe()
    await wait(SOON)
    for (let i = 0; i < 3; i++) server.append('room-1')
    await wait(SOON)
    expect(had).toEqual([0, 1, 2, 3])
  })

  test('may end its own subscription', async () => {
    const server = new FakeServer()
    const told: string[] = []
    const stop = createFakeChat(server)
      .inbox({ orgId: ORG })
      .subscribe({
        onEvent: ({ type }) => {
          told.push(type)
          if (told.length === 2) stop()
        },
        onError: () => undefined,
      })
    await wait(SOON)
    for (let i = 0; i < 3; i++) server.append('room-1')
    await wait(SOON)
    expect(told).toEqual(['reset', 'message.created'])
    expect(server.connections.size).toBe(0)
  })
})

describe('a subscription that has ended', () => {
  test('while it began leaves nothing behind', async () => {
    const server = new FakeServer()
    const { told, stop } = read(createFakeChat(server).room('room-1'))
    await wait(10)
    stop()
    await wait(SOON)
    expect(told).toEqual([])
    expect(server.requests).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('when it was told that it has to wait leaves nothing behind', async () => {
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

  test('while it waited for the next try leaves nothing behind', async () => {
    const server = new FakeServer()
    const { stop } = read(createFakeChat(server).inbox({ orgId: ORG }))
    server.refusals.push(new Response('', { status: 503 }))
    await wait(SOON)
    stop()
    await wait(60_000)
    expect(server.requests).toHaveLength(1)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('an iterator', () => {
  test('brings the same, and ends its subscription when it is left', async () => {
    const server = new FakeServer()
    const told: string[] = []
    const reading = (async () => {
      for await (const event of createFakeChat(server).room('room-1').events()) {
        told.push(event.type)
        if (told.length === 3) break
      }
    })()
    await wait(SOON)
    for (let i = 0; i < 5; i++) server.append('room-1')
    await wait(SOON)
    await reading
    expect(told).toEqual(['snapshot', 'message.created', 'message.created'])
    expect(server.connections.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each([0, SOON])('throws the reason of its signal, after %i ms', async (time) => {
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
    await wait(SOON)
    expect(server.connections.size).toBe(0)
    await expect(
      createFakeChat(server).inbox({ orgId: ORG }).events({ signal }).next(),
    ).rejects.toBe('enough')
  })

  test('that is left while it waits for an event lets go of its connection at once', async () => {
    const server = new FakeServer()
    const events = createFakeChat(server).inbox({ orgId: ORG }).events()
    const first = events.next()
    await wait(SOON)
    await first
    const next = events.next()
    const left = events.return(undefined as never)
    await wait(SOON)
    expect(server.connections.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    expect(await Promise.all([next, left])).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
  })

  test('that is aborted while its consumer has an event lets go of its connection at once', async () => {
    const server = new FakeServer()
    const aborting = new AbortController()
    const { signal } = aborting
    const events = createFakeChat(server).inbox({ orgId: ORG }).events({ signal })
    const first = events.next()
    await wait(SOON)
    await first
    aborting.abort('enough')
    await wait(SOON)
    expect(server.connections.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    await expect(events.next()).rejects.toBe('enough')
  })

  test('throws what to try again would not mend, after all that came before', async () => {
    const server = new FakeServer()
    const events = createFakeChat(server).inbox({ orgId: ORG }).events()
    const first = events.next()
    await wait(SOON)
    server.append('room-1')
    server.refusals.push(refusal(403, 'FORBIDDEN'))
    server.cutAll()
    await wait(5_000)
    expect((await first).value).toMatchObject({ type: 'reset' })
    expect((await events.next()).value).toMatchObject({ type: 'message.created' })
    await expect(events.next()).rejects.toThrow(DowellChatError)
  })

  test('that is slow gets every event, and lets no more than 1,000 wait', async () => {
    const server = new FakeServer()
    const chat = createFakeChat(server)
    const events = chat.inbox({ orgId: ORG }).events()
    const first = events.next()
    const other = read(chat.inbox({ orgId: ORG }))
    await wait(SOON)
    await first
    for (let i = 0; i < 2_500; i++) server.append('room-1')
    await wait(0)
    expect(other.told).toHaveLength(2_501)
    const positions: number[] = []
    while (positions.length < 2_500) {
      const next = events.next()
      await wait(25)
      const { value } = await next
      if (value && 'position' in value) positions.push(value.position)
    }
    expect(positions).toEqual(Array.from({ length: 2_500 }, (_, i) => i + 1))
    // Twice there was no room for more, and the rest was asked for again.
    expect(server.requests).toHaveLength(3)
    expect(other.told).toHaveLength(2_501)
  })
})
