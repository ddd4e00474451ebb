import { Buffer } from 'node:buffer'
import { z } from 'zod'
import { badField } from '../operation/errors.ts'

/** Items of a page when the caller does not say, and at most. */
export const DEFAULT_LIMIT = 50
export const MAX_LIMIT = 200

const cursorText = z
  .string({ error: 'must be a cursor' })
  .max(100, { error: 'is not a valid cursor' })

const limitText = `must be a whole number from 1 to ${MAX_LIMIT}`

/**
 * The keys by which a caller chooses a page. At most one of before, after and around; none has an example, because the
 * documentation page would send them all.
 */
export const pageInput = {
  limit: z
    .int({ error: limitText })
    .min(1, { error: limitText })
    .max(MAX_LIMIT, { error: limitText })
    .meta({ description: `Items in the page, at most; ${DEFAULT_LIMIT} when left out.` })
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
      description: 'Give it as `before` for the page that comes before this one.',
      example: 'bTowMA',
    }),
    after: z.string().meta({
      description:
        'Give it as `after` for the page that comes after this one; later too, when there is more.',
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
 * Where a page lies. A boundary is a place between two positions: 7 lies between the items at 7 and at 8, and 0 before
 * everything. It exists whether or not there are items beside it, so an empty page has cursors as well.
 */
export type Place =
  | { readonly kind: 'newest' }
  | { readonly kind: 'before' | 'after' | 'around'; readonly boundary: number }
  | { readonly kind: 'aroundItem'; readonly id: string }

/** The list that a cursor belongs to, in one letter: a cursor of one list is refused by the other. */
export type ListTag = 'm' | 'r' | 'k' | 'a'

export function encodeCursor(list: ListTag, boundary: number): string {
  return Buffer.from(`${list}:${boundary}`).toString('base64url')
}

function decodeCursor(list: ListTag, field: string, cursor: string): number {
  const match = /^([a-z]):(0|[1-9][0-9]{0,14})$/.exec(Buffer.from(cursor, 'base64url').toString())
  const boundary = Number(match?.[2])
  // Decoding forgives what encoding never writes, so a cursor must also be what we would have written.
  if (match?.[1] !== list || encodeCursor(list, boundary) !== cursor) {
    throw badField(field, 'is not a cursor that this list gave')
  }
  return boundary
}

/** @throws AppError BAD_REQUEST when more than one place is named, or a cursor is not one of this list */
export function placeOf(list: ListTag, request: PageRequest): Place {
  const { before, after, around } = request
  const given = Object.entries({ before, after, around }).filter(([, value]) => value !== undefined)
  const [first, second] = given
  if (second) throw badField(second[0], `cannot be given together with ${first?.[0]}`)
  if (before !== undefined) {
    return { kind: 'before', boundary: decodeCursor(list, 'before', before) }
  }
  if (after !== undefined) return { kind: 'after', boundary: decodeCursor(list, 'after', after) }
  if (around === undefined) return { kind: 'newest' }
  if (/^[0-9a-f]{24}$/.test(around)) return { kind: 'aroundItem', id: around }
  return { kind: 'around', boundary: decodeCursor(list, 'around', around) }
}
