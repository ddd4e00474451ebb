import type { Insertable, Kysely } from 'kysely'
import { type NextTo, nearest } from '../nextTo.ts'
import type { AuditEventRow, AuditEventsTable, Tables } from '../tables.ts'
import type { Tx } from '../transaction.ts'

export async function insertAuditEvent(tx: Tx, row: Insertable<AuditEventsTable>): Promise<void> {
  await tx.insertInto('audit_events').values(row).execute()
}

export async function auditEventsNextTo(
  db: Kysely<Tables>,
  where: NextTo & { orgId: string },
): Promise<AuditEventRow[]> {
  const { comparison, order, reversed } = nearest(where)
  const rows = await db
    .selectFrom('audit_events')
    .selectAll()
    .where('org_id', '=', where.orgId)
    .where('position', comparison, where.boundary)
    .orderBy('position', order)
    .limit(where.limit)
    .execute()
  return reversed ? rows.reverse() : rows
}
