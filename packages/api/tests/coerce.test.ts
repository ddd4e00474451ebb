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

/** Text in any casing, with room around it. */
const dressed = (word: string) =>
  fc
    .tuple(fc.constantFrom('', ' ', '\t', '\n  '), fc.mixedCase(fc.constant(word)))
    .map(([space, text]) => `${space}${text}${space}`)

const yes = ['true', '1', 'yes', 'on', 't', 'y']
const no = ['false', '0', 'no', 'off', 'f', 'n']

/** How REST reads an input. */
function reading(schema: z.ZodObject) {
  const read = createCoercer(schema)
  return {
    parse: (fields: Record<string, unknown>) => schema.parse(read(fields)),
    safeParse: (fields: Record<string, unknown>) => schema.safeParse(read(fields)),
  }
}

/** How REST reads one field. */
function readingOne(field: z.ZodType) {
  const { parse, safeParse } = reading(z.strictObject({ field }))
  return {
    parse: (value: unknown) => parse({ field: value }).field,
    safeParse: (value: unknown) => safeParse({ field: value }),
  }
}

describe('a boolean', () => {
  const schema = readingOne(z.boolean())

  test('is read by its meaning', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...yes).chain(dressed),
        fc.constantFrom(...no).chain(dressed),
        (yes, no) => {
          expect(schema.parse(yes)).toBe(true)
          expect(schema.parse(no)).toBe(false)
        },
      ),
    )
    for (const value of [true, 1]) expect(schema.parse(value)).toBe(true)
    for (const value of [false, 0]) expect(schema.parse(value)).toBe(false)
  })

  test('is nothing else', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const words = [...yes, ...no]
        const known =
          typeof value === 'boolean' ||
          value === 1 ||
          value === 0 ||
          (typeof value === 'string' && words.includes(value.trim().toLowerCase()))
        expect(schema.safeParse(value).success).toBe(known)
      }),
    )
    for (const value of ['', 'nein', 'truee', 'null', '2', 2, -1, null, undefined, {}, [true]]) {
      expect(schema.safeParse(value).success).toBe(false)
    }
  })
})

describe('a whole number', () => {
  const schema = readingOne(z.int())

  test('is read from its digits', () => {
    fc.assert(
      fc.property(fc.integer({ min: -999_999_999, max: 999_999_999_999_999 }), (number) => {
        expect(schema.parse(`${number}`)).toBe(number)
        expect(schema.parse(number)).toBe(number)
      }),
    )
  })

  test.for(['', ' ', ' 1', '1 ', '1\n', '1.5', '1e3', '0x10', '+1', '--1', 'Infinity', 'NaN', '١'])(
    'is not read from %j',
    (text) => {
      expect(schema.safeParse(text).success).toBe(false)
    },
  )

  test('is not rounded: more digits than a number keeps are refused', () => {
    expect(schema.safeParse('9007199254740993').success).toBe(false)
  })
})

test('optional and standard values stay what they are', () => {
  const given = z.strictObject({
    text: z.string(),
    maybe: z.boolean().optional(),
    standard: z.int().default(7),
    both: z.boolean().default(true).optional(),
  })
  const made = reading(given)
  expect(made.parse({ text: 'false' })).toEqual(given.parse({ text: 'false' }))
  expect(made.parse({ text: '1', maybe: 'no', standard: '8', both: 'off' })).toEqual(
    given.parse({ text: '1', maybe: false, standard: 8, both: false }),
  )
  expect(made.safeParse({ text: 1 }).success).toBe(false)
  expect(made.safeParse({ text: 'a', unknown: 1 }).success).toBe(false)
})

test('what is sent is not changed, and inherited keys are none', () => {
  const given = z.strictObject({ flag: z.boolean().optional(), count: z.int().optional() })
  const sent = Object.freeze({ flag: 'yes', count: '3' })
  expect(createCoercer(given)(sent)).toEqual({ flag: true, count: 3 })
  expect(sent).toEqual({ flag: 'yes', count: '3' })
  expect(createCoercer(given)(Object.create({ flag: 'yes' }))).toEqual({})
  expect(given.safeParse({ flag: 'true' }).success).toBe(false)
})

test('tRPC takes no text for a value, whatever REST and the documents did before', async () => {
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
  // By meaning: "false" deletes, "yes" restores.
  expect(await rest('deleteRoom', { isActive: 'false' })).toMatchObject({ isActive: false })
  expect(await rest('deleteRoom', { isActive: 'yes' })).toMatchObject({ isActive: true })
  const unclear = rest('deleteRoom', { isActive: 'perhaps' })
  await expect(unclear).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  expect(await rest('getMessages', { limit: '2' })).toMatchObject({ items: [] })

  const caller = createCaller(context)
  const refused = { code: 'BAD_REQUEST' }
  for (const text of ['false', 'true', '1', '']) {
    const deleting = caller.deleteRoom({ roomId: room.id, isActive: text as never })
    await expect(deleting).rejects.toMatchObject(refused)
    const sending = caller.createMessage({
      roomId: room.id,
      messageData: 'message',
      author: 'client',
      side: text as never,
    })
    await expect(sending).rejects.toMatchObject(refused)
  }
  const reading = caller.getMessages({ roomId: room.id, limit: '2' as never })
  await expect(reading).rejects.toMatchObject(refused)
  expect(await rest('getRoomById', {})).toMatchObject({ isActive: true })
})
