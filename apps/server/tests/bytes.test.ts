import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toUtf8 } from '../src/http/core/utf8.ts'

test('counts the bytes of UTF-8', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    // Halves of surrogate pairs too, which JSON escapes.
    fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  )
  fc.assert(
    fc.property(fc.array(text), (texts) => {
      const json = JSON.stringify(texts)
      expect(toUtf8(json).equals(Buffer.from(json))).toBe(true)
    }),
  )
  for (const json of ['', '"a"', '"ÿ"', '"Ā"', '"₹"', '"🙂"', `"${'a'.repeat(100_000)}₹"`]) {
    expect(toUtf8(json).equals(Buffer.from(json))).toBe(true)
  }
})
