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
