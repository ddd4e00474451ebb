import { DatabaseError } from '@dowell-chat/db'
import { TRPCError } from '@trpc/server'
import { ZodError } from 'zod'
import { AppError, type ErrorCode, errorTable, type FieldErrors } from './errors.ts'

/** A failure as every surface tells it. The surfaces differ only in how they wrap it. */
export interface PublicError {
  readonly code: ErrorCode
  readonly status: number
  readonly message: string
  readonly errors?: FieldErrors
  /** Seconds after which the same request may succeed: the Retry-After header. */
  readonly retryAfter?: number
}

/** Of the database, what may be over in a moment. */
const PASSING = new Set<DatabaseError['reason']>(['busy', 'unavailable', 'overloaded', 'closed'])

/** What an outsider may know of anything that was thrown. Never the text of an unexpected error. */
export function toPublicError(error: unknown): PublicError {
  if (error instanceof AppError) {
    const { code, message, errors, retryAfter } = error
    return { ...publicError(code, message, errors), ...(retryAfter ? { retryAfter } : {}) }
  }
  if (error instanceof DatabaseError) {
    return PASSING.has(error.reason)
      ? { ...publicError('SERVICE_UNAVAILABLE'), retryAfter: 1 }
      : publicError('INTERNAL_SERVER_ERROR')
  }
  if (error instanceof TRPCError) return fromTrpc(error)
  return publicError('INTERNAL_SERVER_ERROR')
}

function fromTrpc(error: TRPCError): PublicError {
  const { cause } = error
  // Only failed input carries BAD_REQUEST; a failed output check is our fault and INTERNAL_SERVER_ERROR.
  if (error.code === 'BAD_REQUEST' && cause instanceof ZodError) {
    return publicError('BAD_REQUEST', undefined, fieldErrors(cause))
  }
  if (cause instanceof AppError || cause instanceof DatabaseError) return toPublicError(cause)
  const code = codeOfTrpc[error.code] ?? 'INTERNAL_SERVER_ERROR'
  return publicError(code)
}

const codeOfTrpc: Partial<Record<TRPCError['code'], ErrorCode>> = {
  ...Object.fromEntries(
    Object.entries(errorTable)
      .filter(([code, entry]) => code === entry.trpc)
      .map(([code]) => [code, code]),
  ),
  METHOD_NOT_SUPPORTED: 'METHOD_NOT_ALLOWED',
}

function publicError(code: ErrorCode, message?: string, errors?: FieldErrors): PublicError {
  const entry = errorTable[code]
  return {
    code,
    status: entry.status,
    message: message ?? entry.text,
    ...(errors === undefined ? {} : { errors }),
  }
}

/** Names in an error are the caller's own; a hostile one is cut, and no more than this many are told. */
const MAX_FIELDS = 20
const MAX_NAME = 100

/** Keys that superjson refuses to write, so an error that has one could not be answered over tRPC. */
export const UNWRITABLE: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** zod's issues by field. What concerns no field in particular stands under `input`, a hostile name in quotes. */
export function fieldErrors(error: ZodError): FieldErrors {
  const found = new Map<string, string[]>()
  const add = (field: string, text: string) => {
    const cut = field.slice(0, MAX_NAME).toWellFormed()
    const name = UNWRITABLE.has(cut) ? `"${cut}"` : cut
    const texts = found.get(name)
    // Many long names may be one when they are cut.
    if (texts?.includes(text)) return
    if (texts) texts.push(text)
    else if (found.size < MAX_FIELDS) found.set(name, [text])
  }
  for (const issue of error.issues) {
    const path = issue.path.map(String).join('.')
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) add(path ? `${path}.${key}` : key, 'is not a known key')
    } else if (path === '' && issue.code === 'invalid_type') {
      // The whole input, over tRPC; the schemas word only their fields.
      add('input', 'must be an object')
    } else {
      add(path || 'input', issue.message)
    }
  }
  return Object.fromEntries(found)
}
