import { DatabaseError } from '@dowell-chat/db'
import { TRPCError } from '@trpc/server'
import { ZodError } from 'zod'
import { AppError, type ErrorCode, errorTable, type FieldErrors } from './errors.ts'

/** An error as every transport reports it. Transports differ only in the envelope. */
export interface PublicError {
  readonly code: ErrorCode
  readonly status: number
  readonly message: string
  readonly errors?: FieldErrors
  /** Seconds after which the same request may succeed: the Retry-After header. */
  readonly retryAfter?: number
}

/** Database errors after which a retry may succeed. */
const RETRYABLE = new Set<DatabaseError['reason']>(['busy', 'unavailable', 'overloaded', 'closed'])

/** For values that no schema refuses. */
const NOT_STORABLE = 'A value is too long for the database, or has a character that it cannot store'

/** Another version has changed the schema; a write may succeed on another instance. */
const OTHER_SCHEMA = new Set<DatabaseError['reason']>(['newer-schema', 'older-schema'])

const OTHER_SCHEMA_TEXT =
  'Another version of the server has changed the database, so this one only reads; try again'

/** Converts any thrown value to an error that is safe to send. The text of an unexpected error is never sent. */
export function toPublicError(error: unknown): PublicError {
  if (error instanceof AppError) {
    const { code, message, errors, retryAfter } = error
    return { ...publicError(code, message, errors), ...(retryAfter ? { retryAfter } : {}) }
  }
  if (error instanceof DatabaseError) {
    if (error.reason === 'not-storable') return publicError('BAD_REQUEST', NOT_STORABLE)
    if (OTHER_SCHEMA.has(error.reason)) {
      return { ...publicError('SERVICE_UNAVAILABLE', OTHER_SCHEMA_TEXT), retryAfter: 1 }
    }
    return RETRYABLE.has(error.reason)
      ? { ...publicError('SERVICE_UNAVAILABLE'), retryAfter: 1 }
      : publicError('INTERNAL_SERVER_ERROR')
  }
  if (error instanceof TRPCError) return fromTrpc(error)
  return publicError('INTERNAL_SERVER_ERROR')
}

function fromTrpc(error: TRPCError): PublicError {
  const { cause } = error
  // A failed output check has another code, and becomes INTERNAL_SERVER_ERROR.
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

/** Field names come from the caller, so an error has a limited number of them, each of limited length. */
const MAX_FIELDS = 20
const MAX_NAME_CHARS = 100

/** Keys that superjson cannot serialise, so no value on tRPC may have them. */
export const UNSAFE_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** Groups problems by field. An unsafe name is put in quotes. */
export function toFieldErrors(
  problems: Iterable<{ readonly path: readonly string[]; readonly problem: string }>,
): FieldErrors {
  const found = new Map<string, string[]>()
  for (const { path, problem: text } of problems) {
    const field = path.join('.') || 'input'
    const cut = field.slice(0, MAX_NAME_CHARS).toWellFormed()
    const name = UNSAFE_KEYS.has(cut) ? `"${cut}"` : cut
    const texts = found.get(name)
    // Two long names may be equal once they are cut.
    if (texts?.includes(text)) continue
    if (texts) texts.push(text)
    else if (found.size < MAX_FIELDS) found.set(name, [text])
  }
  return Object.fromEntries(found)
}

/** Groups zod's issues by field. Issues without a field are under `input`. */
export function fieldErrors(error: ZodError): FieldErrors {
  return toFieldErrors(problemsOf(error))
}

function* problemsOf(error: ZodError) {
  for (const issue of error.issues) {
    const path = issue.path.map(String)
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) yield { path: [...path, key], problem: 'is not a known key' }
    } else if (path.length === 0 && issue.code === 'invalid_type') {
      // The whole input, over tRPC: the schemas have texts for their fields only.
      yield { path, problem: 'must be an object' }
    } else {
      yield { path, problem: issue.message }
    }
  }
}
