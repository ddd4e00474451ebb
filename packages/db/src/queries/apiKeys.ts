import type { Insertable } from 'kysely'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { keysetOrder, type PageBoundary } from '../query/keyset.ts'
import { mutate, type Params, prepared, preparedInScope, select } from '../query/prepared.ts'
import { allOrganisations, type OrgScope } from '../query/scope.ts'
import type { ApiKeyRow, ApiKeysTable } from '../tables.ts'

export async function insertApiKey(
  tx: Transaction,
  row: Insertable<ApiKeysTable>,
): Promise<ApiKeyRow> {
  const [key] = await mutate(tx, (db) => db.insertInto('api_keys').values(row).returningAll())
  return key as ApiKeyRow
}

const apiKeyQuery = preparedInScope((db, params: Params<{ keyId: string }>, orgId) => {
  const query = db.selectFrom('api_keys').selectAll().where('id', '=', params.keyId)
  return orgId === undefined ? query : query.where('org_id', '=', orgId)
})

/** Finds a key by its id, also a revoked one. */
export async function findApiKey(
  session: Session,
  where: { orgId: OrgScope; keyId: string },
): Promise<ApiKeyRow | undefined> {
  const [key] = await apiKeyQuery(session, where)
  return key
}

const anyKeyQuery = prepared((db) => db.selectFrom('api_keys').select('id').limit(1))

/** Revoked keys count: revoking the last one must not open the server. */
export async function anyApiKeyExists(session: Session): Promise<boolean> {
  const [key] = await anyKeyQuery(session, {})
  return key !== undefined
}

/** @returns the revoked key; undefined if it does not exist or was revoked before */
export async function revokeApiKeyRow(
  tx: Transaction,
  where: { orgId: OrgScope; keyId: string; now: number },
): Promise<ApiKeyRow | undefined> {
  const [key] = await mutate(tx, (db) => {
    const query = db
      .updateTable('api_keys')
      .set({ revoked_at: where.now })
      .where('id', '=', where.keyId)
      .where('revoked_at', 'is', null)
    const { orgId } = where
    return (orgId === allOrganisations ? query : query.where('org_id', '=', orgId)).returningAll()
  })
  return key
}

export async function recordApiKeyUse(
  tx: Transaction,
  where: { orgId: string; keyId: string; now: number },
): Promise<void> {
  await mutate(tx, (db) =>
    db
      .updateTable('api_keys')
      .set({ last_used_at: where.now })
      .where('id', '=', where.keyId)
      .where('org_id', '=', where.orgId),
  )
}

export async function listApiKeysPage(
  session: Session,
  where: PageBoundary & { orgId: string },
): Promise<ApiKeyRow[]> {
  const { comparison, order, reversed } = keysetOrder(where)
  const rows = await select(session, (db) =>
    db
      .selectFrom('api_keys')
      .selectAll()
      .where('org_id', '=', where.orgId)
      .where('position', comparison, where.boundary)
      .orderBy('position', order)
      .limit(where.limit),
  )
  return reversed ? rows.reverse() : rows
}
