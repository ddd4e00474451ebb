import { setImmediate as turn } from 'node:timers/promises'
import type { AppRouter } from '@dowell-chat/api'
import { createDowellChat } from '@dowell-chat/client'
import { InfiniteQueryObserver, QueryClient } from '@tanstack/react-query'
import { createTRPCClient, httpBatchLink, httpBatchStreamLink, httpLink } from '@trpc/client'
import { createTRPCOptionsProxy } from '@trpc/tanstack-react-query'
import superjson from 'superjson'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createKey } from './credentials.ts'
import { type Answer, expectFailure, type Outgoing, parseRaw, raw, send } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'
const UNKNOWN = '0'.repeat(24)

let app: TestApp
let room: string
beforeAll(async () => {
  app = await createTestApp({ RATE_LIMIT_ACTOR: '0', RATE_LIMIT_ADDRESS: '0' })
  room = await openRoom(app)
  for (const text of ['one', 'two "quoted"', 'drei äöü 🙂']) {
    await post('createMessage', {
      json: { roomId: room, messageData: text, author: 'a', side: true },
    })
  }
})
afterAll(() => app[Symbol.asyncDispose]())

const JSON_TYPE = { 'Content-Type': 'application/json' }

function post(names: string, body: unknown, query = ''): Promise<Answer> {
  return send(app, posting(names, JSON.stringify(body), query))
}

function posting(names: string, body: string, query = ''): Outgoing {
  return { path: `/trpc/${names}?${query}`, method: 'POST', headers: JSON_TYPE, body }
}

function heading(outgoing: Outgoing): Outgoing {
  return { ...outgoing, method: 'HEAD' }
}

function getting(names: string, input?: unknown, query = ''): Outgoing {
  const text = typeof input === 'string' ? input : JSON.stringify(input)
  const given = text === undefined ? '' : `&input=${encodeURIComponent(text)}`
  return { path: `/trpc/${names}?${query}${given}` }
}

/** What tRPC's own adapter answers: it is asked whenever a request has connection parameters. */
function byAdapter(outgoing: Outgoing): Outgoing {
  const separator = outgoing.path.includes('?') ? '&' : '?'
  return { ...outgoing, path: `${outgoing.path}${separator}connectionParams=null` }
}

const told = ['content-type', 'cache-control', 'vary', 'allow', 'retry-after', 'x-request-id']

async function asked(outgoing: Outgoing): Promise<unknown> {
  const headers = { ...outgoing.headers, 'X-Request-Id': 'the-same' }
  const answer = await send(app, { ...outgoing, headers })
  const has = Object.fromEntries(told.map((name) => [name, answer.headers[name]]))
  return { status: answer.status, body: answer.body, has }
}

const page = () => ({ json: { roomId: room } })
const none = { json: { roomId: UNKNOWN } }
const bad = { json: { roomId: 'x' } }
const dated = { json: { roomId: '2026' }, meta: { values: { roomId: ['Date'] }, v: 1 } }

describe('an answer is the same as that of tRPC’s adapter', () => {
  const requests: [string, () => Outgoing][] = [
    ['a query', () => getting('getMessages', page())],
    [
      'a query whose input is text with a plus',
      () => getting('listRooms', { json: { orgId: 'a+ b' } }),
    ],
    ['a list', () => getting('listRooms', { json: { orgId: ORG } })],
    ['one that finds nothing', () => getting('getRoomById', none)],
    ['bad input', () => getting('getRoomById', bad)],
    ['input of another type', () => getting('getRoomById', dated)],
    ['no input', () => getting('getMessages')],
    ['empty input', () => getting('getMessages', '')],
    ['input that is no JSON', () => getting('getMessages', '{')],
    ['input that is no object', () => getting('getMessages', '7')],
    ['input that is null', () => getting('getMessages', 'null')],
    ['input that is a list', () => getting('getMessages', { json: [] })],
    ['a prototype', () => getting('getMessages', '{"json":{"__proto__":{"roomId":"x"}}}')],
    ['unknown keys', () => getting('getMessages', { json: { roomId: room, a: 1 } })],
    ['two inputs', () => getting('getRoomById', none, `input=${encodeURIComponent('{}')}`)],
    ['a mutation that fails', () => posting('deleteRoom', JSON.stringify(none))],
    ['a mutation with bad input', () => posting('deleteRoom', JSON.stringify(bad))],
    [
      'a mutation that changes nothing',
      () => posting('deleteRoom', JSON.stringify({ json: { roomId: room, isActive: true } })),
    ],
    ['a body that is no JSON', () => posting('deleteRoom', '{')],
    ['a body with an input in the query, too', () => posting('deleteRoom', '', 'input=%7B%7D')],
    [
      'a body that begins with a byte order mark',
      () => posting('deleteRoom', `\u{feff}${JSON.stringify(none)}`),
    ],
    ['no body', () => ({ path: '/trpc/deleteRoom', method: 'POST', headers: JSON_TYPE })],
    ['neither body nor type', () => ({ path: '/trpc/deleteRoom', method: 'POST' })],
    ['a batch', () => getting('getMessages,getRoomById', { 0: page(), 1: page() }, 'batch=1')],
    ['a batch of one', () => getting('getMessages', { 0: page() }, 'batch=1')],
    ['a batch of one that fails', () => getting('getMessages', { 0: none }, 'batch=1')],
    [
      'a batch that fares differently',
      () =>
        getting('getRoomById,getRoomById,getMessages', { 0: none, 1: bad, 2: page() }, 'batch=1'),
    ],
    [
      'a batch that fails alike',
      () => getting('getRoomById,getMessages', { 0: none, 1: none }, 'batch=1'),
    ],
    [
      'a batch without an input',
      () => getting('getRoomById,getMessages', { 1: page() }, 'batch=1'),
    ],
    ['a batch without inputs', () => getting('getRoomById,getMessages', undefined, 'batch=1')],
    ['a batch with a list of inputs', () => getting('getRoomById', [page()], 'batch=1')],
    ['a batch whose inputs are no JSON', () => getting('getRoomById,getMessages', '{', 'batch=1')],
    [
      'a batch of mutations',
      () => posting('deleteRoom,deleteRoom', JSON.stringify({ 0: none, 1: bad }), 'batch=1'),
    ],
    ['a batch of mutations without a body', () => posting('deleteRoom,deleteRoom', '', 'batch=1')],
    ['HEAD of a query', () => heading(getting('getMessages', page()))],
    ['HEAD of a mutation', () => heading(getting('deleteRoom', page()))],
    ['HEAD of a batch of mutations', () => heading(getting('deleteRoom', [], 'batch=1'))],
    ['GET of a mutation', () => getting('deleteRoom', page())],
    ['POST of a query', () => posting('getMessages', JSON.stringify(page()))],
    ['POST of a query with bad input', () => posting('getRoomById', JSON.stringify(bad))],
    ['POST of a query without a body', () => posting('getMessages', '')],
    [
      'a batch of queries by POST',
      () => posting('getMessages,getRoomById', JSON.stringify({ 0: page(), 1: none }), 'batch=1'),
    ],
    [
      'a batch of a query and a mutation by POST',
      () => posting('getMessages,deleteRoom', JSON.stringify({ 0: page(), 1: none }), 'batch=1'),
    ],
    [
      'a batch of a query and a mutation by GET',
      () => getting('getMessages,deleteRoom', { 0: page(), 1: none }, 'batch=1'),
    ],
    [
      'the cursor of an infinite query',
      () => getting('getMessages', { json: { roomId: room, cursor: null, direction: 'forward' } }),
    ],
    [
      'a cursor that is text',
      () => getting('getMessages', { json: { roomId: room, cursor: 'x' } }),
    ],
    [
      'a cursor of a query without pages',
      () => getting('getRoomById', { json: { roomId: room, cursor: null } }),
    ],
    ['a batch that is none', () => getting('getMessages,getMessages', { 0: page() }, 'batch=2')],
  ]
  for (const [name, make] of requests) {
    test(name, async () => {
      expect(await asked(make())).toEqual(await asked(byAdapter(make())))
    })
  }
})

test('HEAD changes nothing', async () => {
  for (const query of ['', 'batch=1']) {
    const input = query === '' ? page() : { 0: page() }
    await send(app, heading(getting('deleteRoom', input, query)))
    expect((await send(app, { path: `/api/v3/rooms/${room}` })).body).toMatchObject({
      isActive: true,
    })
  }
})

test.each([
  ['HEAD', { method: 'HEAD', path: '/trpc/getRoomById' }],
  ['a batch of too many calls', { path: `/trpc/${Array(60).fill('getRoomById')}?batch=1` }],
  ['connection parameters that are no JSON', { path: '/trpc/getRoomById?connectionParams=%7B' }],
  [
    'a stream of answers',
    { path: '/trpc/getRoomById?batch=1', headers: { 'trpc-accept': 'application/jsonl' } },
  ],
])(
  'a caller who is not let in does not end the process: %s',
  async (_title, outgoing: Outgoing) => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    onTestFinished(() => void process.off('unhandledRejection', unhandled))
    const headers = { ...outgoing.headers, Authorization: 'Bearer nobody' }
    const { status } = await send(app, { ...outgoing, headers })
    expect(status).toBeGreaterThanOrEqual(200)
    await turn()
    expect(unhandled).not.toHaveBeenCalled()
  },
)

test('what the calls of a batch share is read once, also when it is broken', async () => {
  for (const body of ['{"0":', '{"0":7,"1":{"json":{"__proto__":{}}}}']) {
    const parse = vi.spyOn(JSON, 'parse')
    await send(app, posting('deleteRoom,deleteRoom,deleteRoom', body, 'batch=1'))
    const times = parse.mock.calls.filter(([text]) => text === body).length
    parse.mockRestore()
    expect(times).toBe(1)
  }
})

test('a stream is not opened by POST', async () => {
  const body = JSON.stringify({ json: { roomId: room } })
  for (const name of ['onRoomEvents', 'onRoom%45vents', 'onRoomEvents,getRoomById']) {
    const answer = await send(app, posting(name, body, name.includes(',') ? 'batch=1' : ''))
    expect(answer.text).toMatch(/METHOD_NOT_ALLOWED|BAD_REQUEST/)
    expect(answer.text).not.toContain('ready')
  }
})

test('a query by POST is priced and checked as by GET', async () => {
  await using limited = await createTestApp({ RATE_LIMIT_ACTOR: '1000' })
  const [own, foreign] = [await openRoom(limited, 'own'), await openRoom(limited, 'foreign')]
  const { secret } = await createKey(limited, { orgId: ORG })
  const minted = await send(limited, {
    path: '/api/v3/user-tokens',
    method: 'POST',
    headers: { ...JSON_TYPE, Authorization: `Bearer ${secret}` },
    body: JSON.stringify({ orgId: ORG, userId: 'own', side: false }),
  })
  const headers = { ...JSON_TYPE, Authorization: `Bearer ${minted.body?.token}` }
  const left = ({ headers }: Answer) =>
    Number(/"actor";r=(\d+)/.exec(String(headers.ratelimit))?.[1])
  const ask = (outgoing: Outgoing) =>
    send(limited, { ...outgoing, headers: { ...outgoing.headers, ...headers } })
  const input = (roomId: string) => ({ json: { roomId } })
  const byGet = await ask(getting('getRoomById', input(own)))
  const byPost = await ask(posting('getRoomById', JSON.stringify(input(own))))
  expect([byGet.status, byPost.status]).toEqual([200, 200])
  expect(byPost.body).toEqual(byGet.body)
  expect(left(byGet) - left(byPost)).toBe(1)
  const two = JSON.stringify({ 0: input(own), 1: input(foreign) })
  const batch = await ask(posting('getRoomById,getRoomById', two, 'batch=1'))
  expect(batch.status).toBe(207)
  expect(left(byPost) - left(batch)).toBe(2)
  const hidden = await ask(posting('getRoomById', JSON.stringify(input(foreign))))
  expect(hidden.status).toBe(404)
})

test('a caller by HTTP/1.0 gets a streamed batch without chunks', async () => {
  const head = (version: string) =>
    `GET /trpc/getRoomById?batch=1&input=${encodeURIComponent(JSON.stringify({ 0: page() }))} HTTP/${version}\r\nHost: localhost\r\nConnection: close\r\ntrpc-accept: application/jsonl\r\n\r\n`
  const old = parseRaw(await raw(app, head('1.0')))
  expect(old.status).toBe(200)
  expect(old.headers).not.toHaveProperty('transfer-encoding')
  const lines = old.text.trimEnd().split('\n')
  expect(lines.length).toBeGreaterThan(1)
  for (const line of lines) JSON.parse(line)
  expect(parseRaw(await raw(app, head('1.1'))).headers['transfer-encoding']).toBe('chunked')
})

describe('tRPC’s own client', () => {
  const wordy = Array.from({ length: 50 }, (_, index) => ({
    orgId: ORG,
    userId: `${index}`.padEnd(200, 'é'),
    assignee: 'x'.repeat(200),
  }))
  const trpcUrl = () => `${app.url}/trpc`

  test.each([
    ['httpBatchLink', 'maxURLLength', httpBatchLink, { maxURLLength: 8_000 }],
    ['httpBatchStreamLink', 'maxURLLength', httpBatchStreamLink, { maxURLLength: 8_000 }],
    ['httpBatchLink', 'methodOverride', httpBatchLink, { methodOverride: 'POST' }],
    ['httpBatchStreamLink', 'methodOverride', httpBatchStreamLink, { methodOverride: 'POST' }],
  ] as const)(
    '%s with %s makes 50 calls with long inputs',
    async (_link, _option, link, options) => {
      const batch = { url: trpcUrl(), transformer: superjson, maxItems: 50, ...options }
      const client = createTRPCClient<AppRouter>({ links: [link(batch as never)] })
      const pages = await Promise.all(wordy.map((input) => client.listRooms.query(input)))
      expect(pages.map(({ items }) => items)).toEqual(wordy.map(() => []))
      const { items } = await client.getMessages.query({ roomId: room, limit: 1 })
      expect(items).toHaveLength(1)
    },
  )

  test('the typed client makes 50 calls with long inputs', async () => {
    const chat = createDowellChat({ url: app.url })
    const pages = await Promise.all(wordy.map((input) => chat.listRooms(input)))
    expect(pages).toHaveLength(50)
  })

  test('an infinite query of TanStack Query loads pages in both directions, and again', async () => {
    const created = await openRoom(app, 'infinite')
    for (let seq = 1; seq <= 9; seq++) {
      const message = { roomId: created, messageData: `${seq}`, author: 'a', side: true }
      await post('createMessage', { json: message })
    }
    const links = [httpBatchLink({ url: trpcUrl(), transformer: superjson })]
    const queryClient = new QueryClient({ defaultOptions: { queries: { retry: false } } })
    const trpc = createTRPCOptionsProxy<AppRouter>({
      client: createTRPCClient<AppRouter>({ links }),
      queryClient,
    })
    const { items: firstItems, after } = await createTRPCClient<AppRouter>({
      links,
    }).getMessages.query({ roomId: created, after: 'bTow', limit: 3 })
    expect(firstItems.map(({ seq }) => seq)).toEqual([1, 2, 3])
    const options = trpc.getMessages.infiniteQueryOptions(
      { roomId: created, limit: 3 },
      {
        initialCursor: { after },
        getPreviousPageParam: (page) => (page.hasBefore ? { before: page.before } : null),
        getNextPageParam: (page) => (page.hasAfter ? { after: page.after } : null),
      },
    )
    const observer = new InfiniteQueryObserver(queryClient, options as never)
    const pages = ({ data, error }: { data: unknown; error: unknown }) => {
      expect(error).toBeNull()
      const loaded = data as { pages: { items: { seq: number }[] }[] }
      return loaded.pages.map(({ items }) => items.map(({ seq }) => seq))
    }
    expect(pages(await observer.refetch())).toEqual([[4, 5, 6]])
    expect(pages(await observer.fetchPreviousPage())).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ])
    const all = [
      [1, 2, 3],
      [4, 5, 6],
      [7, 8, 9],
    ]
    const last = await observer.fetchNextPage()
    expect(pages(last)).toEqual(all)
    expect([last.hasPreviousPage, last.hasNextPage]).toEqual([false, false])
    // A refetch asks for the first page by the cursor that once meant "before".
    expect(pages(await observer.refetch())).toEqual(all)
    queryClient.clear()
  })

  test('an infinite query without a cursor begins with the newest page', async () => {
    const links = [httpBatchLink({ url: trpcUrl(), transformer: superjson })]
    const queryClient = new QueryClient()
    const trpc = createTRPCOptionsProxy<AppRouter>({
      client: createTRPCClient<AppRouter>({ links }),
      queryClient,
    })
    const { pages } = (await queryClient.fetchInfiniteQuery(
      trpc.getMessages.infiniteQueryOptions({ roomId: room, limit: 1 }, {
        getNextPageParam: (page: { hasBefore: boolean; before: string }) =>
          page.hasBefore ? { before: page.before } : null,
        pages: 3,
      } as never) as never,
    )) as { pages: { items: { seq: number }[] }[] }
    expect(pages.map(({ items }) => items[0]?.seq)).toEqual([3, 2, 1])
    queryClient.clear()
  })

  test.each([[{}], [{ before: 'a', after: 'b' }], [{ around: 'a' }], [7], ['bTow']])(
    'the cursor %j gets 400',
    async (cursor) => {
      const answer = await send(app, getting('getMessages', { json: { roomId: room, cursor } }))
      const errors = { cursor: [expect.stringContaining('{ before } or { after }')] }
      expectFailure('trpc', answer, { status: 400, errors })
    },
  )

  const links = { httpLink, httpBatchLink }
  for (const [name, link] of Object.entries(links)) {
    test(`${name}: answers have Dates, and failures their data`, async () => {
      const client = createTRPCClient<AppRouter>({
        links: [link({ url: `${app.url}/trpc`, transformer: superjson })],
      })
      const [found, missing, sent] = await Promise.allSettled([
        client.getMessages.query({ roomId: room, limit: 1 }),
        client.getRoomById.query({ roomId: UNKNOWN }),
        client.deleteRoom.mutate({ roomId: room, isActive: true }),
      ])
      expect(found).toMatchObject({ value: { items: [{ createdAt: expect.any(Date) }] } })
      expect(missing).toMatchObject({ reason: { data: { code: 'NOT_FOUND', httpStatus: 404 } } })
      expect(sent).toMatchObject({ value: { updatedAt: expect.any(Date) } })
    })
  }
})
