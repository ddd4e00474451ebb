import { setImmediate as turn } from 'node:timers/promises'
import type { AppRouter } from '@dowell-chat/api'
import { createTRPCClient, httpBatchLink, httpLink } from '@trpc/client'
import superjson from 'superjson'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Answer, type Outgoing, send } from './http.ts'
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

describe('tRPC’s own client', () => {
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
