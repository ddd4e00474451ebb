import { z } from 'zod'

/** Distinguishes a missing value from one of the wrong type. */
function text() {
  return z.string({
    error: (issue) => (issue.input === undefined ? 'is required' : 'must be text'),
  })
}

const CONTROL = /[^\P{Cc}\t\n\r]/u

/**
 * Text that every database and wire format preserves: valid Unicode, without control characters other than newline,
 * carriage return and tab.
 */
function storable() {
  return text()
    .refine((value) => value.isWellFormed(), {
      error: 'must be valid Unicode, without half of a surrogate pair',
      abort: true,
    })
    .refine((value) => !CONTROL.test(value), {
      error: 'must have no control characters other than newline, carriage return and tab',
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

/** A name, or an id from another system: 1 to 200 characters, stored unchanged. */
export const name = storable()
  .refine((value) => value !== '', { error: 'must not be empty', abort: true })
  .refine((value) => !isLongerThan(value, NAME_MAX), {
    error: `must have at most ${NAME_MAX} characters`,
  })
  .meta({ minLength: 1, maxLength: NAME_MAX })

const LABEL_MAX = 50

/** A label of a room: 1 to 50 characters, no comma, since lists in a URL are separated by commas. */
export const label = storable()
  .refine((value) => value !== '', { error: 'must not be empty', abort: true })
  .refine((value) => !isLongerThan(value, LABEL_MAX), {
    error: `must have at most ${LABEL_MAX} characters`,
  })
  .refine((value) => !value.includes(','), { error: 'must have no comma' })
  .meta({ minLength: 1, maxLength: LABEL_MAX, pattern: '^[^,]*$' })

/** Its maximum length is configurable, so createMessage checks it. */
export const messageText = storable()
  .refine((value) => value !== '', { error: 'must not be empty' })
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

/** A Date in tRPC; in JSON, ISO 8601 in UTC with milliseconds. */
export const time = z.date().meta({ type: 'string', format: 'date-time' })
