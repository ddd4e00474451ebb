import { type Kysely, sql } from 'kysely'
import { dialectOf } from '../dialectOf.ts'
import { prepared } from '../prepared.ts'
import type { SigningKeyRow, Tables } from '../tables.ts'
import type { Tx } from '../transaction.ts'

const all = prepared<object, SigningKeyRow>((db) =>
  db.selectFrom('signing_keys').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc'),
)

/** Signing keys belong to the server and to no organisation. Newest first; there are a handful at most. */
export function listSigningKeys(db: Kysely<Tables>): Promise<SigningKeyRow[]> {
  return all(db, {})
}

/** The same, for a write that decides by what it finds: until it is committed nobody else makes or removes a key. */
export async function listSigningKeysToChange(tx: Tx): Promise<SigningKeyRow[]> {
  // SQLite has one writer.
  if (dialectOf(tx) === 'postgres') {
    await sql`lock table signing_keys in share row exclusive mode`.execute(tx)
  }
  return listSigningKeys(tx)
}

export async function insertSigningKey(tx: Tx, row: SigningKeyRow): Promise<void> {
  await tx.insertInto('signing_keys').values(row).execute()
}

export async function deleteSigningKeys(tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await tx.deleteFrom('signing_keys').where('id', 'in', ids).execute()
}
