import {
  type Database,
  findRetentionClock,
  type RetentionClock,
  saveRetentionClock,
} from '@dowell-chat/db'

/** The longest time between two runs in which a clock is taken at its word. The retention runs every hour. */
const STEADY_MS = 2 * 60 * 60_000

/** How much faster than the clock the retention's time catches up. */
const CATCH_UP = 2

/**
 * The time that the retention goes by, after a run at which the clock says `now`. A clock that leaps forward, or a server
 * that was off, moves it not at all. Then it catches up at twice the speed, so that a wrong clock deletes slowly.
 */
export function advanceRetentionTime({ time, seenAt }: RetentionClock, now: number): number {
  const before = Math.min(time ?? now, now)
  const elapsed = seenAt === null ? 0 : now - seenAt
  if (elapsed < 0 || elapsed > STEADY_MS) return before
  return Math.min(now, before + CATCH_UP * elapsed)
}

/** Advances the stored time of the retention to a run at which the clock says `now`. @returns the time */
export function moveRetentionClock(db: Database, now: number): Promise<number> {
  return db.write(async (tx) => {
    const time = advanceRetentionTime(await findRetentionClock(tx), now)
    await saveRetentionClock(tx, { time, seenAt: now })
    return time
  })
}
