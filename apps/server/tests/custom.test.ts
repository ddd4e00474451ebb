import { isDeepStrictEqual } from 'node:util'
import { runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, send } from './http.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'

let app: TestApp
let roomId: string

beforeAll(async () => {
  app = await createTestApp({ RATE_LIMIT_ADDRESS: '0', RATE_LIMIT_FAILURES: '0' })
  roomId = await openRoom(app)
})

afterAll(() => app[Symbol.asyncDispose]())

type Errors = Record<string, string[]> | undefined

interface Outcome {
  readonly status: number
  readonly errors: Errors
}

function post(path: string, body: string, method = 'POST', headers = {}): Promise<Answer> {
  const json = { 'Content-Type': 'application/json', ...headers }
  return send(app, { path, method, headers: json, body })
}

function outcomeOf(reply: unknown): Outcome {
  const { error } = reply as { error?: { json: { data: { httpStatus: number; errors: Errors } } } }
  return { status: error?.json.data.httpStatus ?? 200, errors: error?.json.data.errors }
}

const nothing = '{"json":{"roomId":"nonsense"}}'

/** Sends a room's `custom` as text, by every way that takes it. */
const ways: Record<string, (custom: string) => Promise<Outcome>> = {
  async v3(custom) {
    const { status, body } = await post(`/api/v3/rooms/${roomId}`, `{"custom":${custom}}`, 'PATCH')
    return { status, errors: body?.errors as never }
  },
  async tRPC(custom) {
    const input = `{"json":{"roomId":"${roomId}","custom":${custom}}}`
    return outcomeOf((await post('/trpc/updateRoom', input)).body)
  },
  async 'tRPC batch'(custom) {
    const input = `{"json":{"roomId":"${roomId}","custom":${custom}}}`
    const inputs = `{"0":${nothing},"1":${input},"2":${nothing}}`
    const path = '/trpc/updateRoom,updateRoom,updateRoom?batch=1'
    const replies = (await post(path, inputs)).body as unknown as unknown[]
    for (const at of [0, 2]) {
      expect(Object.keys(outcomeOf(replies[at]).errors ?? {})).toEqual(['roomId'])
    }
    return outcomeOf(replies[1])
  },
}

async function readCustom(): Promise<string> {
  const { text } = await send(app, { path: `/api/v3/rooms/${roomId}` })
  return /"custom":(.*),"createdAt"/.exec(text)?.[1] ?? ''
}

const KEPT = 'must be a number that is kept as it is; send it as text'
const SAFE = expect.stringContaining('from -9007199254740991 to 9007199254740991')

describe.each(Object.keys(ways))('custom over %s', (way) => {
  const change = ways[way] as (typeof ways)[string]

  test.for<[custom: string, path: string, problem: unknown]>([
    ['{"n":9007199254740993}', 'n', SAFE],
    ['{"n":-9007199254740992}', 'n', SAFE],
    ['{"a":[{"n":123456789012345678901234567890}]}', 'a.0.n', SAFE],
    ['{"n":1e300}', 'n', SAFE],
    ['{"n":1e400}', 'n', SAFE],
    ['{"n":-1E-400}', 'n', KEPT],
    ['{"n":0.10000000000000001}', 'n', KEPT],
    ['{"a":{"b":[1,3.14159265358979323846]}}', 'a.b.1', KEPT],
    ['{"n":-0}', 'n', expect.stringContaining('-0 is not kept')],
    ['{"n":-0.0}', 'n', expect.stringContaining('-0 is not kept')],
    ['{"t":"\\ud800"}', 't', expect.stringContaining('character 1 is U+D800, half of')],
    ['{"a":[0,"x\\udc00"]}', 'a.1', expect.stringContaining('character 2 is U+DC00')],
    ['{"t":"a\\u0000"}', 't', expect.stringContaining('NUL: character 2 is U+0000')],
    ['{"a":{"\\ud800":1}}', 'a.\ufffd', expect.stringContaining('half of a surrogate pair')],
    ['{"a\\u0000":1}', 'a\ufffd', expect.stringContaining('character NUL')],
    ['{"a":1,"a":1}', 'a', 'must not be given twice'],
    ['{"a":{"b":1,"c":[],"\\u0062":2}}', 'a.b', 'must not be given twice'],
    ['[{"a":1,"a":1}]', '0.a', 'must not be given twice'],
    ['{"a":[{"__proto__":1}]}', 'a.0.__proto__', expect.stringContaining('__proto__')],
  ])('%s is refused with its path', async ([custom, path, problem]) => {
    const before = await readCustom()
    const { status, errors } = await change(custom)
    expect(status).toBe(400)
    expect(errors).toEqual({ [`custom.${path}`]: [problem] })
    expect(await readCustom()).toBe(before)
  })

  test.for([
    '{"n":9007199254740991,"m":-9007199254740991,"z":0}',
    '{"n":[0.1,1e-7,5e-324,1.5e-300,0.30000000000000004,123456.789e3,2.5E+2,1.0,100]}',
    '{"t":"\\ud83d\\ude00 \\u0001 \\"[{,:-1e400\\\\\\" ","":"","a.b":{"a":{"a":1}}}',
    '{"a":[{"k":1},{"k":1}],"b":{"k":1},"k":1,"text":"\\"a\\":1,\\"a\\":1"}',
    ' { "a" : [ ] , "b" : { } , "c" : [ 1 , [ 2 ] ] } ',
  ])('%s is kept', async (custom) => {
    expect(await change(custom)).toEqual({ status: 200, errors: undefined })
    expect(JSON.parse(await readCustom())).toEqual(JSON.parse(custom))
  })

  test('whatever is accepted comes back deeply equal, in the same bytes each time', async () => {
    const number = fc.oneof(
      fc.double().map(String),
      fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
      fc.stringMatching(/^-?(0|[1-9]\d{0,20})(\.\d{1,20})?([eE][-+]?\d{1,3})?$/),
    )
    const key = fc.oneof(fc.constantFrom('a', 'b', '__proto__', ''), fc.string({ unit: 'binary' }))
    const { json } = fc.letrec<{ json: string; object: string }>((tie) => ({
      json: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        number.filter((text) => !/[Nn]/.test(text)),
        fc.oneof(fc.string({ unit: 'binary' }), fc.string()).map((text) => JSON.stringify(text)),
        fc.constantFrom('null', 'true', 'false', '"\\ud800"', '"\\u0000"', '-0'),
        fc.array(tie('json'), { maxLength: 4 }).map((items) => `[${items}]`),
        tie('object'),
      ),
      object: fc
        .array(fc.tuple(key, tie('json')), { maxLength: 4 })
        .map((all) => `{${all.map(([name, value]) => `${JSON.stringify(name)}:${value}`)}}`),
    }))
    const custom = fc.array(json, { maxLength: 3 }).map((items) => `{"a":[${items}]}`)
    let accepted = 0
    await fc.assert(
      fc.asyncProperty(custom, async (text) => {
        const { status, errors } = await change(text)
        if (status !== 200) {
          expect({ status, keys: Object.keys(errors ?? {}) }).toEqual({
            status: 400,
            keys: expect.arrayContaining([expect.stringMatching(/^custom/)]),
          })
          return
        }
        accepted++
        const first = await readCustom()
        expect(isDeepStrictEqual(JSON.parse(first), JSON.parse(text))).toBe(true)
        expect(numbersIn(first)).toEqual(numbersIn(text))
        expect(keysIn(first)).toBe(keysIn(text))
        expect((await change(first)).status).toBe(200)
        expect(await readCustom()).toBe(first)
      }),
      { numRuns: runs(150, 40) },
    )
    expect(accepted).toBeGreaterThan(5)
  })
})

/** The exact values of all numbers, as fractions of powers of ten. */
function numbersIn(json: string): string[] {
  const literals = json.replace(/"(?:[^"\\]|\\.)*"/g, '""').match(/-?\d[\d.eE+-]*/g) ?? []
  return literals.map((literal) => {
    const [, sign = '', whole = '', fraction = '', exponent = '0'] =
      /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(literal) ?? []
    let digits = BigInt(whole + fraction)
    let power = Number(exponent) - fraction.length
    while (digits !== 0n && digits % 10n === 0n) {
      digits /= 10n
      power++
    }
    return digits === 0n ? '0' : `${sign}${digits}e${power}`
  })
}

/** How many keys a text has, those that are given twice included. */
function keysIn(json: string): number {
  return json.match(/"(?:[^"\\]|\\.)*"\s*:/g)?.length ?? 0
}

test('a streamed batch, which tRPC parses itself, refuses what would be lost', async () => {
  const before = await readCustom()
  for (const custom of ['{"n":0.10000000000000001}', '{"a":1,"a":2}']) {
    const input = `{"0":{"json":{"roomId":"${roomId}","custom":${custom}}}}`
    const headers = { 'trpc-accept': 'application/jsonl' }
    const { text } = await post('/trpc/updateRoom?batch=1', input, 'POST', headers)
    expect(text).toContain('"BAD_REQUEST"')
    expect(text).toMatch(/"0\.json\.custom\.(n|a)"/)
    const encoded = await post('/trpc/getRoomById%2CupdateRoom?batch=1', input, 'POST')
    expect(encoded.text).toMatch(/"0\.json\.custom\.(n|a)"/)
  }
  expect(await readCustom()).toBe(before)
})

test('a text that repeats a key beside custom is refused as well', async () => {
  const twice = '{"subject":"a","subject":"b"}'
  const rest = await post(`/api/v3/rooms/${roomId}`, twice, 'PATCH')
  expect([rest.status, rest.body?.errors]).toEqual([400, { subject: ['must not be given twice'] }])
})

test('a large and deep text is read in time that grows with its length', async () => {
  const depth = 20_000
  const deep = '{"a":'.repeat(depth) + '1'.repeat(20) + '}'.repeat(depth)
  const backslashes = JSON.stringify('\\"'.repeat(20_000))
  for (const custom of [
    deep,
    `{"a":${backslashes}}`,
    `{"a":[${Array(5_000).fill('0.10000000000000001')}]}`,
  ]) {
    for (const change of Object.values(ways)) {
      const { status, errors } = await change(custom)
      expect(status).toBe(400)
      expect(Object.keys(errors ?? {}).length).toBeLessThanOrEqual(20)
    }
  }
})
