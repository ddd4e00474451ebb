/** Longest `Retry-After` that is honoured (ms). */
const MAX_RETRY_AFTER_MS = 5 * 60_000

/** The delay stops growing here. It stays random, so that clients that failed together do not retry together. */
const MAX_FAILURES = 13

/**
 * Delay before the next try, in milliseconds: random between max(250, 2000(n − 1)) and min(500 + 2000n, 25000) after n
 * failures in a row, and at least `retryAfter`.
 *
 * @param failures failures in a row, 1 or more
 * @param retryAfter milliseconds that the server asked for; capped at five minutes
 */
export function retryDelay(failures: number, retryAfter = 0): number {
  const n = Math.min(failures, MAX_FAILURES)
  const min = Math.max(250, 2000 * (n - 1))
  const max = Math.min(500 + 2000 * n, 25_000)
  return Math.max(min + Math.random() * (max - min), Math.min(retryAfter, MAX_RETRY_AFTER_MS))
}

/** Parses a `Retry-After` header, seconds or a date (RFC 9110, 10.2.3), to milliseconds; undefined if malformed. */
export function parseRetryAfter(value: string | null | undefined): number | undefined {
  if (!value) return undefined
  const delay = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isNaN(delay) ? undefined : Math.max(0, delay)
}
