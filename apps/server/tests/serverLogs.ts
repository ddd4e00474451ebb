/** The log of a server that a test has started. */
export interface ServerLog {
  readonly server: string
  /** Every line so far. */
  lines(): readonly string[]
  /** Whether nothing more is written to it. */
  isClosed(): boolean
}

/** A test that fails shows this much of each log: its first failures and its last lines. */
const MAX_FAILURES = 10
const MAX_LINES = 20

/** pino's levels from `error` on. */
const FAILURE = /"level":[56]0\b/

/** The number of lines of each log that earlier tests have written. */
const logs = new Map<ServerLog, number>()

/** Keeps a log, so that a test that fails can print it. */
export function recordServerLog(log: ServerLog): void {
  logs.set(log, 0)
}

/** Returns what the servers have logged since the last call. */
export function takeServerLogs(): string {
  const texts: string[] = []
  for (const [log, seen] of logs) {
    const lines = log.lines()
    const fresh = lines.slice(seen)
    const last = fresh.slice(-MAX_LINES)
    const failures = fresh
      .slice(0, -MAX_LINES)
      .filter((line) => FAILURE.test(line))
      .slice(0, MAX_FAILURES)
    if (last.length > 0) {
      const shown = failures.length + last.length
      const head = `Log of ${log.server}, ${shown} of ${fresh.length} lines:`
      texts.push([head, ...failures, ...last, ''].join('\n'))
    }
    if (log.isClosed()) logs.delete(log)
    else logs.set(log, lines.length)
  }
  return texts.join('\n')
}
