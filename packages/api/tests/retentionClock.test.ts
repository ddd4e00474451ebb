import { createTestDb, kyselyOn } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { advanceRetentionTime, moveRetentionClock } from '../src/events/retentionClock.ts'

const HOUR = 60 * 60_000
const DAY = 24 * HOUR
const now = 1_790_000_000_000

test('a first run without events goes by the clock, and one with events by the newest of them', () => {
  expect(advanceRetentionTime({ time: null, seenAt: null }, now)).toBe(now)
  expect(advanceRetentionTime({ time: now - 50 * DAY, seenAt: null }, now)).toBe(now - 50 * DAY)
})

test('steady runs go by the clock', () => {
  expect(advanceRetentionTime({ time: now, seenAt: now }, now + HOUR)).toBe(now + HOUR)
})

test('a leap moves the time not at all, and then it catches up at twice the speed', () => {
  let time = now
  let seenAt = now
  const run = (at: number) => {
    time = advanceRetentionTime({ time, seenAt }, at)
    seenAt = at
    return time
  }
  expect(run(now + 40 * DAY)).toBe(now)
  for (let hour = 1; hour <= 24; hour++) run(now + 40 * DAY + hour * HOUR)
  expect(time).toBe(now + 2 * DAY)
  for (let hour = 25; hour <= 40 * 24; hour++) run(now + 40 * DAY + hour * HOUR)
  expect(time).toBe(now + 80 * DAY)
})

test('a clock that is put back takes the time with it, and forth again is a leap', () => {
  expect(advanceRetentionTime({ time: now, seenAt: now }, now - DAY)).toBe(now - DAY)
  expect(advanceRetentionTime({ time: now - DAY, seenAt: now - DAY }, now)).toBe(now - DAY)
})

test('the time is never after the clock, and never moves more than twice as fast', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -3 * HOUR, max: 50 * DAY })), (steps) => {
      let time: number | null = null
      let seenAt: number | null = null
      let at = now
      for (const step of steps) {
        at += step
        const next = advanceRetentionTime({ time, seenAt }, at)
        expect(next).toBeLessThanOrEqual(at)
        if (time !== null) expect(next - time).toBeLessThanOrEqual(4 * HOUR)
        time = next
        seenAt = at
      }
    }),
  )
})

test('runs of several instances share one clock', async () => {
  await using db = await createTestDb()
  expect(await moveRetentionClock(db, now)).toBe(now)
  expect(await moveRetentionClock(db, now + 40 * DAY)).toBe(now)
  const later = now + 40 * DAY + HOUR
  await Promise.all(Array.from({ length: 20 }, () => moveRetentionClock(db, later)))
  expect(
    await kyselyOn(db.read)
      .selectFrom('event_log')
      .select(['retention_time', 'retention_seen_at'])
      .execute(),
  ).toEqual([{ retention_time: now + 2 * HOUR, retention_seen_at: later }])
})
