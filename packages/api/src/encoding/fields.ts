import { z } from 'zod'
import {
  findControl,
  findLoneSurrogate,
  findNul,
  isDotSegment,
  isVisible,
  trimBlanks,
} from './text.ts'

/** Distinguishes a missing value from one of the wrong type. */
function text() {
  return z.string({
    error: (issue) => (issue.input === undefined ? 'is required' : 'must be text'),
  })
}

/** Why databases and wire formats do not preserve a text; undefined if they do. */
export function findTextError(value: string): string | undefined {
  const half = findLoneSurrogate(value)
  if (half !== undefined) return `must be valid Unicode: ${half}, half of a surrogate pair`
  const nul = findNul(value)
  return nul === undefined ? undefined : `must not have the character NUL: ${nul}`
}

/** Text that every database and wire format preserves: every Unicode scalar value but NUL. */
function storable() {
  return text().refine((value) => findTextError(value) === undefined, {
    error: ({ input }) => findTextError(input as string),
    abort: true,
  })
}

/** Compares the length in code points, as JSON Schema's maxLength counts it. */
export function isLongerThan(value: string, max: number): boolean {
  if (value.length <= max) return false
  if (value.length > 2 * max) return true
  let count = 0
  for (const _ of value) if (++count > max) return true
  return false
}

const NAME_MAX = 200
const LABEL_MAX = 50

function withLength<Schema extends z.ZodType<string>>(schema: Schema, max: number) {
  return schema
    .refine((value) => value !== '', { error: 'must not be empty', abort: true })
    .refine((value) => !isLongerThan(value, max), { error: `must have at most ${max} characters` })
}

/** A name that exists, perhaps from before the rules for new ones: 1 to 200 characters, compared as it is. */
export const name = withLength(storable(), NAME_MAX).meta({ minLength: 1, maxLength: NAME_MAX })

/** Why a text is no line that a reader sees; undefined if it is one. */
function findLineError(value: string): string | undefined {
  const control = findControl(value)
  if (control !== undefined) return `must have no control characters: ${control}`
  return isVisible(value) ? undefined : 'must have a visible character'
}

/** Why a name may not be new; undefined if it may. */
export function findNameError(value: string): string | undefined {
  const error = findLineError(value)
  if (error !== undefined) return error
  return isDotSegment(value)
    ? `must not be ${value}, which URL parsers remove from a path`
    : undefined
}

function checked<Schema extends z.ZodType<string>>(
  schema: Schema,
  findError: (value: string) => string | undefined,
) {
  return schema.refine((value) => findError(value) === undefined, {
    error: ({ input }) => findError(input as string),
  })
}

/** A line of text without blanks at its ends: they are removed. */
const line = storable().overwrite(trimBlanks)

/** A new subject. */
export const subject = checked(withLength(line, NAME_MAX), findLineError).meta({
  minLength: 1,
  maxLength: NAME_MAX,
})

/** A new name. Blanks at its ends are removed. */
export const newName = checked(withLength(line, NAME_MAX), findNameError).meta({
  minLength: 1,
  maxLength: NAME_MAX,
})

/** Why an id may not be new; undefined if it may. Its blanks are not removed: callers compare ids with their own. */
export function findIdError(value: string): string | undefined {
  const error = findNameError(value)
  if (error !== undefined) return error
  return trimBlanks(value) === value ? undefined : 'must have no blanks at its ends'
}

/** A new id from another system, stored unchanged. */
export const newForeignId = checked(name, findIdError).meta({ minLength: 1, maxLength: NAME_MAX })

function withoutComma<Schema extends z.ZodType<string>>(schema: Schema) {
  return withLength(schema, LABEL_MAX).refine((value) => !value.includes(','), {
    error: 'must have no comma',
  })
}

const labelMeta = { minLength: 1, maxLength: LABEL_MAX, pattern: '^[^,]*$' }

/** A label that exists: 1 to 50 characters, no comma, since lists in a URL are separated by commas. */
export const label = withoutComma(storable()).meta(labelMeta)

/** A new label. Blanks at its ends are removed. */
export const newLabel = checked(withoutComma(line), findNameError).meta(labelMeta)

/** Its maximum length is configurable, so createMessage checks it. */
export const messageText = storable()
  .refine((value) => value !== '', { error: 'must not be empty', abort: true })
  .refine(isVisible, { error: 'must have a visible character' })
  .meta({ minLength: 1 })

/** An id of this server. */
export const id = text()
  .regex(/^[0-9a-f]{24}$/, { error: 'must be an id: 24 of the characters 0-9 and a-f' })
  .meta({ example: '64e96a73f59c079a226e1ae9' })

export const clientMessageId = text().regex(/^[A-Za-z0-9_-]{16,64}$/, {
  error: 'must have 16 to 64 of the characters A-Z, a-z, 0-9, _ and -',
})

export const messageTypes = ['text', 'image', 'file', 'audio', 'video', 'system'] as const

export const messageType = text()
  .refine((value) => (messageTypes as readonly string[]).includes(value.toLowerCase()), {
    error: `must be one of ${messageTypes.join(', ')}, in any casing`,
  })
  .meta({
    description: `One of ${messageTypes.join(', ')}, in any casing, which is preserved.`,
    example: 'text',
  })

export const boolean = z.boolean({
  error: (issue) => (issue.input === undefined ? 'is required' : 'must be true or false'),
})

/** The reader whose marker is meant and whose unread messages are counted. */
export const reader = {
  readerId: name
    .meta({ description: 'The user who reads, for a caller without a user token.' })
    .optional(),
  readerSide: boolean
    .meta({ description: 'The side of `readerId`; required together with it.' })
    .optional(),
}

export const unread = z.int().nonnegative().meta({
  description:
    "Number of messages of the other side after the reader's marker, without deleted ones.",
  example: 1,
})

/** For calls in which the reader is optional. */
export const unreadOfReader = unread.nullable().meta({
  description:
    "Number of messages of the other side after the reader's marker, without deleted ones; null without a reader.",
})

/** Milliseconds until `expiresAt`, for clients whose clock is wrong. */
export const msLeft = z.int().nonnegative().meta({
  description: 'Milliseconds until `expiresAt`, for a client whose clock may be wrong.',
  example: 6000,
})

/** The two fields that say when something expires. @param expiresAt and `now` in milliseconds since the Unix epoch */
export function expiry(expiresAt: number, now: number): { expiresAt: Date; expiresInMs: number } {
  return {
    expiresAt: new Date(expiresAt),
    expiresInMs: Math.max(0, Math.round(expiresAt - now)),
  }
}

/** A Date in tRPC; in JSON, ISO 8601 in UTC with milliseconds. */
export const time = z.date().meta({ type: 'string', format: 'date-time' })
