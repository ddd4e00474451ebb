import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { announceOrganisationLock } from '../query/locks.ts'
import { mutate, type Params, prepared, select } from '../query/prepared.ts'
import type { OrganisationSettingsTable } from '../tables.ts'

type Counter = 'last_room_position' | 'last_key_position' | 'last_audit_position'

/**
 * Takes the next position of one of an organisation's lists: 1, 2, 3 … Inserts the organisation's row if it is missing. The
 * row stays locked until the commit, so positions follow the order of commits.
 */
export async function nextPosition(
  tx: Transaction,
  counter: Counter,
  where: { orgId: string; now: number },
): Promise<number> {
  announceOrganisationLock(tx, where.orgId)
  const [row] = await mutate(tx, (db) =>
    db
      .insertInto('organisations')
      .values({ id: where.orgId, created_at: where.now, last_room_position: 0, [counter]: 1 })
      .onConflict((conflict) =>
        conflict.column('id').doUpdateSet((eb) => ({
          [counter]: eb(`organisations.${counter}`, '+', 1),
        })),
      )
      .returning(`${counter} as position`),
  )
  return (row as { position: number }).position
}

/**
 * Locks an organisation's row until the commit, for a write that depends on what it reads of the organisation. Inserts the
 * row if it is missing.
 */
export async function lockOrganisation(
  tx: Transaction,
  where: { orgId: string; now: number },
): Promise<void> {
  announceOrganisationLock(tx, where.orgId)
  await mutate(tx, (db) =>
    db
      .insertInto('organisations')
      .values({ id: where.orgId, created_at: where.now, last_room_position: 0 })
      .onConflict((conflict) =>
        conflict.column('id').doUpdateSet((eb) => ({
          last_room_position: eb.ref('organisations.last_room_position'),
        })),
      ),
  )
}

export async function organisationExists(
  session: Session,
  { orgId }: { orgId: string },
): Promise<boolean> {
  const [row] = await select(session, (db) =>
    db.selectFrom('organisations').select('id').where('id', '=', orgId),
  )
  return row !== undefined
}

const settingsQuery = prepared((db, params: Params<{ orgId: string }>) =>
  db
    .selectFrom('organisation_settings')
    .select(['settings', 'version'])
    .where('org_id', '=', params.orgId),
)

/** An organisation's settings as stored: JSON, and its version. */
export type StoredSettings = Pick<OrganisationSettingsTable, 'settings' | 'version'>

/** @returns undefined for an organisation without any */
export async function findOrganisationSettings(
  session: Session,
  where: { orgId: string },
): Promise<StoredSettings | undefined> {
  const [row] = await settingsQuery(session, where)
  return row
}

/** Inserts or replaces an organisation's settings. */
export async function saveOrganisationSettings(
  tx: Transaction,
  { orgId, settings, version }: StoredSettings & { orgId: string },
): Promise<void> {
  await mutate(tx, (db) =>
    db
      .insertInto('organisation_settings')
      .values({ org_id: orgId, settings, version })
      .onConflict((conflict) => conflict.column('org_id').doUpdateSet({ settings, version })),
  )
}
