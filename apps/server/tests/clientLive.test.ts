import { setTimeout as sleep } from 'node:timers/promises'
import {
  createDowellChat,
  type DowellChat,
  DowellChatError,
  type FeedEvent,
  type Message,
  type Outputs,
  type Room,
  type RoomFeedEvent,
} from '@dowell-chat/client'
import { createTestStore } from '@dowell-chat/db/testing'
import { afterEach, describe, expect, expectTypeOf, test, vi } from 'vitest'
import { createKey, createKeylessToken } from './credentials.ts'
import { startServer } from './serverProcess.ts'
import { createTestApp } from './support.ts'
import { createTcpProxy } from './tcpProxy.ts'

const ORG = 'DOWELL12345'

afterEach(() => {
  vi.restoreAllMocks()
})

/** The shortest delays that the client takes: a test that waits longer tests nothing more. */
function hurry(): void {
  vi.spyOn(Math, 'random').mockReturnValue(0)
}

async function openRoom(chat: DowellChat, userId: string): Promise<Room> {
  const identity = { userId, orgId: ORG, portfolioName: 'umair', productName: 'WIFIQRCODE' }
  return (await chat.createRoom(identity)).room
}

/** Writes a message; as often as it takes, and once. */
async function write(chat: DowellChat, roomId: string, messageData: string): Promise<void> {
  const clientMessageId = crypto.randomUUID()
  for (;;) {
    try {
      const message = { roomId, messageData, side: false, author: 'client', clientMessageId }
      await chat.createMessage(message)
      return
    } catch (error) {
      if (!(error instanceof DowellChatError && error.code === 'NETWORK')) throw error
      await sleep(20)
    }
  }
}

/** The texts that a reader of a room knows: of the last snapshot, and what was said since. */
class Transcript {
  texts: string[] = []
  readonly states: string[] = []
  readonly errors: unknown[] = []
  readonly stop: () => void

  constructor(chat: DowellChat, roomId: string) {
    this.stop = chat.room(roomId, { limit: 200 }).subscribe({
      onEvent: (event) => this.#take(event),
      onState: ({ status }) => this.states.push(status),
      onError: (error) => this.errors.push(error),
    })
  }

  #take(event: RoomFeedEvent): void {
    if (event.type === 'snapshot') {
      this.texts = event.messages.items.map(({ messageData }) => messageData)
    } else if (event.type === 'message.created') this.texts.push(event.message.messageData)
  }
}

/** The positions of all events in the organisation's log. */
async function positionsInLog(chat: DowellChat): Promise<number[]> {
  const positions: number[] = []
  let after: string | undefined
  for (;;) {
    const page = await chat.listEvents({ orgId: ORG, limit: 200, ...(after && { after }) })
    positions.push(...page.items.map(({ position }) => position))
    if (!page.hasAfter) return positions
    after = page.after
  }
}

test('events have the types of what they are about', () => {
  type Snapshot = Extract<RoomFeedEvent, { type: 'snapshot' }>
  expectTypeOf<Snapshot['room']>().toEqualTypeOf<Room>()
  expectTypeOf<Snapshot['markers']>().toEqualTypeOf<Outputs['getRoomSnapshot']['markers']>()
  type MessageEvent = Extract<RoomFeedEvent, { message: unknown }>
  expectTypeOf<MessageEvent['message']>().toEqualTypeOf<Message>()
  expectTypeOf<MessageEvent['createdAt']>().toEqualTypeOf<Date>()
  expectTypeOf<Extract<FeedEvent, { type: 'reset' }>['reason']>().toEqualTypeOf<
    'start' | 'too_old' | 'too_far' | 'unknown'
  >()
  expectTypeOf<RoomFeedEvent['type'] & ('ready' | 'end' | 'reset')>().toEqualTypeOf<never>()
})

describe('a room', () => {
  test('shows two sides to each other', async () => {
    await using app = await createTestApp()
    const chat = createDowellChat({ url: app.url })
    const { id: roomId } = await openRoom(chat, 'ABCD12345')
    const token = await createKeylessToken(app, { userId: 'Amara', side: true })
    const customer = chat.room(roomId, { readerId: 'ABCD12345', readerSide: false })
    const support = createDowellChat({ url: app.url, token: () => token })
    await write(chat, roomId, 'Hello')

    const events = customer.events()
    expect((await events.next()).value).toMatchObject({
      type: 'snapshot',
      room: { id: roomId },
      messages: { items: [{ messageData: 'Hello' }] },
    })
    // Its stream is live from here on: that somebody types is told to those who listen, and to nobody later.
    expect((await events.next()).value).toMatchObject({ type: 'presence', customer: true })
    const leaving = new AbortController()
    const seen: RoomFeedEvent[] = []
    const supporting = (async () => {
      for await (const event of support.room(roomId).events({ signal: leaving.signal })) {
        seen.push(event)
        if (event.type !== 'snapshot') continue
        await support.setTyping({ roomId, isTyping: true })
        const answer = { roomId, messageData: 'Which phone?', side: true, author: 'Amara' }
        const { message } = await support.createMessage(answer)
        await support.markRead({ roomId, seq: message.seq })
      }
    })()
    const told: RoomFeedEvent[] = []
    // In whatever order: the support team writes as soon as it has the snapshot, with or without its stream.
    const isThere = (event: RoomFeedEvent) => event.type === 'presence' && event.support
    while (!told.some(isThere) || !told.some(({ type }) => type === 'marker.moved')) {
      told.push((await events.next()).value)
    }
    await events.return(undefined as never)
    leaving.abort()
    await expect(supporting).rejects.toBe(leaving.signal.reason)

    expect(seen[0]).toMatchObject({ type: 'snapshot', unread: 1 })
    expect(told).toContainEqual(
      expect.objectContaining({ type: 'presence', customer: true, support: true }),
    )
    expect(told).toContainEqual(
      expect.objectContaining({ type: 'typing', userId: 'Amara', expiresAt: expect.any(Date) }),
    )
    const [message] = told.filter(({ type }) => type === 'message.created')
    const { items } = await chat.getMessages({ roomId })
    expect(message).toMatchObject({ message: items[1], createdAt: items[1]?.createdAt })
    const [moved] = told.filter(({ type }) => type === 'marker.moved')
    expect(moved).toMatchObject({ marker: { userId: 'Amara', side: true, seq: 2 } })
  })

  test('that does not exist ends the subscription', async () => {
    await using app = await createTestApp()
    const { errors, states } = new Transcript(createDowellChat({ url: app.url }), 'f'.repeat(24))
    await expect.poll(() => errors).toMatchObject([{ code: 'NOT_FOUND', status: 404 }])
    expect(states).toEqual(['closed'])
  })

  test('shares one connection with 60 others, as far as the server lets it', async () => {
    await using app = await createTestApp()
    const urls: string[] = []
    const chat = createDowellChat({
      url: app.url,
      fetch: (input, init) => {
        urls.push(new URL(String(input)).pathname)
        return fetch(input, init)
      },
    })
    const rooms = await Promise.all(
      Array.from({ length: 61 }, (_, i) => openRoom(chat, `customer-${i}`)),
    )
    const transcripts = rooms.map(({ id }) => new Transcript(chat, id))
    await expect.poll(() => transcripts.every(({ states }) => states.at(-1) === 'live')).toBe(true)
    await Promise.all(rooms.map(({ id }) => write(chat, id, `to ${id}`)))
    await expect
      .poll(() => transcripts.map(({ texts }) => texts))
      .toEqual(rooms.map(({ id }) => [`to ${id}`]))
    for (const { stop } of transcripts) stop()
    const streams = urls.filter((path) => path === '/api/v3/events')
    expect(streams.length).toBeLessThan(10)
  })
})

describe('nothing is lost and nothing comes twice', () => {
  /** Writes for as long as something goes wrong, then compares what readers know with what is there. */
  async function expectAllRead(url: string, goWrong: () => Promise<void>): Promise<void> {
    hurry()
    const chat = createDowellChat({ url })
    const rooms = [await openRoom(chat, 'one'), await openRoom(chat, 'two')]
    const positions: number[] = []
    let start = 0
    const stopInbox = chat.inbox({ orgId: ORG }).subscribe({
      onEvent: (event) => {
        if (event.type === 'reset') start = event.position
        else if ('position' in event) positions.push(event.position)
      },
      onError: (error) => expect.unreachable(String(error)),
    })
    const transcripts = rooms.map(({ id }) => new Transcript(createDowellChat({ url }), id))
    await expect.poll(() => start).toBeGreaterThan(0)

    let isOver = false
    const written = rooms.map(async ({ id }) => {
      const texts: string[] = []
      for (let n = 1; !isOver; n++) {
        texts.push(`message ${n}`)
        await write(chat, id, `message ${n}`)
        await sleep(5)
      }
      return texts
    })
    await goWrong()
    isOver = true
    const texts = await Promise.all(written)
    await expect
      .poll(() => transcripts.map((transcript) => transcript.texts.length))
      .toEqual(texts.map(({ length }) => length))
    expect(transcripts.map((transcript) => transcript.texts)).toEqual(texts)
    const logged = (await positionsInLog(chat)).filter((position) => position > start)
    await expect.poll(() => positions.length).toBe(logged.length)
    expect(positions).toEqual(logged)
    for (const { stop, errors } of transcripts) {
      stop()
      expect(errors).toEqual([])
    }
    stopInbox()
  }

  test('however often the connections are cut', async () => {
    await using app = await createTestApp()
    await using proxy = await createTcpProxy(app.url)
    await expectAllRead(proxy.url, async () => {
      // On a slow machine some cuts find no connection.
      for (let i = 0; i < 20 || proxy.cuts <= 20; i++) {
        await sleep(100)
        proxy.cut()
      }
    })
  })

  test('however often the streams reach the end of their life', async () => {
    await using app = await createTestApp({}, { streamLifetime: 300 })
    await expectAllRead(app.url, () => sleep(4_000))
  })

  test('when the server is killed and started again', async () => {
    await using store = await createTestStore()
    const env = { DATABASE_URL: store.url }
    let server = await startServer(env)
    try {
      const { url } = server
      await expectAllRead(url, async () => {
        for (let i = 0; i < 3; i++) {
          await sleep(700)
          await server.kill('SIGKILL')
          server = await startServer({ ...env, PORT: new URL(url).port })
        }
        await sleep(700)
      })
    } finally {
      await server.kill('SIGKILL')
    }
  })
})

describe('a credential', () => {
  test('is asked for with each connection', async () => {
    hurry()
    await using app = await createTestApp({}, { streamLifetime: 500 })
    const open = createDowellChat({ url: app.url })
    const { id } = await openRoom(open, 'ABCD12345')
    let asked = 0
    const token = async () => {
      asked++
      return createKeylessToken(app)
    }
    const transcript = new Transcript(createDowellChat({ url: app.url, token }), id)
    await expect.poll(() => asked).toBeGreaterThan(4)
    await write(open, id, 'Hello')
    await expect.poll(() => transcript.texts).toEqual(['Hello'])
    transcript.stop()
  })

  test('that is revoked ends the subscription, when there is no other', async () => {
    hurry()
    await using app = await createTestApp()
    const open = createDowellChat({ url: app.url })
    const room = await openRoom(open, 'ABCD12345')
    const admin = await createKey(app)
    const withKey = (key: string) =>
      createDowellChat({ url: app.url, headers: { Authorization: `Bearer ${key}` } })
    const chat = withKey(admin.secret)
    const lost = await chat.createApiKey({ orgId: ORG, right: 'support', name: 'lost' })
    const minting = withKey(lost.secret)
    const { token } = await minting.createUserToken({ orgId: ORG, userId: 'Amara', side: true })
    const own = createDowellChat({ url: app.url, token: () => token })
    const transcripts = [new Transcript(own, room.id), new Transcript(minting, room.id)]
    const unharmed = new Transcript(chat, room.id)
    for (const { states } of [...transcripts, unharmed]) {
      await expect.poll(() => states.at(-1)).toBe('live')
    }
    await chat.revokeApiKey({ keyId: lost.apiKey.id })
    for (const { errors, states } of transcripts) {
      await expect.poll(() => errors).toMatchObject([{ code: 'UNAUTHORIZED', status: 401 }])
      expect(states.at(-1)).toBe('closed')
    }
    expect(unharmed.states.at(-1)).toBe('live')
    unharmed.stop()
  })
})
