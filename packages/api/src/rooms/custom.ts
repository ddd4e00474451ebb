import { Buffer } from 'node:buffer'
import { z } from 'zod'
import { OUT_OF_RANGE } from '../encoding/exactJson.ts'
import { findTextError } from '../encoding/fields.ts'
import { UNSAFE_KEYS } from '../operation/publicError.ts'

const MAX_BYTES = 4096
/** More than the result of a patch may have: a null can be longer than the value that it removes. */
const MAX_PATCH_BYTES = 4 * MAX_BYTES
const MAX_DEPTH = 20

const TOO_DEEP = `must be nested at most ${MAX_DEPTH} deep`
const tooLong = (bytes: number) => `must have at most ${bytes} bytes as JSON`

/** A JSON object that other JSON readers keep. What the parser of the text lost before, transports find by `findLosses`. */
const freeJson = z.custom<Record<string, unknown>>().meta({
  type: 'object',
  additionalProperties: true,
})

function checkCustom(maxBytes: number) {
  return (value: unknown, ctx: z.RefinementCtx): void => {
    const error = findError(value, maxBytes)
    if (error) ctx.addIssue({ code: 'custom', path: error.path, message: error.problem })
  }
}

/** A JSON merge patch (RFC 7396) of a room's `custom`. */
export const customPatch = freeJson
  .meta({
    type: 'object',
    additionalProperties: true,
    description:
      'Merged into `custom` by RFC 7396: keys that you leave out stay, null removes a key. Not together with `custom`.',
    example: { orderNumber: 4711, coupon: null },
  })
  .superRefine(checkCustom(MAX_PATCH_BYTES))

/** A JSON object with the organisation's own data, stored and returned unchanged. */
export const custom = freeJson
  .meta({
    type: 'object',
    additionalProperties: true,
    description: `Any JSON object of up to ${MAX_BYTES} bytes, for your own use. It replaces the previous one. It is kept exactly; what cannot be is refused, such as an integer beyond 2^53.`,
    example: { orderNumber: 4711 },
  })
  .superRefine(checkCustom(MAX_BYTES))

/**
 * Returns why a merged `custom` cannot be stored; undefined if it can. Its parts are checked with the patch, or are from
 * before the rules for new ones.
 */
export function findSizeError(merged: unknown): string | undefined {
  const json = JSON.stringify(merged)
  if (Buffer.byteLength(json) > MAX_BYTES) return tooLong(MAX_BYTES)
  return depthOf(merged) > MAX_DEPTH ? TOO_DEEP : undefined
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

interface FoundError {
  readonly path: string[]
  readonly problem: string
}

const ofWhole = (problem: string): FoundError => ({ path: [], problem })

function findError(value: unknown, maxBytes: number): FoundError | undefined {
  if (!isPlainObject(value)) return ofWhole('must be an object')
  const error = findErrorWithin(value, [], { bytes: maxBytes, maxBytes })
  if (error !== undefined) return error
  return Buffer.byteLength(JSON.stringify(value)) > maxBytes
    ? ofWhole(tooLong(maxBytes))
    : undefined
}

/**
 * Returns why a value is not allowed: not JSON, too large, too deep, not kept by each JSON reader, or with a key that
 * superjson rejects. Stops once the `left` bytes are used up: over tRPC a value may contain itself, or be far larger than
 * the request.
 */
function findErrorWithin(
  value: unknown,
  path: string[],
  left: { bytes: number; readonly maxBytes: number },
): FoundError | undefined {
  left.bytes -= typeof value === 'string' ? value.length + 2 : 1
  if (left.bytes < 0) return ofWhole(tooLong(left.maxBytes))
  if (value === null || typeof value === 'boolean') return undefined
  if (typeof value === 'string') return at(path, findTextError(value))
  if (typeof value === 'number' && Number.isFinite(value)) return at(path, findNumberError(value))
  if (!Array.isArray(value) && !isPlainObject(value)) {
    const allowed = 'text, finite numbers, true, false, null, lists and objects'
    return { path, problem: `must hold nothing but ${allowed}` }
  }
  if (path.length >= MAX_DEPTH) return ofWhole(TOO_DEEP)
  const keys = Array.isArray(value) ? [] : Object.keys(value)
  left.bytes -= keys.join().length
  for (const key of keys) {
    const inner = [...path, readable(key)]
    if (UNSAFE_KEYS.has(key)) return { path: inner, problem: `must not have the key ${key}` }
    const error = findTextError(key)
    if (error !== undefined) return { path: inner, problem: `has a key that ${error}` }
  }
  // Not Object.values for a list: it would skip the holes.
  for (const [key, each] of Array.isArray(value) ? value.entries() : Object.entries(value)) {
    const error = findErrorWithin(each, [...path, String(key)], left)
    if (error !== undefined) return error
  }
  return undefined
}

function at(path: string[], problem: string | undefined): FoundError | undefined {
  return problem === undefined ? undefined : { path, problem }
}

function findNumberError(value: number): string | undefined {
  // JSON.stringify writes no sign of zero.
  if (Object.is(value, -0)) return 'must be 0, since -0 is not kept'
  return Math.abs(value) > Number.MAX_SAFE_INTEGER ? OUT_OF_RANGE : undefined
}

/** A key as an error may name it. */
function readable(key: string): string {
  return key.toWellFormed().replaceAll('\0', '\ufffd')
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
