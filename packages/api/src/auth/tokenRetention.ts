import { type Database, deleteUserTokenRevocations } from '@dowell-chat/db'
import { MAX_TOKEN_SECONDS } from './signingKeys.ts'

/** Deletes revocations that no token can outlive. They are kept for twice as long, since clocks differ. */
export async function pruneUserTokenRevocations(db: Database, now: number): Promise<void> {
  const before = now - 2 * MAX_TOKEN_SECONDS * 1000
  await db.write((tx) => deleteUserTokenRevocations(tx, { before }))
}
