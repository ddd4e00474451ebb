import { Buffer } from 'node:buffer'
import { z } from 'zod'
import { UNSAFE_KEYS } from '../operation/publicError.ts'

const MAX_BYTES = 4096
const MAX_DEPTH = 20

const TOO_LONG = `must have at most ${MAX_BYTES} bytes as JSON`

/** A JSON merge patch (RFC 7396) of a room's `custom`. */
export const customPatch = z
  .custom<Record<string, unknown>>((value) => findCustomError(value) === undefined, {
    error: ({ input }) => findCustomError(input),
  })
  .meta({
    type: 'object',
    additionalProperties: true,
    description:
      'Merged into `custom` by RFC 7396: keys that you leave out stay, null removes a key. Not together with `custom`.',
    example: { orderNumber: 4711, coupon: null },
  })

/** A JSON object with the organisation's own data, stored and returned unchanged. */
export const custom = z
  .custom<Record<string, unknown>>((value) => findCustomError(value) === undefined, {
    error: ({ input }) => findCustomError(input),
  })
  .meta({
    type: 'object',
    additionalProperties: true,
    description: `Any JSON object of up to ${MAX_BYTES} bytes, for your own use. It replaces the previous one.`,
    example: { orderNumber: 4711 },
  })

/** Returns why a value cannot be a room's `custom`; undefined if it can. */
export function findCustomError(value: unknown): string | undefined {
  if (!isPlainObject(value)) return 'must be an object'
  const error = findErrorWithin(value, 1, { bytes: MAX_BYTES })
  if (error !== undefined) return error
  return Buffer.byteLength(JSON.stringify(value)) > MAX_BYTES ? TOO_LONG : undefined
}

/**
 * Returns why a value is not allowed: not JSON, too large, too deep, or with a key that superjson rejects. Stops once the
 * `left` bytes are used up: over tRPC a value may contain itself, or be far larger than the request.
 */
function findErrorWithin(
  value: unknown,
  depth: number,
  left: { bytes: number },
): string | undefined {
  left.bytes -= typeof value === 'string' ? value.length + 2 : 1
  if (left.bytes < 0) return TOO_LONG
  if (value === null || ['string', 'boolean'].includes(typeof value)) return undefined
  if (Number.isFinite(value)) return undefined
  if (!Array.isArray(value) && !isPlainObject(value)) {
    return 'must hold nothing but text, finite numbers, true, false, null, lists and objects'
  }
  if (depth > MAX_DEPTH) return `must be nested at most ${MAX_DEPTH} deep`
  if (!Array.isArray(value)) {
    const keys = Object.keys(value)
    if (keys.some((key) => UNSAFE_KEYS.has(key))) {
      return `must not have the keys ${[...UNSAFE_KEYS].join(', ')}`
    }
    left.bytes -= keys.join().length
  }
  // Not Object.values for a list: it would skip the holes.
  for (const each of Array.isArray(value) ? value : Object.values(value)) {
    const error = findErrorWithin(each, depth + 1, left)
    if (error !== undefined) return error
  }
  return undefined
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
