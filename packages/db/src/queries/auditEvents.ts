import type { Insertable } from 'kysely'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { keysetOrder, type PageBoundary } from '../query/keyset.ts'
import { mutate, select } from '../query/prepared.ts'
import type { AuditEventRow, AuditEventsTable } from '../tables.ts'

export async function insertAuditEvent(
  tx: Transaction,
  row: Insertable<AuditEventsTable>,
): Promise<void> {
  await mutate(tx, (db) => db.insertInto('audit_events').values(row))
}

export async function listAuditEventsPage(
  session: Session,
  where: PageBoundary & { orgId: string },
): Promise<AuditEventRow[]> {
  const { comparison, order, reversed } = keysetOrder(where)
  const rows = await select(session, (db) =>
    db
      .selectFrom('audit_events')
      .selectAll()
      .where('org_id', '=', where.orgId)
      .where('position', comparison, where.boundary)
      .orderBy('position', order)
      .limit(where.limit),
  )
  return reversed ? rows.reverse() : rows
}
