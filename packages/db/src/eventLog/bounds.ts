import { sql } from 'kysely'
import type { Session } from '../engine/session.ts'
import { eachOf } from '../query/builder.ts'
import { type Params, prepared } from '../query/prepared.ts'
import { currentEpoch, firstEpoch } from './epoch.ts'

const boundsQuery = prepared((db, where: Params<{ orgId: string }>) =>
  db.selectNoFrom((eb) => [
    currentEpoch(db).as('epoch'),
    firstEpoch.as('firstEpoch'),
    eb
      .selectFrom('organisations')
      .select('last_event_position')
      .where('id', '=', where.orgId)
      .as('head'),
    eb
      .selectFrom('events')
      .select('position')
      .where('org_id', '=', where.orgId)
      .orderBy('position', 'asc')
      .limit(1)
      .as('oldest'),
  ]),
)

/** The end of a log. */
export interface EventLogEnd {
  readonly epoch: string
  readonly head: number
}

export interface EventLogBounds extends EventLogEnd {
  /** The log is complete after this position: a reader here or further has missed no event. */
  readonly floor: number
  /** The epoch of cursors without one. */
  readonly firstEpoch: string
}

/** Finds the beginning and the end of a log. Both are 0 for a missing organisation. */
export async function eventLogBounds(
  session: Session,
  where: { orgId: string },
): Promise<EventLogBounds> {
  const [row] = await boundsQuery(session, where)
  if (!row) throw new Error('a query without a table has one row')
  const { epoch, firstEpoch, oldest } = row
  const head = row.head ?? 0
  return { epoch, firstEpoch, head, floor: oldest === null ? head : oldest - 1 }
}

const headsQuery = prepared((db, where: Params<{ orgIds: string }>) =>
  db
    .selectFrom(eachOf(db, where.orgIds).as('given'))
    .leftJoin('organisations', 'organisations.id', 'given.value')
    .select((eb) => [
      'given.value as orgId',
      eb.fn.coalesce('last_event_position', sql.lit(0)).as('head'),
      currentEpoch(db).as('epoch'),
    ]),
)

/** Finds the ends of the logs of some organisations: 0 for a missing one. */
export async function eventLogHeads(
  session: Session,
  orgIds: readonly string[],
): Promise<(EventLogEnd & { orgId: string })[]> {
  return headsQuery(session, { orgIds: JSON.stringify(orgIds) })
}
