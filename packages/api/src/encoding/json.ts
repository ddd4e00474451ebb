import superjson, { type SuperJSONResult } from 'superjson'
import { badField } from '../operation/errors.ts'

// JSON.stringify leaves its fast path at the first Date, and superjson walks an output several times. Nearly all outputs
// are plain data with Dates: a copy with the Dates as text is faster to encode.

/** Encodes a value for REST: JSON, with Dates in ISO 8601. */
export function toJson(value: unknown): string {
  return JSON.stringify(plainCopy(value, '', []) ?? value)
}

/** Encodes a value as superjson does, with the same text, for {@link transformer} to decode. */
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
 * The superjson types that inputs use. Others can be expensive to decode: a set is searched linearly for each reference
 * into it, and a typed array has the length that the caller names.
 */
const SCALARS = new Set<unknown>(['undefined', 'number', 'Date'])

/** Annotations of superjson per input. No input has nearly as many keys. */
const MAX_NOTES = 100
const MAX_PATH_LENGTH = 1_000

/** @param values superjson's annotations: one for the whole value, or one for each path */
function haveScalarTypes(values: unknown): boolean {
  const notes: unknown[] = Array.isArray(values) ? [values] : Object.values(values ?? {})
  return notes.every((note) => Array.isArray(note) && note.length === 1 && SCALARS.has(note[0]))
}

/** Whether the annotations are within the limits. Stops at the first that is not. */
function areWithinLimits(notes: unknown, left = { notes: MAX_NOTES }): boolean {
  if (typeof notes === 'string') return notes.length <= MAX_PATH_LENGTH
  if (typeof notes !== 'object' || notes === null) return true
  for (const key in notes) {
    if (--left.notes < 0 || key.length > MAX_PATH_LENGTH) return false
    if (!areWithinLimits((notes as Record<string, unknown>)[key], left)) return false
  }
  return true
}

/** The transformer of the tRPC router. Every client needs the same format. */
export const transformer = {
  serialize: (value: unknown): SuperJSONResult => superjson.serialize(value),

  /**
   * Rejects a top-level `__proto__`, which superjson would drop silently. Schemas that take objects reject deeper ones.
   *
   * @throws AppError BAD_REQUEST
   */
  deserialize(payload: SuperJSONResult): unknown {
    const { json, meta } = payload
    if (typeof json === 'object' && json !== null && Object.hasOwn(json, '__proto__')) {
      throw badField('input', '__proto__ is not a known key')
    }
    // First, because superjson walks the value for each annotation.
    if (!areWithinLimits(meta?.values) || !areWithinLimits(meta?.referentialEqualities)) {
      throw badField('input', `must have at most ${MAX_NOTES} notes of superjson`)
    }
    if (!haveScalarTypes(meta?.values)) throw badField('input', 'must hold nothing but JSON')
    try {
      // In place, since superjson drops `__proto__` in its copy. Nothing else uses this object.
      return superjson.deserialize(payload, { inPlace: true })
    } catch {
      throw badField('input', 'must be as superjson writes it')
    }
  },
}

/** Keys that superjson rejects, or escapes in a path. */
const SPECIAL_KEY = /[.\\]|^(?:__proto__|constructor|prototype)?$/

/**
 * Copies plain data, with Dates as text.
 *
 * @param dates receives the path of every Date
 * @returns undefined for data that JSON cannot express, or superjson annotates
 */
function plainCopy(value: unknown, path: string, dates: string[]): unknown {
  if (isJsonScalar(value)) return value
  if (typeof value !== 'object' || value === null) return undefined
  if (value instanceof Date) {
    if (path === '' || Number.isNaN(value.getTime())) return undefined
    dates.push(path)
    return isoText(value)
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
  // Far cheaper than an object that grows key by key: most values stay as they are.
  const copy: Record<string, unknown> = { ...value }
  for (const key in copy) {
    const inner = copy[key]
    if (isJsonScalar(inner)) continue
    if (SPECIAL_KEY.test(key)) return undefined
    const item = plainCopy(inner, before + key, dates)
    if (item === undefined) return undefined
    copy[key] = item
  }
  return copy
}

/** Whether JSON and superjson encode it alike, without an annotation. */
function isJsonScalar(value: unknown): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
    default:
      return value === null
  }
}

const DAY_MS = 86_400_000

/** A page of messages spans few days. */
const MAX_CACHED_DAYS = 1_000

const dayTextCache = new Map<number, string>()
const twoDigits = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'))
const threeDigits = Array.from({ length: 1_000 }, (_, n) => String(n).padStart(3, '0'))

/** Returns the text of `toISOString`, which takes 0.33 µs, in 0.08 µs. */
function isoText(date: Date): string {
  const time = date.getTime()
  const day = Math.floor(time / DAY_MS)
  let text = dayTextCache.get(day)
  if (text === undefined) {
    if (dayTextCache.size === MAX_CACHED_DAYS) dayTextCache.clear()
    text = date.toISOString().slice(0, -'00:00:00.000Z'.length)
    dayTextCache.set(day, text)
  }
  const ms = time - day * DAY_MS
  const seconds = Math.floor(ms / 1_000)
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  return `${text}${twoDigits[hours]}:${twoDigits[minutes % 60]}:${twoDigits[seconds % 60]}.${threeDigits[ms % 1_000]}Z`
}
