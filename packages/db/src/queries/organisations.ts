import type { Kysely } from 'kysely'
import { prepared, type Slots } from '../prepared.ts'
import type { Tables } from '../tables.ts'
import { announceOrganisationLock, type Tx } from '../transaction.ts'

type Counter = 'last_room_position' | 'last_key_position' | 'last_audit_position'

/**
 * Gives the next position of one of an organisation's lists, 1, 2, 3 …; the organisation's row is made on first use.
 * Positions follow the order of commits, because the row stays locked until the caller's transaction ends.
 */
export async function nextPosition(
  tx: Tx,
  counter: Counter,
  where: { orgId: string; now: number },
): Promise<number> {
  announceOrganisationLock(tx, where.orgId)
  const row = await tx
    .insertInto('organisations')
    .values({ id: where.orgId, created_at: where.now, last_room_position: 0, [counter]: 1 })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({
        [counter]: eb(`organisations.${counter}`, '+', 1),
      })),
    )
    .returning(`${counter} as position`)
    .executeTakeFirstOrThrow()
  return row.position
}

/**
 * Locks an organisation's row until the transaction ends, for a write that decides by what it finds of the organisation;
 * the row is made on first use.
 */
export async function lockOrganisation(
  tx: Tx,
  where: { orgId: string; now: number },
): Promise<void> {
  announceOrganisationLock(tx, where.orgId)
  await tx
    .insertInto('organisations')
    .values({ id: where.orgId, created_at: where.now, last_room_position: 0 })
    .onConflict((conflict) =>
      conflict
        .column('id')
        .doUpdateSet((eb) => ({ last_room_position: eb.ref('organisations.last_room_position') })),
    )
    .execute()
}

const settingsOf = prepared((db, where: Slots<{ orgId: string }>) =>
  db.selectFrom('organisation_settings').select('settings').where('org_id', '=', where.orgId),
)

/** An organisation's settings as they are stored; undefined while it never set anything. */
export async function findOrganisationSettings(
  db: Kysely<Tables>,
  where: { orgId: string },
): Promise<string | undefined> {
  const [row] = await settingsOf(db, where)
  return row?.settings
}

/** Replaces an organisation's settings. */
export async function saveOrganisationSettings(
  tx: Tx,
  { orgId, settings }: { orgId: string; settings: string },
): Promise<void> {
  await tx
    .insertInto('organisation_settings')
    .values({ org_id: orgId, settings })
    .onConflict((conflict) => conflict.column('org_id').doUpdateSet({ settings }))
    .execute()
}
