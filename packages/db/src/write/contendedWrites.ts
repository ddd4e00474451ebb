import type { LockKey } from '../engine/transaction.ts'
import type { Job } from './job.ts'

interface Group {
  readonly jobs: Job[]
  /** True if the last attempt to lock the row timed out. */
  isLocked: boolean
  /**
   * Maximum writes of its next turn. 1 after a lock timeout: a single write holds its locks for the shortest time, so
   * processes that lock the same rows in different orders make progress.
   */
  maxWrites: number
}

/** Maximum writes of a turn without recent lock timeouts. */
const MAX_TURN = 256

const emptyGroup = (): Group => ({ jobs: [], isLocked: false, maxWrites: MAX_TURN })

/**
 * Contended writes, grouped by the row that they wait for. The groups take turns, so a row that stays locked costs the others
 * one short wait and not one for each of its writes.
 */
export class ContendedWrites {
  readonly #groups = new Map<LockKey, Group>()
  readonly #maxJobs: number
  #count = 0

  /** @param maxJobs maximum waiting writes; a tenth of them for one row */
  constructor(maxJobs: number) {
    this.#maxJobs = maxJobs
  }

  /** The number of groups. */
  get size(): number {
    return this.#groups.size
  }

  /** True if another transaction held this row at the last attempt. */
  isLocked(key: LockKey): boolean {
    return this.#groups.get(key)?.isLocked ?? false
  }

  /** @returns false if the maximum is reached */
  add(key: LockKey, job: Job, { isLocked }: { isLocked: boolean }): boolean {
    const group = this.#groups.get(key) ?? emptyGroup()
    if (this.#count >= this.#maxJobs || group.jobs.length >= this.#maxJobs / 10) return false
    group.jobs.push(job)
    if (isLocked) group.isLocked = true
    this.#count++
    this.#groups.set(key, group)
    return true
  }

  /** Puts writes of a group before its others. */
  putBack(key: LockKey, jobs: readonly Job[]): void {
    const group = this.#groups.get(key) ?? emptyGroup()
    group.jobs.unshift(...jobs)
    this.#count += jobs.length
    this.#groups.set(key, group)
  }

  /** The group of the next turn, which then becomes the last. */
  next(): LockKey | undefined {
    const [first] = this.#groups
    if (!first) return undefined
    const [key, group] = first
    this.#groups.delete(key)
    this.#groups.set(key, group)
    return key
  }

  /** Takes the first writes of a group. The group stays, so that its row is still known to be locked. */
  take(key: LockKey): Job[] {
    const group = this.#groups.get(key)
    const jobs = group?.jobs.splice(0, group.maxWrites) ?? []
    this.#count -= jobs.length
    return jobs
  }

  takeAll(): Job[] {
    const jobs = [...this.jobs()]
    this.#groups.clear()
    this.#count = 0
    return jobs
  }

  /** @param lockedAt the row at which a lock timed out during the turn */
  endTurn(key: LockKey, lockedAt: LockKey | undefined): void {
    const group = this.#groups.get(key)
    if (!group) return
    group.isLocked = lockedAt === key
    group.maxWrites = lockedAt === undefined ? Math.min(MAX_TURN, 4 * group.maxWrites) : 1
    if (group.jobs.length === 0) this.#groups.delete(key)
  }

  *jobs(): Generator<Job> {
    for (const { jobs } of this.#groups.values()) yield* jobs
  }

  /** Drops settled writes. The running group stays. */
  dropSettled(running: LockKey | undefined): void {
    for (const [key, group] of this.#groups) {
      const open = group.jobs.filter((job) => !job.isSettled)
      this.#count -= group.jobs.length - open.length
      group.jobs.splice(0, Number.POSITIVE_INFINITY, ...open)
      if (open.length === 0 && key !== running) this.#groups.delete(key)
    }
  }
}
