import { randomBytes } from 'node:crypto'

const POOL = 4_096
/** Ids have less; a secret is better kept nowhere but with who asked for it. */
const SHORT = 16

/** Random bytes from the system. For an id a call of its own would cost as much as a statement of SQL. */
export function createRandomBytes(): (length: number) => Uint8Array {
  let pool = randomBytes(POOL)
  let used = 0
  return (length) => {
    if (length > SHORT) return randomBytes(length)
    if (used + length > POOL) {
      pool = randomBytes(POOL)
      used = 0
    }
    used += length
    return pool.subarray(used - length, used)
  }
}
