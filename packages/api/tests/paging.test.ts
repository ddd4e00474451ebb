import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  encodeCursor,
  type ListTag,
  MAX_LIMIT,
  pageInput,
  toPageRef,
} from '../src/encoding/paging.ts'

/** Up to the greatest boundary of a cursor: fifteen digits. */
const boundary = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 999_999_999_999_999 }))
const list = fc.constantFrom<ListTag[]>('m', 'r')
const fields = ['before', 'after', 'around'] as const
const field = fc.constantFrom(...fields)

const rejection = (name: string) =>
  expect.objectContaining({
    name: 'AppError',
    code: 'BAD_REQUEST',
    errors: { [name]: ['is not a cursor that this list gave'] },
  })

function cursorOf(text: string): string {
  return Buffer.from(text).toString('base64url')
}

test('a cursor decodes to the boundary that it encodes', () => {
  fc.assert(
    fc.property(list, boundary, field, (list, boundary, kind) => {
      const cursor = encodeCursor(list, boundary)
      expect(toPageRef(list, { [kind]: cursor })).toEqual({ kind, boundary })
      expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/)
    }),
  )
})

test('rejects cursors of another list', () => {
  fc.assert(
    fc.property(boundary, field, (boundary, kind) => {
      expect(() => toPageRef('m', { [kind]: encodeCursor('r', boundary) })).toThrow(rejection(kind))
      expect(() => toPageRef('r', { [kind]: encodeCursor('m', boundary) })).toThrow(rejection(kind))
    }),
  )
})

describe('a tampered cursor', () => {
  const character = fc.oneof(
    fc.constantFrom(...'AQgwZz019+/=-_ .\n\0é'),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  )
  const mutation = fc.record({
    at: fc.nat(30),
    remove: fc.constantFrom(0, 1, 2),
    insert: fc.array(character, { maxLength: 2 }),
  })

  test('is rejected, unless it is exactly another cursor of the list', () => {
    let rejected = 0
    fc.assert(
      fc.property(list, boundary, field, mutation, (list, boundary, kind, change) => {
        const characters = [...encodeCursor(list, boundary)]
        characters.splice(change.at % (characters.length + 1), change.remove, ...change.insert)
        const text = characters.join('')
        try {
          const ref = toPageRef(list, { [kind]: text })
          // An accepted cursor is the exact encoding of its boundary and epoch.
          if (!('boundary' in ref)) throw new Error('not a boundary')
          expect(ref).toMatchObject({ kind, boundary: expect.any(Number) })
          expect(encodeCursor(list, ref.boundary, ref.epoch)).toBe(text)
        } catch (error) {
          expect(error).toEqual(rejection(kind))
          rejected++
        }
      }),
      { numRuns: 3000 },
    )
    expect(rejected).toBeGreaterThan(1000)
  })

  test.for([
    '',
    ' ',
    'bTox=',
    'bTox==',
    ' bTox',
    'bTox\n',
    'bT\nox',
    'bToxA',
    'b',
    'null',
    '7',
    '-1',
    // Valid, except for bits in the last letter that decoding drops.
    'bTowMB',
    cursorOf('m:'),
    cursorOf('m:-1'),
    cursorOf('m:01'),
    cursorOf('m:1.5'),
    cursorOf('m:1e3'),
    cursorOf('m:0x10'),
    cursorOf('m: 1'),
    cursorOf('m:1\n'),
    cursorOf('m:1;'),
    cursorOf('M:1'),
    cursorOf('x:1'),
    cursorOf('m1'),
    cursorOf('1'),
    cursorOf('m:NaN'),
    cursorOf('m:Infinity'),
    cursorOf('m:1000000000000000'),
    cursorOf('m:９'),
    cursorOf('m:1').replace('o', 'ó'),
    '__proto__',
  ])('%j is rejected', (text) => {
    for (const kind of fields)
      expect(() => toPageRef('m', { [kind]: text })).toThrow(rejection(kind))
  })
})

test('a cursor carries its epoch, and one of the first epoch has none', () => {
  const cursor = encodeCursor('m', 7, 'k3Jx9Q.2')
  expect(cursor).toBe('bTo3.k3Jx9Q.2')
  expect(toPageRef('m', { after: cursor })).toEqual({
    kind: 'after',
    boundary: 7,
    epoch: 'k3Jx9Q.2',
  })
  expect(toPageRef('m', { around: 'bTo3' })).toEqual({
    kind: 'around',
    boundary: 7,
    epoch: undefined,
  })
  for (const text of ['bTo3.', '.k3Jx9Q', 'bTo3.k3 x', 'bTo3=.k3Jx9Q']) {
    expect(() => toPageRef('m', { after: text })).toThrow(rejection('after'))
  }
})

test('no cursor means the newest page, and an id in around means that item', () => {
  expect(toPageRef('m', {})).toEqual({ kind: 'newest' })
  const id = '64ed7d9da57293efb539eb1a'
  expect(toPageRef('m', { around: id })).toEqual({ kind: 'aroundItem', id })
  expect(() => toPageRef('m', { before: id })).toThrow(rejection('before'))
  for (const text of [id.toUpperCase(), id.slice(1), `${id}0`, `${id}\n`]) {
    expect(() => toPageRef('m', { around: text })).toThrow(rejection('around'))
  }
})

test('no cursor looks like an id', () => {
  fc.assert(
    fc.property(list, boundary, (list, boundary) => {
      expect(encodeCursor(list, boundary)).not.toMatch(/^[0-9a-f]{24}$/)
    }),
  )
})

test.for([
  ['before', 'after'],
  ['before', 'around'],
  ['after', 'around'],
] as const)('%s and %s exclude each other', ([first, second]) => {
  const cursor = encodeCursor('m', 7)
  const badRequest = { code: 'BAD_REQUEST' }
  expect(() => toPageRef('m', { [second]: cursor, [first]: cursor })).toThrow(
    expect.objectContaining({
      ...badRequest,
      errors: { [second]: [`cannot be given together with ${first}`] },
    }),
  )
  expect(() => toPageRef('m', { before: cursor, after: cursor, around: cursor })).toThrow(
    expect.objectContaining(badRequest),
  )
})

test('a limit is an integer from 1 to the maximum', () => {
  const schema = z.strictObject(pageInput)
  for (const limit of [1, 50, MAX_LIMIT, undefined]) {
    expect(schema.safeParse({ limit }).success).toBe(true)
  }
  for (const limit of [0, -1, MAX_LIMIT + 1, 1.5, Number.NaN, Infinity, '50', null, true]) {
    const { error } = schema.safeParse({ limit })
    expect(error?.issues.map(({ message }) => message)).toContain(
      `must be a whole number from 1 to ${MAX_LIMIT}`,
    )
  }
})
