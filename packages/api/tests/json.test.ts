import fc from 'fast-check'
import superjson from 'superjson'
import { describe, expect, test } from 'vitest'
import { toJson, toSuperjson, transformer } from '../src/encoding/json.ts'
import { AppError } from '../src/operation/errors.ts'

const key = fc.oneof(
  fc.string({ maxLength: 4 }),
  fc.constantFrom('a.b', 'a\\b', 'a"b', '0', 'toJSON', 'items', 'createdAt'),
)

/** The values of outputs. */
const { data } = fc.letrec((tie) => ({
  data: fc.oneof(
    { maxDepth: 4 },
    fc.string(),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constant(null),
    fc.date({ noInvalidDate: true }),
    fc.array(tie('data'), { maxLength: 4 }),
    fc.dictionary(key, tie('data'), { maxKeys: 4, noNullPrototype: true }),
  ),
}))

/** Values that outputs hardly ever have. */
const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  key: key,
})

/** The result of a function, or that it throws. */
function outcome(run: () => unknown): unknown {
  try {
    return { result: run() }
  } catch {
    return 'thrown'
  }
}

describe('toJson', () => {
  test('returns the text of JSON.stringify', () => {
    fc.assert(
      fc.property(fc.oneof(data, anything), (value) => {
        expect(outcome(() => toJson(value))).toEqual(outcome(() => JSON.stringify(value)))
      }),
    )
  })
})

test('every time is encoded as Date.toISOString does', () => {
  const day = 86_400_000
  const edges = [-1, 0, 1, 999, 1_000, 59_999, 60_000, 3_599_999, 3_600_000, day - 1]
  const greatest = 8.64e15
  // More days than the cache has, before and after 1970, and years of more than four digits.
  const days = Array.from({ length: 1_500 }, (_, n) => (n - 700) * 37 * day)
  const times = [...days.flatMap((at) => edges.map((edge) => at + edge)), -greatest, greatest]
  for (const time of [...times, ...times.toReversed()]) {
    expect(JSON.parse(toJson({ at: new Date(time) })).at).toBe(new Date(time).toISOString())
  }
})

describe('toSuperjson', () => {
  test('returns the text of superjson for plain data with dates', () => {
    fc.assert(
      fc.property(data, (value) => {
        const text = toSuperjson(value)
        expect(JSON.parse(text)).toEqual(JSON.parse(superjson.stringify(value)))
        expect(superjson.parse(text)).toEqual(superjson.parse(superjson.stringify(value)))
      }),
    )
  })

  test('decodes to the same value as superjson for all other data', () => {
    fc.assert(
      fc.property(anything, (value) => {
        const ours = outcome(() => superjson.parse(toSuperjson(value)))
        expect(ours).toEqual(outcome(() => superjson.parse(superjson.stringify(value))))
      }),
    )
    for (const value of [
      { a: undefined },
      [undefined],
      [Number.NaN, -0, Number.POSITIVE_INFINITY],
      { at: new Date(Number.NaN) },
      new Date(0),
      { big: 1n, map: new Map([[{}, new Date(1)]]), set: new Set([1]) },
      { 'a.b': new Date(0), 'c\\d': { e: new Date(1) } },
    ]) {
      const ours = superjson.parse(toSuperjson(value))
      expect(ours).toStrictEqual(superjson.parse(superjson.stringify(value)))
    }
  })
})

describe('transformer.deserialize', () => {
  test('decodes values that an input may have as superjson does', () => {
    const shared = { a: [1] }
    for (const value of [
      undefined,
      { a: undefined, b: [undefined, null] },
      { 'a.b': { 'c\\d': undefined } },
      { limit: Number.NaN, at: new Date(0) },
      { custom: { one: shared, other: shared } },
    ]) {
      const sent = JSON.parse(superjson.stringify(value))
      expect(transformer.deserialize(sent)).toStrictEqual(value)
    }
  })

  test('rejects superjson types that are expensive to decode', () => {
    const expensive: [json: unknown, type: unknown][] = [
      [[1, 2], 'set'],
      [[[1, 2]], 'map'],
      [4_000_000_000, ['typed-array', 'Uint8Array']],
      ['9'.repeat(100), 'bigint'],
      ['/a/', 'regexp'],
      ['https://a.test', 'URL'],
      [{ message: 'a' }, 'Error'],
      [{}, ['class', 'Date']],
      ['a', ['custom', 'a']],
      ['a', ['symbol', 'a']],
      ['a', 'constructor'],
    ]
    for (const [json, type] of expensive) {
      for (const sent of [
        { json, meta: { values: [type], v: 1 } },
        { json: { a: json }, meta: { values: { a: [type] }, v: 1 } },
        { json: { a: [json] }, meta: { values: { a: { 0: [type] } }, v: 1 } },
        { json: { a: [json] }, meta: { values: { a: ['undefined', { 0: [type] }] }, v: 1 } },
      ]) {
        expect(() => transformer.deserialize(sent as never), JSON.stringify(sent)).toThrow(AppError)
      }
    }
  })

  test('rejects more than 100 superjson annotations, and long paths', () => {
    const paths = (count: number) => Array.from({ length: count }, (_, n) => `a${n}`)
    const dates = (count: number) => ({
      json: Object.fromEntries(paths(count).map((path) => [path, '2026-01-01'])),
      meta: { values: Object.fromEntries(paths(count).map((path) => [path, ['Date']])), v: 1 },
    })
    // An annotation counts twice: its path and its type.
    expect(transformer.deserialize(dates(50) as never)).toMatchObject({
      a49: new Date('2026-01-01'),
    })
    const same = (equalities: unknown) => ({
      json: { a: {}, b: {} },
      meta: { referentialEqualities: equalities },
    })
    for (const sent of [
      dates(101),
      dates(100_000),
      same({ a: Array(101).fill('b') }),
      same([paths(101)]),
      same(Object.fromEntries(paths(101).map((path) => [path, ['b']]))),
      same({ a: ['b'.repeat(1_001)] }),
      { json: {}, meta: { values: { ['a.'.repeat(501)]: ['Date'] } } },
    ]) {
      expect(() => transformer.deserialize(sent as never)).toThrow(AppError)
    }
  })

  test('throws only AppError for malformed superjson metadata', () => {
    for (const meta of [
      { values: { 'a.b.c': ['Date'] }, v: 1 },
      { values: { 'a\\b': ['Date'] }, v: 1 },
      { values: { 'constructor.prototype.x': ['Date'] }, v: 1 },
      { values: null, referentialEqualities: { 'a.b.c': ['d'] } },
      { referentialEqualities: [['a.b.c', 'd']] },
      { referentialEqualities: 7 },
    ]) {
      const sent = { json: { a: null }, meta }
      try {
        transformer.deserialize(sent as never)
      } catch (error) {
        expect(error, JSON.stringify(sent)).toBeInstanceOf(AppError)
      }
    }
  })
})
