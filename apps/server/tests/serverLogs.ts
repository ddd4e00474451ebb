/** The log of a server that a test has started. */
export interface ServerLog {
  readonly server: string
  /** Every line so far. */
  lines(): readonly string[]
  /** Whether nothing more is written to it. */
  isClosed(): boolean
}

/** A test that fails shows this much of each log. */
const MAX_LINES = 100

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
    if (last.length > 0) {
      const omitted = fresh.length - last.length
      const head = `Log of ${log.server}${omitted > 0 ? `, without ${omitted} earlier lines` : ''}:`
      texts.push([head, ...last, ''].join('\n'))
    }
    if (log.isClosed()) logs.delete(log)
    else logs.set(log, lines.length)
  }
  return texts.join('\n')
}
