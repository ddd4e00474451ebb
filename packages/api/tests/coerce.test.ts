import { createTestDb } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createCoercer } from '../src/encoding/coerce.ts'
import { createOpenApiDocument } from '../src/openapi/document.ts'
import { execute } from '../src/operation/execute.ts'
import { type CallName, operationNamed } from '../src/operation/operations.ts'
import { createCaller } from '../src/operation/trpc.ts'
import { createRoom } from '../src/rooms/createRoom.ts'

import { createContext, createDeps, run } from './support.ts'

/** The word in any casing, with white space around it. */
const variants = (word: string) =>
  fc
    .tuple(fc.constantFrom('', ' ', '\t', '\n  '), fc.mixedCase(fc.constant(word)))
    .map(([space, text]) => `${space}${text}${space}`)

const yes = ['true', '1', 'yes', 'on', 't', 'y']
const no = ['false', '0', 'no', 'off', 'f', 'n']

/** Parses an input as REST does. */
function createParser(schema: z.ZodObject) {
  const coerce = createCoercer(schema)
  return {
    parse: (fields: Record<string, unknown>) => schema.parse(coerce(fields)),
    safeParse: (fields: Record<string, unknown>) => schema.safeParse(coerce(fields)),
  }
}

/** Parses one field as REST does. */
function createFieldParser(field: z.ZodType) {
  const { parse, safeParse } = createParser(z.strictObject({ field }))
  return {
    parse: (value: unknown) => parse({ field: value }).field,
    safeParse: (value: unknown) => safeParse({ field: value }),
  }
}

describe('a boolean field', () => {
  const schema = createFieldParser(z.boolean())

  test('accepts the words for true and false in any casing', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...yes).chain(variants),
        fc.constantFrom(...no).chain(variants),
        (yes, no) => {
          expect(schema.parse(yes)).toBe(true)
          expect(schema.parse(no)).toBe(false)
        },
      ),
    )
    for (const value of [true, 1]) expect(schema.parse(value)).toBe(true)
    for (const value of [false, 0]) expect(schema.parse(value)).toBe(false)
  })

  test('rejects every other value', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const words = [...yes, ...no]
        const isKnown =
          typeof value === 'boolean' ||
          value === 1 ||
          value === 0 ||
          (typeof value === 'string' && words.includes(value.trim().toLowerCase()))
        expect(schema.safeParse(value).success).toBe(isKnown)
      }),
    )
    for (const value of ['', 'nein', 'truee', 'null', '2', 2, -1, null, undefined, {}, [true]]) {
      expect(schema.safeParse(value).success).toBe(false)
    }
  })
})

describe('an integer field', () => {
  const schema = createFieldParser(z.int())

  test('accepts decimal digits', () => {
    fc.assert(
      fc.property(fc.integer({ min: -999_999_999, max: 999_999_999_999_999 }), (number) => {
        expect(schema.parse(`${number}`)).toBe(number)
        expect(schema.parse(number)).toBe(number)
      }),
    )
  })

  test.for(['', ' ', ' 1', '1 ', '1\n', '1.5', '1e3', '0x10', '+1', '--1', 'Infinity', 'NaN', '١'])(
    'rejects %j',
    (text) => {
      expect(schema.safeParse(text).success).toBe(false)
    },
  )

  test('rejects an integer beyond the safe range instead of rounding it', () => {
    expect(schema.safeParse('9007199254740993').success).toBe(false)
  })
})

test('coercion keeps text fields, optional fields and defaults', () => {
  const schema = z.strictObject({
    text: z.string(),
    maybe: z.boolean().optional(),
    fallback: z.int().default(7),
    both: z.boolean().default(true).optional(),
  })
  const parser = createParser(schema)
  expect(parser.parse({ text: 'false' })).toEqual(schema.parse({ text: 'false' }))
  expect(parser.parse({ text: '1', maybe: 'no', fallback: '8', both: 'off' })).toEqual(
    schema.parse({ text: '1', maybe: false, fallback: 8, both: false }),
  )
  expect(parser.safeParse({ text: 1 }).success).toBe(false)
  expect(parser.safeParse({ text: 'a', unknown: 1 }).success).toBe(false)
})

test('an empty value is null where a query may have null, but not in a body', () => {
  const schema = z.strictObject({
    text: z.string().optional(),
    maybe: z.string().nullable().optional(),
  })
  const sent = { text: '', maybe: '' }
  expect(createCoercer(schema)(sent)).toEqual({ text: '', maybe: null })
  expect(createCoercer(schema)({ maybe: ' ' })).toEqual({ maybe: ' ' })
  expect(createCoercer(schema, true)(sent)).toEqual(sent)
})

test('a list that may be a single value is a list in a query', () => {
  const words = z.enum(['a', 'b'])
  const schema = z.strictObject({ field: z.union([words, z.array(words)]).optional() })
  expect(createCoercer(schema)({ field: 'a' })).toEqual({ field: ['a'] })
  expect(createCoercer(schema)({ field: ['a,b', 'b'] })).toEqual({ field: ['a', 'b', 'b'] })
  expect(createCoercer(schema)({})).toEqual({})
})

test('coercion changes neither the fields as sent nor inherited keys', () => {
  const schema = z.strictObject({ flag: z.boolean().optional(), count: z.int().optional() })
  const sent = Object.freeze({ flag: 'yes', count: '3' })
  expect(createCoercer(schema)(sent)).toEqual({ flag: true, count: 3 })
  expect(sent).toEqual({ flag: 'yes', count: '3' })
  expect(createCoercer(schema)(Object.create({ flag: 'yes' }))).toEqual({})
  expect(schema.safeParse({ flag: 'true' }).success).toBe(false)
})

test('tRPC rejects text for booleans and numbers, even after REST calls and document generation', async () => {
  await using db = await createTestDb()
  const context = createContext(createDeps(db))
  const { room } = await run(context.deps, context.actor, createRoom, {
    orgId: 'DOWELL12345',
    userId: 'ABCD12345',
    portfolioName: 'umair',
    productName: 'WIFIQRCODE',
  })
  const rest = (name: CallName, fields: Record<string, unknown>) => {
    const operation = operationNamed(name)
    const coerce = createCoercer(operation.input)
    return execute(context, operation, () => coerce({ roomId: room.id, ...fields }))
  }
  createOpenApiDocument('3.1.0')
  // "false" deletes, "yes" restores.
  expect(await rest('deleteRoom', { isActive: 'false' })).toMatchObject({ isActive: false })
  expect(await rest('deleteRoom', { isActive: 'yes' })).toMatchObject({ isActive: true })
  const unclear = rest('deleteRoom', { isActive: 'perhaps' })
  await expect(unclear).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  expect(await rest('getMessages', { limit: '2' })).toMatchObject({ items: [] })

  const caller = createCaller(context)
  const rejection = { code: 'BAD_REQUEST' }
  for (const text of ['false', 'true', '1', '']) {
    const deleting = caller.deleteRoom({ roomId: room.id, isActive: text as never })
    await expect(deleting).rejects.toMatchObject(rejection)
    const sending = caller.createMessage({
      roomId: room.id,
      messageData: 'message',
      author: 'client',
      side: text as never,
    })
    await expect(sending).rejects.toMatchObject(rejection)
  }
  const reading = caller.getMessages({ roomId: room.id, limit: '2' as never })
  await expect(reading).rejects.toMatchObject(rejection)
  expect(await rest('getRoomById', {})).toMatchObject({ isActive: true })
})
