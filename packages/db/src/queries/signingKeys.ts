import { connectionOf, run, type Session, statement } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { mutate, prepared } from '../query/prepared.ts'
import type { SigningKeyRow } from '../tables.ts'

const signingKeysQuery = prepared<object, SigningKeyRow>((db) =>
  db.selectFrom('signing_keys').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc'),
)

/** Lists the server's few signing keys, newest first. They belong to no organisation. */
export function listSigningKeys(session: Session): Promise<SigningKeyRow[]> {
  return signingKeysQuery(session, {})
}

/** The same for a write that depends on the result: until its commit no other inserts or deletes a key. */
export async function listSigningKeysForUpdate(tx: Transaction): Promise<SigningKeyRow[]> {
  // SQLite has one writer.
  if (connectionOf(tx).dialect === 'postgres') {
    await run(tx, statement('lock table signing_keys in share row exclusive mode'))
  }
  return listSigningKeys(tx)
}

export async function insertSigningKey(tx: Transaction, row: SigningKeyRow): Promise<void> {
  await mutate(tx, (db) => db.insertInto('signing_keys').values(row))
}

export async function deleteSigningKeys(tx: Transaction, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await mutate(tx, (db) => db.deleteFrom('signing_keys').where('id', 'in', ids))
}
