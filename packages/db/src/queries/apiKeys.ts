import type { Insertable, Kysely } from 'kysely'
import { type NextTo, nearest } from '../nextTo.ts'
import { preparedInScope, type Slots } from '../prepared.ts'
import { anyOrganisation, type OrgScope } from '../scope.ts'
import type { ApiKeyRow, ApiKeysTable, Tables } from '../tables.ts'
import type { Tx } from '../transaction.ts'

export async function insertApiKey(tx: Tx, row: Insertable<ApiKeysTable>): Promise<ApiKeyRow> {
  return tx.insertInto('api_keys').values(row).returningAll().executeTakeFirstOrThrow()
}

const keyById = preparedInScope((db, where: Slots<{ keyId: string }>, orgId) => {
  const query = db.selectFrom('api_keys').selectAll().where('id', '=', where.keyId)
  return orgId === undefined ? query : query.where('org_id', '=', orgId)
})

/** A key by its id, revoked ones too. */
export async function findApiKey(
  db: Kysely<Tables>,
  where: { orgId: OrgScope; keyId: string },
): Promise<ApiKeyRow | undefined> {
  const [key] = await keyById(db, where)
  return key
}

/** Whether any organisation ever had a key. Revoked keys count: revoking the last one opens no door. */
export async function anyApiKeyExists(db: Kysely<Tables>): Promise<boolean> {
  return (await db.selectFrom('api_keys').select('id').limit(1).executeTakeFirst()) !== undefined
}

/** Revokes a key that is not revoked yet. @returns the key as it is now, or undefined when there is none to revoke */
export async function revokeApiKeyRow(
  tx: Tx,
  where: { orgId: OrgScope; keyId: string; now: number },
): Promise<ApiKeyRow | undefined> {
  let query = tx
    .updateTable('api_keys')
    .set({ revoked_at: where.now })
    .where('id', '=', where.keyId)
    .where('revoked_at', 'is', null)
  if (where.orgId !== anyOrganisation) query = query.where('org_id', '=', where.orgId)
  return query.returningAll().executeTakeFirst()
}

export async function recordApiKeyUse(
  tx: Tx,
  where: { orgId: string; keyId: string; now: number },
): Promise<void> {
  await tx
    .updateTable('api_keys')
    .set({ last_used_at: where.now })
    .where('id', '=', where.keyId)
    .where('org_id', '=', where.orgId)
    .execute()
}

export async function apiKeysNextTo(
  db: Kysely<Tables>,
  where: NextTo & { orgId: string },
): Promise<ApiKeyRow[]> {
  const { comparison, order, reversed } = nearest(where)
  const rows = await db
    .selectFrom('api_keys')
    .selectAll()
    .where('org_id', '=', where.orgId)
    .where('position', comparison, where.boundary)
    .orderBy('position', order)
    .limit(where.limit)
    .execute()
  return reversed ? rows.reverse() : rows
}
