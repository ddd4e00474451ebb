import { fittingRange, jsonBytes, PAGE_BYTES } from './pageBytes.ts'
import { encodeCursor, type ListTag, type Page, type Place } from './paging.ts'

/** A list that is ordered by `position`. */
export interface PositionList<Row extends { position: number }, Item> {
  readonly tag: ListTag
  /** Up to `limit` rows at or before the boundary, or after it; ascending. */
  next(where: { direction: 'before' | 'after'; boundary: number; limit: number }): Promise<Row[]>
  /** The position of an item that a page is asked around. @throws AppError BAD_REQUEST when it is not in the list */
  positionOf(id: string): Promise<number>
  toItem(row: Row): Item
  /** Bytes of JSON that an item has at most: a bound that is cheaper than its exact size. */
  bytesAtMost?(row: Row): number
}

/** The page of a list at a place: up to `limit` items, and up to {@link PAGE_BYTES}. */
export async function listPage<Row extends { position: number }, Item>(
  list: PositionList<Row, Item>,
  limit: number,
  place: Place,
): Promise<Page<Item>> {
  const boundary =
    place.kind === 'newest'
      ? Number.MAX_SAFE_INTEGER
      : place.kind === 'aroundItem'
        ? await list.positionOf(place.id)
        : place.boundary
  const mostEarlier = place.kind === 'after' ? 0 : limit
  const mostLater = place.kind === 'newest' || place.kind === 'before' ? 0 : limit
  // One row more than can be shown, on both sides, tells whether there is more.
  const earlier = await list.next({ direction: 'before', boundary, limit: mostEarlier + 1 })
  const later = await list.next({ direction: 'after', boundary, limit: mostLater + 1 })

  // Around a boundary: half on each side, and what one side lacks the other gives.
  const half = Math.ceil(limit / 2)
  const ofEarlier = Math.max(half, limit - Math.min(later.length, mostLater))
  const shownEarlier = Math.min(earlier.length, mostEarlier, ofEarlier)
  const shownLater = Math.min(later.length, mostLater, limit - shownEarlier)
  const wanted = [...earlier.slice(earlier.length - shownEarlier), ...later.slice(0, shownLater)]
  const [start, end] = fittingPart(list, wanted, shownEarlier)
  const rows = wanted.slice(start, end)

  // An empty newest page means an empty list: its cursors lie before everything that will come.
  const beside = place.kind === 'newest' ? 0 : boundary
  return {
    items: rows.map((row) => list.toItem(row)),
    before: encodeCursor(list.tag, (rows[0]?.position ?? beside + 1) - 1),
    after: encodeCursor(list.tag, rows.at(-1)?.position ?? beside),
    hasBefore: start > 0 || earlier.length > shownEarlier,
    hasAfter: end < wanted.length || later.length > shownLater,
  }
}

/** The rows nearest to the boundary whose items fit into a page. */
function fittingPart<Row extends { position: number }, Item>(
  { toItem, bytesAtMost }: PositionList<Row, Item>,
  rows: readonly Row[],
  boundary: number,
): [start: number, end: number] {
  const atMost = bytesAtMost && rows.reduce((sum, row) => sum + bytesAtMost(row), 0)
  if (atMost !== undefined && atMost <= PAGE_BYTES) return [0, rows.length]
  return fittingRange(
    rows.map((row) => jsonBytes(toItem(row))),
    boundary,
  )
}
