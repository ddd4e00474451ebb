import { expect, test } from 'vitest'
import { findLosses } from '../src/encoding/exactJson.ts'

test('names the first losses of each outermost key', () => {
  const losses = findLosses(`{"a":[${'1e999,'.repeat(50_000)}0],"b":[0,1e999]}`)
  expect(losses.filter(({ path }) => path[0] === 'a')).toHaveLength(100)
  expect(losses[0]?.path).toEqual(['a', '0'])
  expect(losses.at(-1)?.path).toEqual(['b', '1'])
})

test('refuses the whole text for very many losses', () => {
  const keys = Array.from({ length: 50_000 }, (_, n) => `"${n}":1e999`)
  const losses = findLosses(`{${keys}}`)
  expect(losses).toHaveLength(5_001)
  expect(losses.at(-1)).toEqual({ path: [], problem: expect.stringContaining('too many') })
})
