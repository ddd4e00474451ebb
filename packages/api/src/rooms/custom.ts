import { Buffer } from 'node:buffer'
import { z } from 'zod'
import { UNWRITABLE } from '../operation/publicError.ts'

const MAX_BYTES = 4096
const MAX_DEPTH = 20

const TOO_LONG = `must have at most ${MAX_BYTES} bytes as JSON`

/** A JSON object that is the organisation's own business, kept and answered as it is. */
export const custom = z
  .custom<Record<string, unknown>>((value) => faultOf(value) === undefined, {
    error: ({ input }) => faultOf(input),
  })
  .meta({
    type: 'object',
    additionalProperties: true,
    description: `Any JSON object of up to ${MAX_BYTES} bytes, for your own use. It takes the place of the one before.`,
    example: { orderNumber: 4711 },
  })

function faultOf(value: unknown): string | undefined {
  if (!isPlainObject(value)) return 'must be an object'
  const fault = faultWithin(value, 1, { bytes: MAX_BYTES })
  if (fault !== undefined) return fault
  return Buffer.byteLength(JSON.stringify(value)) > MAX_BYTES ? TOO_LONG : undefined
}

/**
 * What is not JSON in a value, too much of it, or refused on the way to somebody's objects. It stops where there is more
 * than `left` can hold: what comes over tRPC may contain itself, or be many times as large as it arrived.
 */
function faultWithin(value: unknown, depth: number, left: { bytes: number }): string | undefined {
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
    if (keys.some((key) => UNWRITABLE.has(key))) {
      return `must not have the keys ${[...UNWRITABLE].join(', ')}`
    }
    left.bytes -= keys.join().length
  }
  // The values of a list by turn: one with holes may be longer than it has values.
  for (const each of Array.isArray(value) ? value : Object.values(value)) {
    const fault = faultWithin(each, depth + 1, left)
    if (fault !== undefined) return fault
  }
  return undefined
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
