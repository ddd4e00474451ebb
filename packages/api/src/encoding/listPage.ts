import type { CursorEpoch } from './cursorEpoch.ts'
import { fittingRange, jsonBytes, PAGE_BYTES } from './pageBytes.ts'
import { encodeCursor, type ListTag, type Page, type PageRef } from './paging.ts'

/** A list in the order of `position`. */
export interface PositionList<Row extends { position: number }, Item> {
  readonly tag: ListTag
  readonly cursorEpoch: CursorEpoch
  /** Reads up to `limit` rows next to the boundary: at or before it, or after it. Ascending. */
  next(where: { direction: 'before' | 'after'; boundary: number; limit: number }): Promise<Row[]>
  /** Finds the position of the item for `around`. @throws AppError BAD_REQUEST when it is not in the list */
  positionOf(id: string): Promise<number>
  toItem(row: Row): Item
  /** An upper bound for the size of an item as JSON, cheaper than its exact size. */
  bytesAtMost?(row: Row): number
}

/** Reads a page of a list: up to `limit` items, and up to {@link PAGE_BYTES}. @throws AppError CURSOR_TOO_OLD */
export async function listPage<Row extends { position: number }, Item>(
  list: PositionList<Row, Item>,
  limit: number,
  ref: PageRef,
): Promise<Page<Item>> {
  const epoch = await list.cursorEpoch.resolve(ref)
  const boundary =
    ref.kind === 'newest'
      ? Number.MAX_SAFE_INTEGER
      : ref.kind === 'aroundItem'
        ? await list.positionOf(ref.id)
        : ref.boundary
  const maxEarlier = ref.kind === 'after' ? 0 : limit
  const maxLater = ref.kind === 'newest' || ref.kind === 'before' ? 0 : limit
  // One more row than the page can have, on both sides, tells whether there are more.
  const earlier = await list.next({ direction: 'before', boundary, limit: maxEarlier + 1 })
  const later = await list.next({ direction: 'after', boundary, limit: maxLater + 1 })

  // Around a boundary: half of the page on each side; a short side leaves its share to the other.
  const half = Math.ceil(limit / 2)
  const earlierShare = Math.max(half, limit - Math.min(later.length, maxLater))
  const shownEarlier = Math.min(earlier.length, maxEarlier, earlierShare)
  const shownLater = Math.min(later.length, maxLater, limit - shownEarlier)
  const candidates = [
    ...earlier.slice(earlier.length - shownEarlier),
    ...later.slice(0, shownLater),
  ]
  const [start, end] = findFittingRange(list, candidates, shownEarlier)
  const rows = candidates.slice(start, end)

  // An empty newest page means an empty list. Its cursors lie before all future items.
  const beside = ref.kind === 'newest' ? 0 : boundary
  return {
    items: rows.map((row) => list.toItem(row)),
    before: encodeCursor(list.tag, (rows[0]?.position ?? beside + 1) - 1, epoch),
    after: encodeCursor(list.tag, rows.at(-1)?.position ?? beside, epoch),
    hasBefore: start > 0 || earlier.length > shownEarlier,
    hasAfter: end < candidates.length || later.length > shownLater,
  }
}

/** Finds the rows nearest to the boundary whose items fit into a page. */
function findFittingRange<Row extends { position: number }, Item>(
  { toItem, bytesAtMost }: PositionList<Row, Item>,
  rows: readonly Row[],
  boundary: number,
): [start: number, end: number] {
  const totalAtMost = bytesAtMost && rows.reduce((sum, row) => sum + bytesAtMost(row), 0)
  if (totalAtMost !== undefined && totalAtMost <= PAGE_BYTES) return [0, rows.length]
  return fittingRange(
    rows.map((row) => jsonBytes(toItem(row))),
    boundary,
  )
}
