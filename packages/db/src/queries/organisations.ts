import type { Tx } from '../transaction.ts'

/**
 * Gives the next room position of an organisation, 1, 2, 3 …; the organisation's row is made on first use. Positions
 * follow the order of commits, because the row stays locked until the caller's transaction ends.
 */
export async function nextRoomPosition(
  tx: Tx,
  where: { orgId: string; now: number },
): Promise<number> {
  const row = await tx
    .insertInto('organisations')
    .values({ id: where.orgId, created_at: where.now, last_room_position: 1 })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({
        last_room_position: eb('organisations.last_room_position', '+', 1),
      })),
    )
    .returning('last_room_position')
    .executeTakeFirstOrThrow()
  return row.last_room_position
}
