import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { id as idSchema } from '../src/encoding/fields.ts'
import { newEventId, newId, roomRoomId } from '../src/identifiers.ts'

const now = () => 0x64ed7d9d * 1000 + 999
/** From 1970 until long after 2106, when four bytes of seconds overflow. */
const time = fc.integer({ min: 0, max: 8_640_000_000_000_000 })
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

test('an id is the time in seconds and random bytes, in hex', () => {
  const random = Uint8Array.of(0, 1, 2, 127, 128, 253, 254, 255)
  expect(newId({ clock: now, randomBytes: () => random })).toBe('64ed7d9d0001027f80fdfeff')
  expect(newId({ clock: () => 0, randomBytes: () => new Uint8Array(8) })).toBe('0'.repeat(24))
})

test('an id has 24 hex characters at any time', () => {
  fc.assert(
    fc.property(time, bytes(8), (time, random) => {
      const id = newId({ clock: () => time, randomBytes: () => random })
      expect(id).toMatch(/^[0-9a-f]{24}$/)
      expect(idSchema.safeParse(id).success).toBe(true)
    }),
  )
})

test('the time in an id wraps around in 2106 and keeps its format', () => {
  const at = (seconds: number) =>
    newId({ clock: () => seconds * 1000 + 999, randomBytes: () => new Uint8Array(8).fill(255) })
  expect(at(2 ** 32 - 1)).toBe('ffffffff'.padEnd(24, 'f'))
  expect(at(2 ** 32)).toBe('00000000'.padEnd(24, 'f'))
  expect(at(2 ** 32 + 1)).toBe('00000001'.padEnd(24, 'f'))
})

test('ids of one second are unique and in random order', () => {
  const ids = Array.from({ length: 100_000 }, () => newId({ clock: now, randomBytes }))
  expect(new Set(ids).size).toBe(ids.length)
  expect(new Set(ids.map((id) => id.slice(0, 8)))).toEqual(new Set(['64ed7d9d']))
  // A counter would have equal steps.
  const steps = new Set(
    ids.slice(1, 1000).map((id, i) => BigInt(`0x${id}`) - BigInt(`0x${ids[i]}`)),
  )
  expect(steps.size).toBe(999)
})

test('an event id has thirty characters in the documented format', () => {
  const documented = 'FB10100000001693018738#5535526'
  const clock = () => 1_693_018_738_000
  const random = Uint8Array.of(0, 0, 0, 0x54, 0x77, 0x26)
  expect(newEventId({ clock, randomBytes: () => random })).toBe(documented)
  fc.assert(
    fc.property(time, bytes(6), (time, random) => {
      const id = newEventId({ clock: () => time, randomBytes: () => random })
      expect(id).toMatch(/^FB101\d{17}#\d{7}$/)
      expect(id).toHaveLength(documented.length)
      expect(Number(id.slice(5, 22))).toBe(Math.floor(time / 1000))
    }),
  )
})

test.for([
  ['WORKFLOWAI', '11'],
  ['TEAMMANAGEMENT', '12'],
  ['WIFIQRCODE', '13'],
  ['SALESAGENTLOGIN', '14'],
  ['LEGALZARD', '15'],
  ['USEREXPERIENCELIVE', '16'],
  ['SOCIALMEDIAAUTOMATION', '17'],
  ['LIVINGLABSCALES', '18'],
  ['LOGOSCAN', '19'],
  ['LIVINGLABMONITORING', '20'],
  ['PERMUTATIONCALCULATOR', '21'],
  ['SECUREREPOSITORIES', '22'],
  ['SECUREDATA', '23'],
  ['CUSTOMEREXPERIENCE', '24'],
  ['DOWELLCSC', '25'],
  ['LIVINGLABCHAT', '26'],
  ['SALESAGENT', '27'],
  ['LOGIN', '28'],
  ['DOWELLMAIL', '29'],
  ['EXTENSION', '30'],
  ['LIVINGLABADMIN', '31'],
  ['PUBLICCHAT', '32'],
] as const)('product %s has the code %s', ([product, code]) => {
  expect(roomRoomId(product, 'ABCD12345')).toBe(`${code}-ABCD12345`)
})

test.for(['wifiqrcode', 'WIFIQRCODE ', 'Shop 7', '__proto__', 'constructor', 'toString'])(
  'product %j has no code, so the room uses its name',
  (product) => {
    expect(roomRoomId(product, 'ABCD12345')).toBe(`${product}-ABCD12345`)
  },
)
