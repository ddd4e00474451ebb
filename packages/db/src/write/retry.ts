import type { Engine } from '../engine/engine.ts'
import type { Job } from './job.ts'

/** Maximum runs of a write that loses against others. */
const MAX_ATTEMPTS = 5

/** Counts a failed attempt. @returns whether the write may succeed when it is run again */
export function shouldRetry(
  job: Job,
  error: unknown,
  engine: Pick<Engine, 'isUniqueViolation' | 'isRetryable'>,
): boolean {
  job.attempts++
  if (engine.isUniqueViolation(error)) {
    // The next run finds the row that another write inserted. A second violation is the write's own.
    if (job.sawConflict) return false
    job.sawConflict = true
  }
  return job.attempts < MAX_ATTEMPTS && engine.isRetryable(error)
}
