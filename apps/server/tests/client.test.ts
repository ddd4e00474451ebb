import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  createDowellChat,
  type DowellChat,
  DowellChatError,
  type DowellChatErrorCode,
  type Inputs,
  type Message,
  type MessagePage,
  type Room,
  type RoomPage,
} from '@dowell-chat/client'
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { createTestApp, type TestApp } from './support.ts'

let app: TestApp
let chat: DowellChat
beforeAll(async () => {
  app = await createTestApp()
  chat = createDowellChat({ url: app.url })
})
afterAll(() => app[Symbol.asyncDispose]())

const identity: Inputs['createRoom'] = {
  userId: 'ABCD12345',
  orgId: 'DOWELL12345',
  portfolioName: 'umair',
  productName: 'WIFIQRCODE',
}
const UNKNOWN_ID = 'ffffffffffffffffffffffff'

async function failureOf(call: Promise<unknown>): Promise<DowellChatError> {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(DowellChatError)
  return error as DowellChatError
}

/** A fetch that counts its requests. */
function counting(): { fetch: typeof fetch; urls: string[] } {
  const urls: string[] = []
  return {
    urls,
    fetch: (input, init) => {
      urls.push(String(input))
      return fetch(input, init)
    },
  }
}

/** Something that is not Dowell Chat, at an address of its own. */
async function listen(listener: RequestListener): Promise<AsyncDisposable & { url: string }> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

test('inputs and answers have the types of the procedures', () => {
  expectTypeOf(chat.createRoom).returns.resolves.toEqualTypeOf<{ room: Room; created: boolean }>()
  expectTypeOf(chat.getRoomById).returns.resolves.toEqualTypeOf<Room>()
  expectTypeOf(chat.deleteRoom).returns.resolves.toEqualTypeOf<Room>()
  type Status = Room['status']
  expectTypeOf<Inputs['listRooms']['status']>().toEqualTypeOf<Status | Status[] | undefined>()
  expectTypeOf<Inputs['listRooms']['assignee']>().toEqualTypeOf<string | null | undefined>()
  expectTypeOf(chat.listRooms).returns.resolves.toEqualTypeOf<RoomPage>()
  expectTypeOf(chat.getMessages).returns.resolves.toEqualTypeOf<MessagePage>()
  expectTypeOf(chat.createMessage).returns.resolves.toEqualTypeOf<{
    message: Message
    replayed: boolean
  }>()
  expectTypeOf<Room['createdAt']>().toEqualTypeOf<Date>()
  expectTypeOf<Message['createdAt']>().toEqualTypeOf<Date>()
  expectTypeOf<Message['clientMessageId']>().toEqualTypeOf<string | null>()
  expectTypeOf<MessagePage['items']>().toEqualTypeOf<Message[]>()
  expectTypeOf<Inputs['createMessage']['messageType']>().toEqualTypeOf<string | undefined>()
  expectTypeOf<Inputs['getMessages']['around']>().toEqualTypeOf<string | undefined>()
  expectTypeOf<DowellChatError['code']>().toEqualTypeOf<DowellChatErrorCode>()
  expectTypeOf<'ROOM_CLOSED' | 'NETWORK'>().toExtend<DowellChatErrorCode>()
  // @ts-expect-error a misspelt code is found by the compiler
  expectTypeOf<'ROOM_SHUT'>().toExtend<DowellChatErrorCode>()
  // @ts-expect-error so is a missing field
  expectTypeOf(chat.getRoomById).toBeCallableWith({})
})

test('a conversation, with real Dates', async () => {
  const before = Date.now()
  const { room, created } = await chat.createRoom({ ...identity, userId: 'conversation' })
  expect(created).toBe(true)
  expect(room.createdAt).toBeInstanceOf(Date)
  expect(room.createdAt.getTime()).toBeGreaterThanOrEqual(before)
  const sent = await chat.createMessage({
    roomId: room.id,
    messageData: 'Hello, Zoë 🙂',
    side: false,
    author: 'client',
  })
  expect(sent).toMatchObject({ replayed: false, message: { seq: 1, messageType: 'text' } })
  const page = await chat.getMessages({ roomId: room.id })
  expect(page.items).toEqual([sent.message])
  expect(page.items[0]?.createdAt).toBeInstanceOf(Date)
  expect(await chat.getRoomById({ roomId: room.id })).toMatchObject({
    id: room.id,
    messageData: 'Hello, Zoë 🙂',
    updatedAt: sent.message.createdAt,
  })
})

test('a page is the newest 50 items when no limit is given', async () => {
  const { room } = await chat.createRoom({ ...identity, userId: 'fifty' })
  const message = { roomId: room.id, messageData: 'message', side: true, author: 'umair' }
  await Promise.all(Array.from({ length: 53 }, () => chat.createMessage(message)))
  const page = await chat.getMessages({ roomId: room.id })
  expect(page.items.map(({ seq }) => seq)).toEqual(Array.from({ length: 50 }, (_, i) => i + 4))
  expect(page).toMatchObject({ hasBefore: true, hasAfter: false })
})

test.each(['', '/', '///'])('the address may end in "%s"', async (end) => {
  const page = await createDowellChat({ url: `${app.url}${end}` }).listRooms({ orgId: 'nobody' })
  expect(page.items).toEqual([])
})

test('the address may be a URL', async () => {
  const page = await createDowellChat({ url: new URL(app.url) }).listRooms({ orgId: 'nobody' })
  expect(page.items).toEqual([])
})

describe('errors', () => {
  test('have the code, the status and the id of the request', async () => {
    const error = await failureOf(chat.getRoomById({ roomId: UNKNOWN_ID }))
    expect(error).toMatchObject({
      name: 'DowellChatError',
      message: 'There is no such room',
      code: 'NOT_FOUND',
      status: 404,
      errors: undefined,
    })
    await expect
      .poll(() => app.log)
      .toContainEqual(
        expect.objectContaining({ req: expect.objectContaining({ id: error.requestId }) }),
      )
  })

  test('name the fields that are wrong', async () => {
    const input = { ...identity, userId: '', colour: 'blue' }
    expect(await failureOf(chat.createRoom(input))).toMatchObject({
      code: 'BAD_REQUEST',
      status: 400,
      errors: { userId: ['must not be empty'], colour: ['is not a known key'] },
    })
    const tooLong = { roomId: UNKNOWN_ID, messageData: 'x'.repeat(16_001), side: true, author: 'a' }
    expect(await failureOf(chat.createMessage(tooLong))).toMatchObject({
      code: 'BAD_REQUEST',
      errors: { messageData: ['must have at most 16000 characters'] },
    })
  })

  test("have the table's own code and status, where tRPC knows fewer", async () => {
    const { room } = await chat.createRoom({ ...identity, userId: 'errors' })
    expect(await chat.deleteRoom({ roomId: room.id })).toMatchObject({ isActive: false })
    const message = { roomId: room.id, messageData: 'too late', side: false, author: 'client' }
    expect(await failureOf(chat.createMessage(message))).toMatchObject({
      code: 'ROOM_CLOSED',
      status: 409,
    })
  })

  test('of one call leave the others of its request alone', async () => {
    const [failed, page] = await Promise.allSettled([
      chat.getRoomById({ roomId: UNKNOWN_ID }),
      chat.listRooms({ orgId: 'nobody' }),
    ])
    expect(failed).toMatchObject({ reason: { code: 'NOT_FOUND', status: 404 } })
    expect(page).toMatchObject({ value: { items: [] } })
  })

  test('are NETWORK when the server is away', async () => {
    const away = await listen(() => undefined)
    await away[Symbol.asyncDispose]()
    const error = await failureOf(createDowellChat(away).listRooms({ orgId: 'nobody' }))
    expect(error).toMatchObject({ code: 'NETWORK', status: undefined, requestId: undefined })
    expect(error.cause).toBeInstanceOf(Error)
  })

  test.each([
    ['<h1>Bad gateway</h1>', 'text/html'],
    ['{"message":"Bad gateway"}', 'application/json'],
    ['[]', 'application/json'],
    ['', 'text/plain'],
  ])('are NETWORK when something else answers %j', async (body, type) => {
    await using proxy = await listen((_req, res) => {
      res.writeHead(502, { 'Content-Type': type }).end(body)
    })
    const error = await failureOf(createDowellChat(proxy).listRooms({ orgId: 'nobody' }))
    expect(error).toMatchObject({ code: 'NETWORK', status: undefined, requestId: undefined })
    expect(error.cause).toBeInstanceOf(Error)
  })
})

describe('a signal', () => {
  test('that was aborted before sends nothing', async () => {
    const { fetch, urls } = counting()
    const quiet = createDowellChat({ url: app.url, fetch })
    const signal = AbortSignal.abort(new Error('no longer wanted'))
    const call = quiet.listRooms({ orgId: 'nobody' }, { signal })
    await expect(call).rejects.toThrow('no longer wanted')
    expect(urls).toEqual([])
  })

  test('abandons a call that waits, with its own reason', async () => {
    await using silent = await listen(() => undefined)
    const controller = new AbortController()
    const call = createDowellChat(silent).listRooms(
      { orgId: 'nobody' },
      { signal: controller.signal },
    )
    const rejected = expect(call).rejects.toMatchObject({ name: 'AbortError' })
    controller.abort()
    await rejected
  })

  test('of one call leaves the others of its request alone', async () => {
    const controller = new AbortController()
    const abandoned = chat.listRooms({ orgId: 'nobody' }, { signal: controller.signal })
    const rejected = expect(abandoned).rejects.toThrow('no longer wanted')
    const kept = chat.listRooms({ orgId: 'nobody' })
    controller.abort(new Error('no longer wanted'))
    await rejected
    expect(await kept).toMatchObject({ items: [] })
  })
})

describe('headers', () => {
  test('are sent with each request', async () => {
    const named = createDowellChat({ url: app.url, headers: { 'X-Request-Id': 'from-an-object' } })
    const error = await failureOf(named.getRoomById({ roomId: UNKNOWN_ID }))
    expect(error.requestId).toBe('from-an-object')
  })

  test('may be asked for before each', async () => {
    let asked = 0
    const headers = async () => ({ 'X-Request-Id': `asked-${++asked}` })
    const named = createDowellChat({ url: app.url, headers })
    const call = () => failureOf(named.getRoomById({ roomId: UNKNOWN_ID }))
    expect((await call()).requestId).toBe('asked-1')
    expect((await call()).requestId).toBe('asked-2')
  })

  test('that cannot be had fail the call', async () => {
    const named = createDowellChat({
      url: app.url,
      headers: () => Promise.reject(new Error('signed out')),
    })
    await expect(named.getRoomById({ roomId: UNKNOWN_ID })).rejects.toThrow('signed out')
  })
})

describe('calls of one moment', () => {
  test.each([
    [1, 1],
    [20, 1],
    [21, 2],
    [45, 3],
  ])('%i of them take %i requests', async (calls, requests) => {
    const { fetch, urls } = counting()
    const counted = createDowellChat({ url: app.url, fetch })
    const pages = await Promise.all(
      Array.from({ length: calls }, (_, index) => counted.listRooms({ orgId: `nobody ${index}` })),
    )
    expect(pages).toHaveLength(calls)
    expect(urls).toHaveLength(requests)
  })

  test('reads and writes have requests of their own', async () => {
    const { fetch, urls } = counting()
    const counted = createDowellChat({ url: app.url, fetch })
    await Promise.all([
      counted.createRoom({ ...identity, userId: 'batch 1' }),
      counted.createRoom({ ...identity, userId: 'batch 2' }),
      counted.listRooms({ orgId: 'nobody' }),
    ])
    expect(urls).toHaveLength(2)
  })

  test('are split before their URL becomes too long for the server', async () => {
    // As long as names may be, and the longest there are in a URL.
    const names = { orgId: '🙂'.repeat(200), productName: '🙂'.repeat(200) }
    const pages = await Promise.all(Array.from({ length: 20 }, () => chat.listRooms(names)))
    expect(pages.map(({ items }) => items)).toEqual(Array(20).fill([]))
  })
})
