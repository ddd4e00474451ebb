import { Buffer } from 'node:buffer'

/** Bytes of JSON that the items of a page may have together. One item always comes, however large. */
export const PAGE_BYTES = 1024 * 1024

/** Bytes of JSON, at most, for a character of a text: a unit of UTF-16 takes three in UTF-8, or two when it is escaped. */
export const BYTES_PER_CHARACTER = 3

/** Bytes of a value as JSON in UTF-8. */
export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/**
 * The items of a page that fit into a budget: those nearest to a boundary, without a gap.
 *
 * @param sizes bytes of each item, in the order of the page
 * @param boundary the place from which the page grows: items before it and items after it are taken in turn. 0 keeps the
 *   first items, `sizes.length` the last ones
 * @returns the first index that is in and the first that is not; at least one item where there is any
 */
export function fittingRange(
  sizes: readonly number[],
  boundary: number,
  budget = PAGE_BYTES,
): [start: number, end: number] {
  let [start, end, left] = [boundary, boundary, budget]
  let [growsDown, growsUp] = [true, true]
  for (;;) {
    growsDown &&= start > 0
    growsUp &&= end < sizes.length
    if (!growsDown && !growsUp) return [start, end]
    const isDown = growsDown && (!growsUp || boundary - start <= end - boundary)
    const size = sizes[isDown ? start - 1 : end] as number
    if (size > left && end > start) {
      if (isDown) growsDown = false
      else growsUp = false
      continue
    }
    left -= size
    if (isDown) start--
    else end++
  }
}
