import { z } from 'zod'

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

/** A list in a query is one text with commas: none of our lists has texts with commas in them. In a body it is a list. */
function readList(value: unknown): unknown {
  return typeof value === 'string' ? value.split(',') : value
}

/**
 * A REST schema of its own for a value that may arrive as text. REST cannot use tRPC's schemas: trpc-to-openapi sets
 * `coerce` on every boolean and number that it is given, and from then on tRPC would read "false" as true as well.
 * A preprocessed schema is a pipe, which it leaves alone.
 */
export function fromText<Schema extends z.ZodType>(schema: Schema, inBody = false): Schema {
  const { def } = schema._zod as unknown as { def: { type: string } }
  const meta = schema.meta()
  const rebuilt = rebuild(schema, def.type, inBody)
  return (meta && rebuilt !== schema ? rebuilt.meta(meta) : rebuilt) as Schema
}

function rebuild(schema: z.ZodType, type: string, inBody: boolean): z.ZodType {
  if (type === 'boolean') return z.preprocess(readBoolean, schema)
  if (type === 'number') return z.preprocess(readInteger, schema)
  if (type === 'array' && !inBody) return z.preprocess(readList, schema)
  if (schema instanceof z.ZodOptional) {
    return fromText(schema.unwrap() as z.ZodType, inBody).optional()
  }
  if (schema instanceof z.ZodDefault) {
    return fromText(schema.unwrap() as z.ZodType, inBody).default(schema.def.defaultValue as never)
  }
  return schema
}

/** The same input object, each of its keys readable from text. */
export function restInput(schema: z.ZodObject, inBody = false): z.ZodObject {
  const shape = Object.fromEntries(
    Object.entries(schema.shape).map(([key, field]) => [key, fromText(field as z.ZodType, inBody)]),
  )
  return z.strictObject(shape)
}
