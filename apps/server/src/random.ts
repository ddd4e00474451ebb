import { randomBytes } from 'node:crypto'

const POOL_BYTES = 4_096

/** Enough for an id. A longer value is a secret, which should not stay in a shared pool. */
const MAX_POOLED_BYTES = 16

/** Random bytes from the system, pooled for ids: one call for each id would cost as much as an SQL statement. */
export function createRandomBytes(): (length: number) => Uint8Array {
  let pool = randomBytes(POOL_BYTES)
  let used = 0
  return (length) => {
    if (length > MAX_POOLED_BYTES) return randomBytes(length)
    if (used + length > POOL_BYTES) {
      pool = randomBytes(POOL_BYTES)
      used = 0
    }
    used += length
    return pool.subarray(used - length, used)
  }
}
