import { z } from 'zod'

/** Fields of a request, as sent. */
export type Fields = Record<string, unknown>

const BOOLEAN_WORDS = new Map<unknown, boolean>([
  ...['true', '1', 'yes', 'on', 't', 'y'].map((word) => [word, true] as const),
  ...['false', '0', 'no', 'off', 'f', 'n'].map((word) => [word, false] as const),
  [1, true],
  [0, false],
])

/** Reads the words that forms and queries use for booleans: the text "false" is false. */
function readBoolean(value: unknown): unknown {
  return BOOLEAN_WORDS.get(typeof value === 'string' ? value.trim().toLowerCase() : value) ?? value
}

function readInteger(value: unknown): unknown {
  return typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value
}

/** A list in a query has commas, repeated keys or both. No item of our lists may contain a comma. */
function readList(value: unknown): unknown {
  if (Array.isArray(value)) return value.flatMap(readList)
  return typeof value === 'string' ? value.split(',') : value
}

/** A query has no other form of null. */
function readNullable(value: unknown): unknown {
  return value === '' ? null : value
}

const readersByType: Partial<Record<string, (value: unknown) => unknown>> = {
  boolean: readBoolean,
  number: readInteger,
  array: readList,
  nullable: readNullable,
}

const NOT_IN_BODIES = new Set(['array', 'nullable'])

/**
 * Creates a function that converts text fields to the types of a schema. It leaves unreadable text for the schema to
 * reject. tRPC does not use it: there "false" is text.
 *
 * @param isBody the fields come from a body, which has real lists and nulls
 */
export function createCoercer(schema: z.ZodObject, isBody = false): (fields: Fields) => Fields {
  const readers = Object.entries(schema.shape).flatMap(([key, field]) => {
    const type = typeOf(field as z.ZodType)
    const read = readersByType[type]
    return read && !(isBody && NOT_IN_BODIES.has(type)) ? [[key, read] as const] : []
  })
  return (fields) => {
    const values = { ...fields }
    for (const [key, read] of readers) {
      if (Object.hasOwn(fields, key)) values[key] = read(fields[key])
    }
    return values
  }
}

/** The names of the fields that are lists. */
export function listFields(schema: z.ZodObject): ReadonlySet<string> {
  const fields = Object.entries(schema.shape)
  return new Set(
    fields.flatMap(([key, field]) => (typeOf(field as z.ZodType) === 'array' ? [key] : [])),
  )
}

/**
 * The type of a schema's values, whether they are optional or not. `array`: also a list that may be a single value.
 * `custom`: any JSON.
 */
export function typeOf(schema: z.ZodType): string {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) {
    return typeOf(schema.unwrap() as z.ZodType)
  }
  const options = schema instanceof z.ZodUnion ? schema.options : []
  return options.some((option) => option instanceof z.ZodArray) ? 'array' : schema.def.type
}
