import superjson, { type SuperJSONResult } from 'superjson'
import { badField } from './errors.ts'

// JSON.stringify leaves its fast path at the first Date, and superjson walks an answer several times. Nearly all answers
// are plain data with Dates, and for those there is a short way: a copy with the Dates as text.

/** A value as REST has it: JSON, with Dates in ISO 8601. */
export function toJson(value: unknown): string {
  return JSON.stringify(plainCopy(value, '', []) ?? value)
}

/** The same text as superjson's, for {@link transformer} to read. */
export function toSuperjson(value: unknown): string {
  const dates: string[] = []
  const copy = plainCopy(value, '', dates)
  if (copy === undefined) return superjson.stringify(value)
  const json = JSON.stringify(copy)
  if (dates.length === 0) return `{"json":${json}}`
  const values = dates.map((path) => `${JSON.stringify(path)}:["Date"]`)
  return `{"json":${json},"meta":{"values":{${values.join()}},"v":1}}`
}

/**
 * What superjson's notes may make of a value. No input holds anything else, and the rest can be dear: a set is searched
 * from its beginning at each reference into it, and a typed array is as long as its caller says.
 */
const SCALARS = new Set<unknown>(['undefined', 'number', 'Date'])

/** What tRPC gives its wire's values to. */
export const transformer = {
  serialize: (value: unknown): SuperJSONResult => superjson.serialize(value),

  /**
   * superjson leaves out what is called `__proto__`: it is refused instead, here, or deeper down by who takes objects.
   *
   * @throws AppError BAD_REQUEST
   */
  deserialize(payload: SuperJSONResult): unknown {
    const { json, meta } = payload
    if (typeof json === 'object' && json !== null && Object.hasOwn(json, '__proto__')) {
      throw badField('input', '__proto__ is not a known key')
    }
    const values = meta?.values ?? {}
    const notes: unknown[] = Array.isArray(values) ? [values] : Object.values(values)
    if (!notes.every((note) => Array.isArray(note) && note.length === 1 && SCALARS.has(note[0]))) {
      throw badField('input', 'must hold nothing but JSON')
    }
    try {
      // In place, since its copy is where that is left out; nobody else has this object.
      return superjson.deserialize(payload, { inPlace: true })
    } catch {
      throw badField('input', 'must be as superjson writes it')
    }
  },
}

/** Keys that superjson refuses, or that need care in a path. */
const SPECIAL = /[.\\]|^(?:__proto__|constructor|prototype)?$/

/**
 * A copy of plain data, with Dates as text.
 *
 * @param dates gets the path of every Date
 * @returns undefined for data that JSON has no words for, or superjson words of its own
 */
function plainCopy(value: unknown, path: string, dates: string[]): unknown {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value
  if (typeof value === 'number') {
    return Number.isFinite(value) && !Object.is(value, -0) ? value : undefined
  }
  if (typeof value !== 'object') return undefined
  if (value instanceof Date) {
    if (path === '' || Number.isNaN(value.getTime())) return undefined
    dates.push(path)
    return value.toISOString()
  }
  const before = path === '' ? '' : `${path}.`
  if (Array.isArray(value)) {
    const copy: unknown[] = []
    for (let i = 0; i < value.length; i++) {
      const item = plainCopy(value[i], before + i, dates)
      if (item === undefined) return undefined
      copy.push(item)
    }
    return copy
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return undefined
  // Far cheaper than an object that grows key by key: most of its values stay.
  const copy: Record<string, unknown> = { ...value }
  for (const key in copy) {
    const inner = copy[key]
    if (typeof inner === 'string' || typeof inner === 'boolean' || inner === null) continue
    if (SPECIAL.test(key)) return undefined
    const item = plainCopy(inner, before + key, dates)
    if (item === undefined) return undefined
    if (item !== inner) copy[key] = item
  }
  return copy
}
