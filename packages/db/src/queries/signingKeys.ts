import type { Kysely } from 'kysely'
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

export async function insertSigningKey(tx: Tx, row: SigningKeyRow): Promise<void> {
  await tx.insertInto('signing_keys').values(row).execute()
}

export async function deleteSigningKeys(tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await tx.deleteFrom('signing_keys').where('id', 'in', ids).execute()
}
