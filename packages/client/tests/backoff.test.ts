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

/** Returns the delay for a random number from 0 to 1. */
function delayAt(random: number, failures: number, retryAfter?: number): number {
  vi.spyOn(Math, 'random').mockReturnValue(random)
  return retryDelay(failures, retryAfter)
}

describe('retryDelay', () => {
  test('draws a delay between two bounds that grow with the failures', () => {
    for (let n = 1; n <= 12; n++) {
      expect(delayAt(0, n)).toBe(Math.max(250, 2000 * (n - 1)))
      expect(delayAt(1, n)).toBe(500 + 2000 * n)
    }
    expect([delayAt(0, 13), delayAt(1, 13)]).toEqual([24_000, 25_000])
  })

  test('stays random and below 25 s after any number of failures', () => {
    const failures = fc.integer({ min: 13, max: 1_000_000 })
    fc.assert(
      fc.property(failures, number(0, 1), (n, random) => {
        expect(delayAt(random, n)).toBe(24_000 + random * 1_000)
      }),
    )
  })

  test('honours Retry-After up to five minutes', () => {
    expect(delayAt(0, 1, 7_000)).toBe(7_000)
    expect(delayAt(1, 5, 7_000)).toBe(10_500)
    expect(delayAt(0, 1, 24 * 60 * 60_000)).toBe(300_000)
  })
})

describe('parseRetryAfter', () => {
  test.each([
    ['0', 0],
    ['12', 12_000],
    ['Fri, 02 Jan 2026 03:04:35 GMT', 30_000],
    ['Fri, 02 Jan 2026 03:04:00 GMT', 0],
    ['soon', undefined],
    ['', undefined],
    [null, undefined],
    [undefined, undefined],
  ])('parses %s', (value, delay) => {
    expect(parseRetryAfter(value)).toBe(delay)
  })
})
