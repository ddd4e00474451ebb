/** The longest that a server's `Retry-After` is followed, in milliseconds. */
const LONGEST = 5 * 60_000

/** From here on the delay is as long as it gets, and still random: callers that failed together do not return together. */
const MAX_FAILURES = 13

/**
 * How long to wait after so many failures in a row, 1 or more: random between max(250, 2000(n − 1)) and
 * min(500 + 2000n, 25000) milliseconds, and not less than the server asked for.
 */
export function retryDelay(failures: number, retryAfter = 0): number {
  const n = Math.min(failures, MAX_FAILURES)
  const least = Math.max(250, 2000 * (n - 1))
  const most = Math.min(500 + 2000 * n, 25_000)
  return Math.max(least + Math.random() * (most - least), Math.min(retryAfter, LONGEST))
}

/** What a `Retry-After` header asks for, in milliseconds; it is seconds or a date (RFC 9110, 10.2.3). */
export function parseRetryAfter(value: string | null | undefined): number | undefined {
  if (!value) return undefined
  const delay = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isNaN(delay) ? undefined : Math.max(0, delay)
}
