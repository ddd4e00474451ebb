import { Buffer } from 'node:buffer'
import { z } from 'zod'
import { badField } from '../operation/errors.ts'

/** Items per page. */
export const DEFAULT_LIMIT = 50
export const MAX_LIMIT = 200

const cursorText = z
  .string({ error: 'must be a cursor' })
  .max(100, { error: 'is not a valid cursor' })

const limitError = `must be a whole number from 1 to ${MAX_LIMIT}`

/**
 * The input fields that choose a page: at most one of before, after and around. None has an example, because the
 * documentation page would send them all.
 */
export const pageInput = {
  limit: z
    .int({ error: limitError })
    .min(1, { error: limitError })
    .max(MAX_LIMIT, { error: limitError })
    .meta({ description: `Maximum number of items; ${DEFAULT_LIMIT} by default.` })
    .optional(),
  before: cursorText.meta({ description: 'The page that ends at this cursor.' }).optional(),
  after: cursorText.meta({ description: 'The page that begins at this cursor.' }).optional(),
  around: z
    .string({ error: 'must be a cursor or an id' })
    .max(100, { error: 'is not a valid cursor or id' })
    .meta({ description: 'The page with this cursor, or the item with this id, in its middle.' })
    .optional(),
}

export interface PageRequest {
  readonly limit?: number | undefined
  readonly before?: string | undefined
  readonly after?: string | undefined
  readonly around?: string | undefined
}

/** A page of items, in ascending order. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item).meta({ description: 'In ascending order.' }),
    before: z.string().meta({
      description: 'Send it as `before` for the previous page.',
      example: 'bTowMA',
    }),
    after: z.string().meta({
      description: 'Send it as `after` for the next page, also later when there are new items.',
      example: 'bTo0Mg',
    }),
    hasBefore: z.boolean().meta({ description: 'Whether there are items before this page.' }),
    hasAfter: z.boolean().meta({ description: 'Whether there are items after this page.' }),
  })
}

export interface Page<Item> {
  items: Item[]
  before: string
  after: string
  hasBefore: boolean
  hasAfter: boolean
}

/**
 * The page that a caller asks for. A boundary lies between two positions: 7 lies between the items at 7 and at 8, and 0
 * before all items. It needs no items beside it, so an empty page has cursors as well.
 */
export type PageRef =
  | { readonly kind: 'newest' }
  | CursorRef
  | { readonly kind: 'aroundItem'; readonly id: string }

export interface CursorRef {
  readonly kind: 'before' | 'after' | 'around'
  readonly boundary: number
  /** Undefined: the first epoch. */
  readonly epoch: string | undefined
}

/** The list of a cursor: messages, rooms, keys or audit events. Other lists reject the cursor. */
export type ListTag = 'm' | 'r' | 'k' | 'a'

/** @param epoch undefined for the first one */
export function encodeCursor(list: ListTag, boundary: number, epoch?: string): string {
  const encoded = Buffer.from(`${list}:${boundary}`).toString('base64url')
  return epoch === undefined ? encoded : `${encoded}.${epoch}`
}

function decodeCursor(list: ListTag, field: string, cursor: string) {
  const [, encoded = '', epoch] = /^([^.]*)(?:\.([\w.-]+))?$/.exec(cursor) ?? []
  const match = /^([a-z]):(0|[1-9][0-9]{0,14})$/.exec(Buffer.from(encoded, 'base64url').toString())
  const boundary = Number(match?.[2])
  // Base64 decoding accepts several spellings; only the one that we encode is valid.
  if (match?.[1] !== list || encodeCursor(list, boundary, epoch) !== cursor) {
    throw badField(field, 'is not a cursor that this list gave')
  }
  return { boundary, epoch }
}

/** @throws AppError BAD_REQUEST when the request has more than one of the fields, or a cursor of another list */
export function toPageRef(list: ListTag, request: PageRequest): PageRef {
  const { before, after, around } = request
  const [first, second] = Object.entries({ before, after, around }).filter(
    ([, value]) => value !== undefined,
  )
  if (second) throw badField(second[0], `cannot be given together with ${first?.[0]}`)
  if (before !== undefined) {
    return { kind: 'before', ...decodeCursor(list, 'before', before) }
  }
  if (after !== undefined) return { kind: 'after', ...decodeCursor(list, 'after', after) }
  if (around === undefined) return { kind: 'newest' }
  if (/^[0-9a-f]{24}$/.test(around)) return { kind: 'aroundItem', id: around }
  return { kind: 'around', ...decodeCursor(list, 'around', around) }
}
