import { z } from 'zod'

/** A text field that tells a missing value from one of the wrong type. */
function text() {
  return z.string({
    error: (issue) => (issue.input === undefined ? 'is required' : 'must be text'),
  })
}

const CONTROL = /[^\P{Cc}\t\n\r]/u

/**
 * Text that every store and every wire keeps byte for byte: valid Unicode, without control characters other than
 * newline, carriage return and tab.
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

/** Length in Unicode characters (code points), as JSON Schema's maxLength counts. */
export function isLongerThan(value: string, max: number): boolean {
  if (value.length <= max) return false
  if (value.length > 2 * max) return true
  let count = 0
  for (const _ of value) if (++count > max) return true
  return false
}

const NAME_MAX = 200

/** A name or an id that is made elsewhere: 1 to 200 characters, kept as it is. */
export const name = storable()
  .refine((value) => value !== '', { error: 'must not be empty', abort: true })
  .refine((value) => !isLongerThan(value, NAME_MAX), {
    error: `must have at most ${NAME_MAX} characters`,
  })
  .meta({ minLength: 1, maxLength: NAME_MAX })

const LABEL_MAX = 50

/** What rooms are sorted by: 1 to 50 characters, no comma, since lists in a URL are separated by commas. */
export const label = storable()
  .refine((value) => value !== '', { error: 'must not be empty', abort: true })
  .refine((value) => !isLongerThan(value, LABEL_MAX), {
    error: `must have at most ${LABEL_MAX} characters`,
  })
  .refine((value) => !value.includes(','), { error: 'must have no comma' })
  .meta({ minLength: 1, maxLength: LABEL_MAX, pattern: '^[^,]*$' })

/** The text of a message. Its greatest length is a setting, so createMessage checks it. */
export const messageText = storable()
  .refine((value) => value !== '', { error: 'must not be empty' })
  .meta({ minLength: 1 })

/** An id that this server gave. */
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
    description: `One of ${messageTypes.join(', ')}, in any casing; answered as it was sent.`,
    example: 'text',
  })

export const boolean = z.boolean({
  error: (issue) => (issue.input === undefined ? 'is required' : 'must be true or false'),
})

/** Who reads: for whom unread messages are counted, and whose read marker is meant. */
export const reader = {
  readerId: name
    .meta({ description: 'The user who reads, for a caller without a user token.' })
    .optional(),
  readerSide: boolean
    .meta({ description: "The reader's side, together with `readerId`." })
    .optional(),
}

export const unread = z.int().nonnegative().meta({
  description:
    "How many messages of the other side lie after the reader's marker, deleted ones left out.",
  example: 1,
})

/** The same where there may be no reader. */
export const unreadOfReader = unread.nullable().meta({
  description:
    "How many messages of the other side lie after the reader's marker, deleted ones left out; null when no reader is named.",
})

/** A point in time. A real Date in tRPC; ISO 8601 in UTC, with milliseconds, in JSON. */
export const time = z.date().meta({ type: 'string', format: 'date-time' })
