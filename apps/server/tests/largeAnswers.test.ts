import { Buffer } from 'node:buffer'
import { type Database, openDatabase } from '@dowell-chat/db'
import { kyselyOn, runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, type SentHeaders, send } from './http.ts'
import { createTestApp, json, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const MIB = 1024 * 1024

/** The largest message: 64,000 bytes of UTF-8. */
const LARGEST = '🙂'.repeat(16_000)
const MESSAGES = 60

let app: TestApp
let db: Database
/** Has only largest messages. */
let room: string

beforeAll(async () => {
  app = await createTestApp({ RATE_LIMIT_ACTOR: '0', RATE_LIMIT_ADDRESS: '0' })
  db = openDatabase({ url: app.databaseUrl })
  room = await openRoom(app)
  await write(room, Array(MESSAGES).fill(LARGEST))
})
afterAll(async () => {
  await db.close()
  await app[Symbol.asyncDispose]()
})

async function write(roomId: string, texts: readonly string[]): Promise<void> {
  for (const messageData of texts) {
    const body = { messageData, side: false, author: 'client' }
    const { status } = await app.fetch(`/api/v3/rooms/${roomId}/messages`, json(body))
    expect(status).toBe(201)
  }
}

function get(path: string, headers: SentHeaders = {}): Promise<Answer> {
  return send(app, { path, headers })
}

function trpcGet(names: string, inputs: object, query = ''): Promise<Answer> {
  const input = encodeURIComponent(JSON.stringify(inputs))
  return get(`/trpc/${names}?input=${input}${query}`)
}

interface PageRead {
  readonly seqs: number[]
  readonly bytes: number
  readonly before: string
  readonly after: string
  readonly hasBefore: boolean
  readonly hasAfter: boolean
}

interface Ask {
  readonly limit?: number
  readonly before?: string
  readonly after?: string
  readonly around?: string
}

/** A page of messages, on each surface. */
const pageOf: Record<
  'v2' | 'v3' | 'tRPC' | 'snapshot',
  (id: string, ask: Ask) => Promise<PageRead>
> = {
  async v2(id, ask) {
    const query = new URLSearchParams({ type: 'get_messages', room_id: id, ...texts(ask) })
    const { text, body } = await get(`/api/v2/room-service/?${query}`)
    const { response, paging } = body as never as {
      response: { seq: number }[]
      paging: { before: string; after: string; has_before: boolean; has_after: boolean }
    }
    return {
      seqs: response.map(({ seq }) => seq),
      bytes: Buffer.byteLength(text),
      before: paging.before,
      after: paging.after,
      hasBefore: paging.has_before,
      hasAfter: paging.has_after,
    }
  },
  async v3(id, ask) {
    const { text, body } = await get(
      `/api/v3/rooms/${id}/messages?${new URLSearchParams(texts(ask))}`,
    )
    return readPage(body, text)
  },
  async tRPC(id, ask) {
    const { text, body } = await trpcGet('getMessages', { json: { roomId: id, ...ask } })
    return readPage(
      (body as never as { result: { data: { json: object } } }).result.data.json,
      text,
    )
  },
  async snapshot(id, { limit = 200 }) {
    const { text, body } = await get(`/api/v3/rooms/${id}/snapshot?limit=${limit}`)
    return readPage((body as never as { messages: object }).messages, text)
  },
}

function texts(ask: Ask): Record<string, string> {
  return Object.fromEntries(Object.entries(ask).map(([key, value]) => [key, String(value)]))
}

function readPage(page: unknown, text: string): PageRead {
  const { items, ...rest } = page as { items: { seq: number }[] } & PageRead
  return { ...rest, seqs: items.map(({ seq }) => seq), bytes: Buffer.byteLength(text) }
}

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1)

test('a room of 1,000 short messages comes whole over v2, without paging', async () => {
  const id = await openRoom(app, 'talkative')
  const message = { roomId: id, messageData: 'x'.repeat(300), side: false, author: 'client' }
  for (let i = 0; i < 20; i++) {
    const inputs = Object.fromEntries(upTo(50).map((n) => [n - 1, { json: message }]))
    const names = Array(50).fill('createMessage').join(',')
    const { status } = await app.fetch(`/trpc/${names}?batch=1`, json(inputs))
    expect(status).toBe(200)
  }
  const page = await pageOf.v2(id, {})
  expect(page.seqs).toEqual(upTo(1_000))
  expect(page.hasBefore).toBe(false)
  expect(page.bytes).toBeLessThan(MIB)
})

describe.each(['v2', 'v3', 'tRPC', 'snapshot'] as const)('a page of %s', (surface) => {
  const read = pageOf[surface]

  test('ends at about 1 MiB, keeps the newest messages and says that there are more', async () => {
    const page = await read(room, { limit: 200 })
    expect(page.bytes).toBeGreaterThan(0.9 * MIB)
    expect(page.bytes).toBeLessThan(1.05 * MIB)
    expect(page.seqs.at(-1)).toBe(MESSAGES)
    expect(page.seqs).toEqual(upTo(MESSAGES).slice(-page.seqs.length))
    expect([page.hasBefore, page.hasAfter]).toEqual([true, false])
  })

  test.runIf(surface !== 'snapshot')('leads in both directions through all messages', async () => {
    const older: number[] = []
    for (let ask: Ask = { limit: 200 }; ; ) {
      const page = await read(room, ask)
      older.unshift(...page.seqs)
      if (!page.hasBefore) break
      ask = { limit: 200, before: page.before }
    }
    expect(older).toEqual(upTo(MESSAGES))
    const newer: number[] = []
    const start = Buffer.from('m:0').toString('base64url')
    for (let ask: Ask = { limit: 200, after: start }; ; ) {
      const page = await read(room, ask)
      expect(page.bytes).toBeLessThan(1.05 * MIB)
      newer.push(...page.seqs)
      if (!page.hasAfter) break
      ask = { limit: 200, after: page.after }
    }
    expect(newer).toEqual(upTo(MESSAGES))
  })
})

test.each(['v3', 'tRPC'] as const)('a page around a message keeps it, on %s', async (surface) => {
  const { body } = await get(`/api/v3/rooms/${room}/messages?limit=1&before=${encode(30)}`)
  const around = (body as never as { items: { id: string }[] }).items[0]?.id as string
  const page = await pageOf[surface](room, { limit: 200, around })
  expect(page.bytes).toBeLessThan(1.05 * MIB)
  expect(page.seqs).toContain(30)
  expect(page.seqs.length).toBeGreaterThan(10)
  expect(Math.abs((page.seqs[0] ?? 0) + (page.seqs.at(-1) ?? 0) - 60)).toBeLessThanOrEqual(2)
  expect([page.hasBefore, page.hasAfter]).toEqual([true, true])
})

function encode(boundary: number): string {
  return Buffer.from(`m:${boundary}`).toString('base64url')
}

test('whatever their sizes, pages of every wire lead through all messages and stay small', async () => {
  const text = fc.oneof(
    fc.constantFrom('short', '"'.repeat(900), 'ä'.repeat(1_024), 'x'.repeat(2_049)),
    fc.integer({ min: 1, max: 16_000 }).map((length) => '\n🙂'.repeat(length / 2) || 'x'),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(text, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 200 }),
      fc.constantFrom('v2' as const, 'v3' as const, 'tRPC' as const),
      fc.boolean(),
      async (sent, limit, surface, isDown) => {
        const id = await openRoom(app, `user ${Math.random()}`)
        await write(id, sent)
        const seqs: number[] = []
        let ask: Ask = isDown ? { limit } : { limit, after: encode(0) }
        for (;;) {
          const page = await pageOf[surface](id, ask)
          expect(page.seqs.length).toBeGreaterThan(0)
          expect(page.seqs.length).toBeLessThanOrEqual(limit)
          if (page.seqs.length > 1) expect(page.bytes).toBeLessThan(1.05 * MIB)
          if (isDown) seqs.unshift(...page.seqs)
          else seqs.push(...page.seqs)
          if (!(isDown ? page.hasBefore : page.hasAfter)) break
          ask = isDown ? { limit, before: page.before } : { limit, after: page.after }
        }
        expect(seqs).toEqual(upTo(sent.length))
      },
    ),
    { numRuns: runs(15, 8), interruptAfterTimeLimit: 30_000 },
  )
})

test('a long message that is edited to a short one, and back, is read as it is', async () => {
  const id = await openRoom(app, 'edits')
  await write(id, ['a'.repeat(3_000)])
  const path = `/api/v3/rooms/${id}/messages`
  const [message] = ((await get(path)).body as never as { items: { id: string }[] }).items
  for (const messageData of ['short', 'b'.repeat(16_000), 'c'.repeat(2_048), 'ü'.repeat(1_025)]) {
    await app.fetch(`${path}/${message?.id}`, json({ messageData }, 'PATCH'))
    const { body } = await get(path)
    expect(body?.items).toMatchObject([{ messageData }])
    const { body: listed } = await get(`/api/v3/rooms/${id}`)
    expect(listed).toMatchObject({ messageData: messageData.slice(0, 200) })
  }
})

test('the event log answers pages of about 1 MiB, which lead through all events', async () => {
  const seqs: number[] = []
  const ask = `/api/v3/event-log?orgId=${ORG}&roomId=${room}&limit=200`
  for (let after = ''; ; ) {
    const { text, body } = await get(`${ask}${after && `&after=${after}`}`)
    expect(Buffer.byteLength(text)).toBeLessThan(1.05 * MIB)
    const page = body as never as {
      items: { message?: { seq: number } }[]
      after: string
      hasAfter: boolean
    }
    seqs.push(...page.items.flatMap(({ message }) => message?.seq ?? []))
    after = page.after
    if (!page.hasAfter) break
  }
  expect(seqs).toEqual(upTo(MESSAGES))
})

describe('lists of rooms', () => {
  test('repeat 200 characters of the latest message, and say whose it is', async () => {
    const preview = '🙂'.repeat(200)
    const lastMessage = {
      seq: MESSAGES,
      messageType: 'text',
      messageData: preview,
      side: false,
      author: 'client',
      createdAt: expect.any(String),
    }
    const wanted = { messageData: preview, lastMessage }
    const { body: listed } = await get(`/api/v3/rooms?orgId=${ORG}&userId=ABCD12345`)
    expect(listed?.items).toMatchObject([wanted])
    expect((await get(`/api/v3/rooms/${room}`)).body).toMatchObject(wanted)
    expect((await get(`/api/v3/rooms/${room}/snapshot?limit=1`)).body).toMatchObject({
      room: wanted,
    })
    const v2 = await get(`/api/v2/room-service/?type=get_room_by_id&room_id=${room}`)
    expect((v2.body as never as { response: object[] }).response).toMatchObject([
      { message_data: preview },
    ])
  })

  test('end at about 1 MiB, on every surface, and lead to all rooms', async () => {
    const custom = JSON.stringify({ note: 'n'.repeat(4_000) })
    const opened = await Promise.all(
      Array.from({ length: 280 }, (_, number) => openRoom(app, `user ${number}`, 'many')),
    )
    await db.write((tx) =>
      kyselyOn(tx).updateTable('rooms').set({ custom }).where('org_id', '=', 'many').execute(),
    )
    const found: string[] = []
    for (let before = ''; ; ) {
      const { text, body } = await get(`/api/v3/rooms?orgId=many&limit=200${before}`)
      expect(Buffer.byteLength(text)).toBeLessThan(1.05 * MIB)
      const page = body as never as { items: { id: string }[]; before: string; hasBefore: boolean }
      found.push(...page.items.map(({ id }) => id))
      if (!page.hasBefore) break
      before = `&before=${page.before}`
    }
    expect(found.sort()).toEqual(opened.sort())
    const listed = await get('/api/v2/room-list/?org_id=many')
    expect(Buffer.byteLength(listed.text)).toBeLessThan(1.05 * MIB)
    expect(listed.body).toMatchObject({ paging: { has_before: true } })
  })
})

describe('a batch of reads', () => {
  const names = Array(50).fill('getMessages').join(',')
  const inputs = () =>
    Object.fromEntries(upTo(50).map((n) => [n - 1, { json: { roomId: room, limit: 200 } }]))

  function expectBounded(text: string, statuses: readonly number[]) {
    expect(Buffer.byteLength(text)).toBeLessThan(3.3 * MIB)
    expect(statuses.slice(0, 2)).toEqual([200, 200])
    expect(statuses.slice(4)).toEqual(Array(46).fill(429))
  }

  test('has one budget of bytes, and refuses what comes after', async () => {
    const { status, text } = await trpcGet(names, inputs(), '&batch=1')
    expect(status).toBe(207)
    const answers = JSON.parse(text) as { error?: { json: { data: { httpStatus: number } } } }[]
    expectBounded(
      text,
      answers.map(({ error }) => error?.json.data.httpStatus ?? 200),
    )
  })

  test.each([
    ['connection parameters', '&connectionParams=null', {}],
    ['a streamed answer', '', { 'trpc-accept': 'application/jsonl' }],
  ])('has the same by tRPC’s own adapter: %s', async (_name, query, headers) => {
    const input = encodeURIComponent(JSON.stringify(inputs()))
    const { text } = await get(`/trpc/${names}?batch=1&input=${input}${query}`, headers)
    expect(Buffer.byteLength(text)).toBeLessThan(3.3 * MIB)
    expect(text.match(/"httpStatus":429/g)?.length).toBeGreaterThanOrEqual(46)
  })
})

describe('an unchanged room', () => {
  test.each([
    ['v3', () => `/api/v3/rooms/${room}/messages?limit=200`],
    ['v3, an older page', () => `/api/v3/rooms/${room}/messages?limit=200&before=${encode(40)}`],
    ['v3, one small page', () => `/api/v3/rooms/${room}/messages?limit=1`],
    ['v3, the room', () => `/api/v3/rooms/${room}`],
    ['a snapshot', () => `/api/v3/rooms/${room}/snapshot?readerId=a&readerSide=true&limit=200`],
    ['v2', () => `/api/v2/room-service/?type=get_messages&room_id=${room}`],
    ['v2, the room', () => `/api/v2/room-service/?type=get_room_by_id&room_id=${room}`],
  ])('is not read again by a conditional read: %s', async (_name, path) => {
    const first = await get(path())
    expect(first.status).toBe(200)
    const texts = await takeTexts()
    try {
      // What is not there any more cannot have been read.
      const again = await get(path(), { 'If-None-Match': String(first.headers.etag) })
      expect([again.status, again.text]).toEqual([304, ''])
      expect(again.headers.etag).toBe(first.headers.etag)
    } finally {
      await texts.giveBack()
    }
    const other = await get(path(), { 'If-None-Match': '"another"' })
    expect([other.status, other.text]).toEqual([200, first.text])
  })

  /** Takes the messages out of the room behind the server's back, which no request can. */
  async function takeTexts() {
    const elsewhere = await openRoom(app, 'elsewhere')
    const move = (from: string, to: string) =>
      db.write((tx) =>
        kyselyOn(tx)
          .updateTable('messages')
          .set({ room_id: to })
          .where('room_id', '=', from)
          .execute(),
      )
    await move(room, elsewhere)
    return { giveBack: () => move(elsewhere, room) }
  }
})
