import { createTestDb } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { createOpenApiFetchHandler } from 'trpc-to-openapi'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createOpenApiDocument } from '../src/rest/openapi/document.ts'
import { v3Router } from '../src/rest/v3.ts'
import { fromText, restInput } from '../src/rest/wire.ts'
import { createRoom } from '../src/rooms/createRoom.ts'
import { createCaller } from '../src/router.ts'
import { createContext, createDeps } from './support.ts'

/** Text in any casing, with room around it. */
const dressed = (word: string) =>
  fc
    .tuple(fc.constantFrom('', ' ', '\t', '\n  '), fc.mixedCase(fc.constant(word)))
    .map(([space, text]) => `${space}${text}${space}`)

const yes = ['true', '1', 'yes', 'on', 't', 'y']
const no = ['false', '0', 'no', 'off', 'f', 'n']

describe('a boolean', () => {
  const schema = fromText(z.boolean())

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
  const schema = fromText(z.int())

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
  const made = restInput(given)
  expect(made.parse({ text: 'false' })).toEqual(given.parse({ text: 'false' }))
  expect(made.parse({ text: '1', maybe: 'no', standard: '8', both: 'off' })).toEqual(
    given.parse({ text: '1', maybe: false, standard: 8, both: false }),
  )
  expect(made.safeParse({ text: 1 }).success).toBe(false)
  expect(made.safeParse({ text: 'a', unknown: 1 }).success).toBe(false)
})

test('the schema that is given is not changed, and keeps its description', () => {
  const shape = () => ({
    flag: z.boolean().meta({ description: 'a flag' }),
    maybe: z.boolean().optional().meta({ description: 'perhaps' }),
    count: z.int().min(1).max(9).optional().meta({ description: 'a count' }),
  })
  const given = z.strictObject(shape())
  const made = restInput(given)
  expect(z.toJSONSchema(given)).toEqual(z.toJSONSchema(z.strictObject(shape())))
  expect(z.toJSONSchema(made, { io: 'input' })).toEqual(z.toJSONSchema(given, { io: 'input' }))
  for (const [key, field] of Object.entries(made.shape)) {
    expect(field).not.toBe(given.shape[key as keyof typeof given.shape])
  }
  expect(given.safeParse({ flag: 'true' }).success).toBe(false)
  expect(made.safeParse({ flag: 'true' }).success).toBe(true)
})

test('tRPC takes no text for a value, whatever REST and the documents did before', async () => {
  await using db = await createTestDb()
  const context = createContext(createDeps(db))
  const { room } = await createRoom(context.deps, context.actor, {
    orgId: 'DOWELL12345',
    userId: 'ABCD12345',
    portfolioName: 'umair',
    productName: 'WIFIQRCODE',
  })
  const rest = async (method: string, query: string) => {
    const url = `http://server/api/v3/rooms/${room.id}${query}`
    const response = await createOpenApiFetchHandler({
      endpoint: '/',
      router: v3Router,
      req: new Request(url, { method }),
      createContext: () => context,
    })
    return { status: response.status, body: (await response.json()) as { isActive?: boolean } }
  }
  createOpenApiDocument('3.1.0')
  // By meaning: "false" deletes, "yes" restores.
  expect((await rest('DELETE', '?isActive=false')).body.isActive).toBe(false)
  expect((await rest('DELETE', '?isActive=yes')).body.isActive).toBe(true)
  expect((await rest('DELETE', '?isActive=perhaps')).status).toBe(400)
  expect((await rest('GET', '/messages?limit=2')).status).toBe(200)

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
  expect((await rest('GET', '')).body.isActive).toBe(true)
})
