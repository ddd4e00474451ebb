import { DatabaseError } from '@dowell-chat/db'
import { TRPCError } from '@trpc/server'
import { fetchRequestHandler } from '@trpc/server/adapters/fetch'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import fc from 'fast-check'
import superjson from 'superjson'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { AppError, badField, type ErrorCode, errorTable } from '../src/operation/errors.ts'
import { fieldErrors, toPublicError } from '../src/operation/publicError.ts'
import { appRouter } from '../src/operation/trpc.ts'
import { createContext } from './support.ts'

const SECRET = 'an internal text'

const internal = {
  code: 'INTERNAL_SERVER_ERROR',
  status: 500,
  message: errorTable.INTERNAL_SERVER_ERROR.text,
}

describe('internal details never leak through', () => {
  test.for<[string, unknown]>([
    ['an error', new Error(SECRET)],
    ['an error with details', Object.assign(new Error(SECRET), { code: SECRET, status: 400 })],
    ['an error that looks like ours', Object.assign(new Error(SECRET), { name: 'AppError' })],
    ['text', SECRET],
    ['an object', { message: SECRET, code: 'NOT_FOUND', status: 404 }],
    ['nothing', undefined],
    ['null', null],
    ['a wrong database URL', new DatabaseError('bad-url', SECRET)],
    ['a file that cannot be opened', new DatabaseError('cannot-open', SECRET)],
    ['a wrong schema', new DatabaseError('wrong-schema', SECRET)],
    ['failed output', tRpc('INTERNAL_SERVER_ERROR', z.string().safeParse(1).error)],
    ['an error inside a procedure', tRpc('INTERNAL_SERVER_ERROR', new Error(SECRET))],
    ['a code that we do not use', tRpc('PAYMENT_REQUIRED')],
    ['a code that a later tRPC may add', tRpc('BRAND_NEW' as 'CONFLICT')],
    ['our own error with a cause', new AppError('INTERNAL_SERVER_ERROR', { cause: SECRET })],
  ])('%s', ([, error]) => {
    expect(toPublicError(error)).toEqual(internal)
  })

  test('a value that the database cannot store is a mistake of the caller', () => {
    expect(toPublicError(new DatabaseError('not-storable', SECRET))).toEqual({
      code: 'BAD_REQUEST',
      status: 400,
      message: 'A value is too long for the database, or has a character that it cannot store',
    })
  })

  test.for(['busy', 'overloaded', 'closed'] as const)('a database that is %s', (reason) => {
    const expected = {
      code: 'SERVICE_UNAVAILABLE',
      status: 503,
      message: errorTable.SERVICE_UNAVAILABLE.text,
      retryAfter: 1,
    }
    const error = new DatabaseError(reason, SECRET)
    expect(toPublicError(error)).toEqual(expected)
    expect(toPublicError(tRpc('INTERNAL_SERVER_ERROR', error))).toEqual(expected)
  })

  test.for(['newer-schema', 'older-schema'] as const)('a database with a %s', (reason) => {
    expect(toPublicError(new DatabaseError(reason, SECRET))).toEqual({
      code: 'SERVICE_UNAVAILABLE',
      status: 503,
      message:
        'Another version of the server has changed the database, so this one only reads; try again',
      retryAfter: 1,
    })
  })

  test("tRPC's own error text", () => {
    for (const code of ['BAD_REQUEST', 'PARSE_ERROR', 'NOT_FOUND', 'UNAUTHORIZED'] as const) {
      const error = toPublicError(tRpc(code, new Error(SECRET)))
      expect(error).toEqual({
        code,
        status: errorTable[code].status,
        message: errorTable[code].text,
      })
    }
  })
})

function tRpc(code: TRPCError['code'], cause?: unknown): TRPCError {
  return new TRPCError({ code, message: SECRET, cause })
}

test('an AppError is public as it is, also as the cause of a TRPCError', () => {
  const error = badField('limit', 'must be less')
  const expected = {
    code: 'BAD_REQUEST',
    status: 400,
    message: errorTable.BAD_REQUEST.text,
    errors: { limit: ['must be less'] },
  }
  expect(toPublicError(error)).toEqual(expected)
  expect(toPublicError(tRpc('INTERNAL_SERVER_ERROR', error))).toEqual(expected)
  expect(toPublicError(new AppError('NOT_FOUND', { message: 'There is no such room' }))).toEqual({
    code: 'NOT_FOUND',
    status: 404,
    message: 'There is no such room',
  })
})

function errorsOf(schema: z.ZodType, input: unknown) {
  const { error } = schema.safeParse(input)
  if (!error) throw new Error('the input is valid')
  return fieldErrors(error)
}

describe('field errors', () => {
  const schema = z.strictObject({
    a: z.string({ error: 'must be text' }).optional(),
    list: z.array(z.strictObject({ b: z.int({ error: 'must be a number' }) })).optional(),
  })

  test('use the field names of the request', () => {
    expect(errorsOf(schema, { a: 1, x: 1, list: [{ b: 1 }, { b: '2', y: 1 }] })).toEqual({
      a: ['must be text'],
      x: ['is not a known key'],
      'list.1.b': ['must be a number'],
      'list.1.y': ['is not a known key'],
    })
    expect(Object.keys(errorsOf(schema, 'text'))).toEqual(['input'])
  })

  test('are limited in number and length', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`key ${i}`, 1]))
    expect(Object.keys(errorsOf(schema, many))).toHaveLength(20)

    const long = 'x'.repeat(100)
    const same = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`${long}${i}`, 1]))
    expect(errorsOf(schema, same)).toEqual({ [long]: ['is not a known key'] })
  })

  test('have names that every wire format can carry', () => {
    const key = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 150 }),
      fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', '', '\ud83d', 'a.b'),
      fc.constant(`${'x'.repeat(99)}😀`),
    )
    fc.assert(
      fc.property(fc.array(key, { minLength: 1, maxLength: 30 }), (keys) => {
        // Own keys, also for special names, as JSON.parse creates them.
        const input = Object.fromEntries(keys.map((key) => [key, {}]))
        const { success, error } = schema.safeParse(input)
        if (success) return
        const errors = fieldErrors(error)
        expect(Object.keys(errors).length).toBeLessThanOrEqual(20)
        for (const name of Object.keys(errors)) {
          expect(name.length).toBeLessThanOrEqual(102)
          expect(name.isWellFormed()).toBe(true)
        }
        expect(Object.getPrototypeOf(errors)).toBe(Object.prototype)
        expect(superjson.parse(superjson.stringify(errors))).toEqual(errors)
        expect(JSON.parse(JSON.stringify(errors))).toEqual(errors)
      }),
    )
  })

  test.for(['__proto__', 'constructor', 'prototype'])('quote the name %s', (name) => {
    const issue = { code: 'custom' as const, path: [name], message: 'is odd', input: 1 }
    expect(fieldErrors(new z.ZodError([issue]))).toEqual({ [`"${name}"`]: ['is odd'] })
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })
})

test.for(['constructor', 'prototype', 'toString', 'hasOwnProperty', 'x'])(
  'tRPC reports the unknown key %s',
  async (key) => {
    const input = JSON.stringify({ json: { roomId: '64e96a73f59c079a226e1ae9', [key]: 1 } })
    const response = await fetchRequestHandler({
      endpoint: '/trpc',
      router: appRouter,
      req: new Request(`http://server/trpc/getRoomById?input=${encodeURIComponent(input)}`),
      // Rejected input does not use the deps.
      createContext: () => createContext({} as never),
    })
    expect(response.status).toBe(400)
    const { error } = (await response.json()) as { error: { json: { data: object } } }
    const name = key === 'constructor' || key === 'prototype' ? `"${key}"` : key
    expect(error.json.data).toMatchObject({
      code: 'BAD_REQUEST',
      requestId: 'request',
      errors: { [name]: ['is not a known key'] },
    })
  },
)

test.for(['{}', '{"json":null}', '{"json":[]}', '{"json":"x"}', undefined])(
  'tRPC reports an input that is not an object (%s) with our text',
  async (input) => {
    const query = input === undefined ? '' : `?input=${encodeURIComponent(input)}`
    const response = await fetchRequestHandler({
      endpoint: '/trpc',
      router: appRouter,
      req: new Request(`http://server/trpc/getRoomById${query}`),
      createContext: () => createContext({} as never),
    })
    const { error } = (await response.json()) as { error: { json: { data: object } } }
    expect(error.json.data).toMatchObject({ errors: { input: ['must be an object'] } })
  },
)

describe('the error table', () => {
  const entries = Object.entries(errorTable) as [ErrorCode, (typeof errorTable)[ErrorCode]][]

  test.for(entries)('%s is consistent', ([code, { status, trpc, text }]) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(600)
    expect(text).toMatch(/^[A-Z].*[^.]$/)
    // tRPC clients see the status of tRPC's code: it must be the same, or 400 where tRPC has no such code.
    const ofTrpc = getHTTPStatusCodeFromError(new TRPCError({ code: trpc }))
    const missingInTrpc: ErrorCode[] = ['URI_TOO_LONG', 'HEADERS_TOO_LARGE']
    expect(ofTrpc).toBe(missingInTrpc.includes(code) ? 400 : status)

    expect(toPublicError(new AppError(code))).toEqual({ code, status, message: text })
    expect(toPublicError(tRpc(trpc, new AppError(code)))).toEqual({ code, status, message: text })
  })

  test('every tRPC code of the table maps back to our code', () => {
    const pairs = entries.map(([, { trpc }]) => [trpc, toPublicError(tRpc(trpc)).code] as const)
    for (const [trpc, code] of pairs) {
      expect(errorTable[code].trpc).toBe(trpc)
      expect(code).toBe(trpc === 'METHOD_NOT_SUPPORTED' ? 'METHOD_NOT_ALLOWED' : trpc)
    }
  })

  test('has a different text for each code', () => {
    expect(new Set(entries.map(([, { text }]) => text)).size).toBe(entries.length)
  })
})
