import { z } from 'zod'

/** What a caller sent, by name. */
export type Fields = Record<string, unknown>

const WORDS = new Map<unknown, boolean>([
  ...['true', '1', 'yes', 'on', 't', 'y'].map((word) => [word, true] as const),
  ...['false', '0', 'no', 'off', 'f', 'n'].map((word) => [word, false] as const),
  [1, true],
  [0, false],
])

/** Reads the words that forms and queries carry by their meaning: the text "false" is false. */
function readBoolean(value: unknown): unknown {
  return WORDS.get(typeof value === 'string' ? value.trim().toLowerCase() : value) ?? value
}

function readInteger(value: unknown): unknown {
  return typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value
}

/** A list in a query is one text with commas: none of our lists has texts with commas in them. */
function readList(value: unknown): unknown {
  return typeof value === 'string' ? value.split(',') : value
}

const readerOf: Partial<Record<string, (value: unknown) => unknown>> = {
  boolean: readBoolean,
  number: readInteger,
  array: readList,
}

/**
 * Turns what may have arrived as text into the values that an input's schema wants. What is no such text stays as it
 * is, for the schema to refuse. tRPC does without: there "false" is text.
 */
export function createCoercer(schema: z.ZodObject, inBody = false): (fields: Fields) => Fields {
  const readers = Object.entries(schema.shape).flatMap(([key, field]) => {
    const type = typeOf(field as z.ZodType)
    const read = readerOf[type]
    // A body can say what a list is.
    return read && !(inBody && type === 'array') ? [[key, read] as const] : []
  })
  return (fields) => {
    const values = { ...fields }
    for (const [key, read] of readers) {
      if (Object.hasOwn(fields, key)) values[key] = read(fields[key])
    }
    return values
  }
}

function typeOf(schema: z.ZodType): string {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault
    ? typeOf(schema.unwrap() as z.ZodType)
    : schema.def.type
}
