import { AppError } from '@dowell-chat/api'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createPeerGroup } from '../../../packages/api/tests/peerGroup.ts'
import { readConfig } from '../src/config.ts'
import { createQuotas } from '../src/http/caller/quota.ts'
import { QuotaHeaders } from '../src/http/core/quotaHeaders.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Instances that hear each other, and how much a caller gets from each. */
function createInstances(count: number, env: Record<string, string>) {
  const group = createPeerGroup()
  return Array.from({ length: count }, () => {
    const peers = group.join()
    group.connect(peers)
    let messages = 0
    const quotas = createQuotas(readConfig(env), {
      ...peers,
      send(topic, body) {
        messages++
        peers.send(topic, body)
      },
    })
    return {
      peers,
      group,
      messages: () => messages,
      failed: (address: string) => isDone(quotas.recordAuthFailure(new QuotaHeaders(), address)),
      spend: (key: string, points: number) =>
        isDone(
          quotas.consume(
            new QuotaHeaders(),
            { key, address: 'address', isCustomer: false },
            points,
          ),
        ),
    }
  })
}

async function isDone(call: Promise<void>): Promise<boolean> {
  try {
    await call
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(AppError)
    return false
  }
}

test('a caller who goes to all instances gets hardly more than the budget', async () => {
  const calls = fc.array(
    fc.record({ instance: fc.nat({ max: 2 }), points: fc.constantFrom(1, 2, 20) }),
    { minLength: 300, maxLength: 600 },
  )
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 100, max: 2_000 }), calls, async (budget, calls) => {
      const instances = createInstances(3, {
        RATE_LIMIT_ACTOR: String(budget),
        RATE_LIMIT_ADDRESS: '0',
      })
      let spent = 0
      for (const { instance, points } of calls) {
        if (await instances[instance]?.spend('ann', points)) spent += points
      }
      // What each of the other two has not told yet, which is less than a fiftieth.
      expect(spent).toBeLessThanOrEqual(budget + 2 * 0.02 * budget)
      // By then every instance knows what the others have let through.
      vi.advanceTimersByTime(1_000)
      if (spent >= budget) expect(await instances[0]?.spend('ann', 1)).toBe(false)
      vi.advanceTimersByTime(60_000)
    }),
    { numRuns: 50 },
  )
})

test('less than a fiftieth is told within a second, of all callers at once', async () => {
  const [one, two] = createInstances(2, { RATE_LIMIT_ACTOR: '1000', RATE_LIMIT_ADDRESS: '0' })
  if (!one || !two) throw new Error('there are two')
  for (let caller = 0; caller < 100; caller++) {
    expect(await one.spend(`caller ${caller}`, 19)).toBe(true)
  }
  expect(one.messages()).toBe(0)
  vi.advanceTimersByTime(1_000)
  expect(one.messages()).toBe(1)
  // 981 and not 1000 are left.
  expect(await two.spend('caller 7', 981)).toBe(true)
  expect(await two.spend('caller 8', 982)).toBe(false)
  vi.advanceTimersByTime(60_000)
  expect(await two.spend('caller 8', 982)).toBe(true)
})

test('each failed authentication is told at once', async () => {
  const instances = createInstances(3, { RATE_LIMIT_FAILURES: '10' })
  const answers: boolean[] = []
  for (let i = 0; i < 12; i++) answers.push((await instances[i % 3]?.failed('address')) ?? false)
  expect(answers).toEqual([...Array(10).fill(true), false, false])
})

test('what is refused is told to nobody, and no message waits for a caller who is gone', async () => {
  const [one] = createInstances(2, { RATE_LIMIT_ACTOR: '100', RATE_LIMIT_ADDRESS: '0' })
  if (!one) throw new Error('there are two')
  expect(await one.spend('ann', 100)).toBe(true)
  const before = one.messages()
  for (let i = 0; i < 100; i++) expect(await one.spend('ann', 1)).toBe(false)
  vi.advanceTimersByTime(61_000)
  expect(one.messages()).toBe(before)
  expect(vi.getTimerCount()).toBe(0)
})
