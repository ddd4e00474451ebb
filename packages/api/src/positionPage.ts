import { encodeCursor, type ListTag, type Page, type Place } from './paging.ts'

/** A list that is ordered by `position`. */
export interface PositionList<Row extends { position: number }, Item> {
  readonly tag: ListTag
  /** Up to `limit` rows at or before the boundary, or after it; ascending. */
  next(where: { direction: 'before' | 'after'; boundary: number; limit: number }): Promise<Row[]>
  /** The position of an item that a page is asked around. @throws AppError BAD_REQUEST when it is not in the list */
  positionOf(id: string): Promise<number>
  toItem(row: Row): Item
}

/** The page of a list at a place. */
export async function positionPage<Row extends { position: number }, Item>(
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
  const rows = [...earlier.slice(earlier.length - shownEarlier), ...later.slice(0, shownLater)]

  // An empty newest page means an empty list: its cursors lie before everything that will come.
  const beside = place.kind === 'newest' ? 0 : boundary
  return {
    items: rows.map((row) => list.toItem(row)),
    before: encodeCursor(list.tag, (rows[0]?.position ?? beside + 1) - 1),
    after: encodeCursor(list.tag, rows.at(-1)?.position ?? beside),
    hasBefore: earlier.length > shownEarlier,
    hasAfter: later.length > shownLater,
  }
}
