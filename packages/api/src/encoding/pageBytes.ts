import { Buffer } from 'node:buffer'

/** Greatest size of a page's items as JSON. A larger item is a page of its own. */
export const PAGE_BYTES = 1024 * 1024

/** Upper bound per UTF-16 unit of a text: three bytes of UTF-8, or two when escaped. */
export const BYTES_PER_CHARACTER = 3

/** Size of a value as JSON in UTF-8. */
export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/**
 * Chooses the items that fit into a page: those nearest to a boundary, without a gap.
 *
 * @param sizes bytes of each item, in the order of the page
 * @param boundary the index from which the page grows, by items before and after it in turn. 0 keeps the first items,
 *   `sizes.length` the last ones
 * @param budget in bytes
 * @returns the half-open range of indexes, with at least one item if there is any
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
