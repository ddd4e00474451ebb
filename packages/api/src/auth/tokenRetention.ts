import { type Database, deleteUserTokenRevocations } from '@dowell-chat/db'
import { MAX_TOKEN_SECONDS } from './signingKeys.ts'

/**
 * How long a revocation is kept (ms): until no token can outlive it, by a clock that goes twice as fast, as the retention's
 * may after a leap, and one more day, since clocks differ.
 */
const KEPT_MS = 3 * MAX_TOKEN_SECONDS * 1000

/** Deletes revocations that no token can outlive. @param time the time that the retention goes by */
export async function pruneUserTokenRevocations(db: Database, time: number): Promise<void> {
  await db.write((tx) => deleteUserTokenRevocations(tx, { before: time - KEPT_MS }))
}
