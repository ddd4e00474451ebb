import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { parseRetryAfter, retryDelay } from '../src/backoff.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: new Date('2026-01-02T03:04:05Z') })
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true })

/** The delay when chance says this much, from 0 to 1. */
function delayAt(chance: number, failures: number, retryAfter?: number): number {
  vi.spyOn(Math, 'random').mockReturnValue(chance)
  return retryDelay(failures, retryAfter)
}

describe('the delay before the next try', () => {
  test('is random between two bounds that grow', () => {
    for (let n = 1; n <= 12; n++) {
      expect(delayAt(0, n)).toBe(Math.max(250, 2000 * (n - 1)))
      expect(delayAt(1, n)).toBe(500 + 2000 * n)
    }
    expect([delayAt(0, 13), delayAt(1, 13)]).toEqual([24_000, 25_000])
  })

  test('stays random and below 25 s, however often it failed', () => {
    const failures = fc.integer({ min: 13, max: 1_000_000 })
    fc.assert(
      fc.property(failures, number(0, 1), (n, chance) => {
        expect(delayAt(chance, n)).toBe(24_000 + chance * 1_000)
      }),
    )
  })

  test('is not less than the server asks for, up to five minutes', () => {
    expect(delayAt(0, 1, 7_000)).toBe(7_000)
    expect(delayAt(1, 5, 7_000)).toBe(10_500)
    expect(delayAt(0, 1, 24 * 60 * 60_000)).toBe(300_000)
  })
})

describe('Retry-After', () => {
  test.each([
    ['0', 0],
    ['12', 12_000],
    ['Fri, 02 Jan 2026 03:04:35 GMT', 30_000],
    ['Fri, 02 Jan 2026 03:04:00 GMT', 0],
    ['soon', undefined],
    ['', undefined],
    [null, undefined],
    [undefined, undefined],
  ])('%s', (value, delay) => {
    expect(parseRetryAfter(value)).toBe(delay)
  })
})
