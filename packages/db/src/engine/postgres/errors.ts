import pg from 'pg'
import { DatabaseError } from '../errors.ts'

export function codeOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const RETRYABLE = new Set([
  '23505', // unique_violation: a row that was missing a moment ago exists now
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '55P03', // lock_not_available
  '0A000', // feature_not_supported: see isStalePlan
])

export function isRetryable(error: unknown): boolean {
  return RETRYABLE.has(codeOf(error) ?? '') || isUnavailable(error)
}

const NOT_STORABLE = new Set([
  '22001', // string_data_right_truncation
  '22003', // numeric_value_out_of_range
  '22021', // character_not_in_repertoire: NUL in text
  '22P05', // untranslatable_character
  '54000', // program_limit_exceeded: the row of an index is too large
])

export function isNotStorable(error: unknown): boolean {
  return NOT_STORABLE.has(codeOf(error) ?? '')
}

export function isUniqueViolation(error: unknown): boolean {
  return codeOf(error) === '23505'
}

export function isLockTimeout(error: unknown): boolean {
  return codeOf(error) === '55P03'
}

/** "cached plan must not change result type": the statement was prepared before a schema change. */
export function isStalePlan(error: unknown): boolean {
  return codeOf(error) === '0A000'
}

export function isStatementTimeout(error: unknown): boolean {
  return codeOf(error) === '57014'
}

/**
 * With these the server ends the connection or refuses to work on it: it stops, starts, is not the primary (25006 for a
 * write, 55000 for a question about the write-ahead log), or has ended an idle transaction.
 */
const CONNECTION_LOST = /^(?:08...|53...|57P..|25006|25P03|25P04|55000)$/

export function isConnectionLost(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return CONNECTION_LOST.test(error.code ?? '')
  const { code, message } = error as NodeJS.ErrnoException
  return (
    typeof code === 'string' ||
    /^(?:Connection terminated|Query read timeout|Client )/.test(message)
  )
}

function isUnavailable(error: unknown): boolean {
  return error instanceof DatabaseError && error.reason === 'unavailable'
}

export function unavailable(cause: unknown): DatabaseError {
  return new DatabaseError('unavailable', `the database does not answer: ${explain(cause)}`, {
    cause,
  })
}

/** The same failure at the start of the server. */
export function cannotOpen(location: string, error: unknown): DatabaseError {
  const cause = isUnavailable(error) ? (error as DatabaseError).cause : error
  return new DatabaseError(
    'cannot-open',
    `cannot open the database ${location}: ${explain(cause)}`,
    { cause },
  )
}

/** The cause in words for an operator. The server's own messages name users and databases but never a password. */
function explain(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  switch (code) {
    case 'ECONNREFUSED':
      return 'nobody listens at this address'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its host is not known'
    case 'ENOENT':
      return 'there is no such socket'
    case '28P01':
      return 'the password is wrong'
    case '3D000':
      return 'there is no database of this name'
    case '25006':
      return 'it is read-only'
    case '42501':
      return `this user may not make tables: ${message}`
    default:
      break
  }
  if (/password must be a string/.test(message)) return 'it wants a password, and there is none'
  if (/timeout/i.test(message)) return `it did not answer in time`
  return message
}
