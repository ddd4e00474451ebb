import type { LockKey } from '../transaction.ts'
import type { Job } from './job.ts'

interface Group {
  readonly jobs: Job[]
  /** Whether the last attempt to lock the row timed out. */
  isLocked: boolean
  /**
   * Writes of its next turn, at most. One after a lock that timed out: alone it has every lock that it needs for the shortest
   * time, so that processes which lock the same rows in different orders let each other pass.
   */
  most: number
}

/** Writes of a turn that nothing stood in the way of lately, at most. */
const MAX_TURN = 256

const emptyGroup = (): Group => ({ jobs: [], isLocked: false, most: MAX_TURN })

/**
 * Writes that lost, grouped by the row whose lock they lost at. The groups take turns, so a row that stays locked costs
 * the others one short wait and not one for each of its writes.
 */
export class ContendedWrites {
  readonly #groups = new Map<LockKey, Group>()
  readonly #maxJobs: number
  #count = 0

  /** @param maxJobs writes that may wait here at once; a tenth of them for one row */
  constructor(maxJobs: number) {
    this.#maxJobs = maxJobs
  }

  /** How many groups there are. */
  get size(): number {
    return this.#groups.size
  }

  /** Whether another transaction held this row when it was last tried. */
  isLocked(key: LockKey): boolean {
    return this.#groups.get(key)?.isLocked ?? false
  }

  /** @returns whether there was room for it */
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

  /** The group whose turn it is, which then comes last. */
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
    const jobs = group?.jobs.splice(0, group.most) ?? []
    this.#count -= jobs.length
    return jobs
  }

  takeAll(): Job[] {
    const jobs = [...this.jobs()]
    this.#groups.clear()
    this.#count = 0
    return jobs
  }

  /** Notes what came of a turn: the row at which a lock timed out. */
  endTurn(key: LockKey, lockedAt: LockKey | undefined): void {
    const group = this.#groups.get(key)
    if (!group) return
    group.isLocked = lockedAt === key
    group.most = lockedAt === undefined ? Math.min(MAX_TURN, 4 * group.most) : 1
    if (group.jobs.length === 0) this.#groups.delete(key)
  }

  *jobs(): Generator<Job> {
    for (const { jobs } of this.#groups.values()) yield* jobs
  }

  /** Drops the writes whose callers were told already. Whose turn it is keeps its group. */
  dropSettled(running: LockKey | undefined): void {
    for (const [key, group] of this.#groups) {
      const open = group.jobs.filter((job) => !job.isSettled)
      this.#count -= group.jobs.length - open.length
      group.jobs.splice(0, Number.POSITIVE_INFINITY, ...open)
      if (open.length === 0 && key !== running) this.#groups.delete(key)
    }
  }
}
