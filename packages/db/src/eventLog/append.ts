import { sql } from 'kysely'
import { EventLogError } from '../engine/errors.ts'
import { connectionOf } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import type { QueryBuilder } from '../query/builder.ts'
import { type Params, preparedWrite, rowParams } from '../query/prepared.ts'
import { columnsOf, columnTypeOf, type EventRow, type NewEvent } from '../tables.ts'

interface Growth {
  readonly orgId: string
  readonly count: number
}

function advanceLog(db: Pick<QueryBuilder, 'updateTable'>, where: Params<Growth>) {
  return db
    .updateTable('organisations')
    .set((eb) => ({ last_event_position: eb('last_event_position', '+', where.count) }))
    .where('id', '=', where.orgId)
    .returning('last_event_position')
}

const advanceLogQuery = preparedWrite((db, where: Params<Growth>) => advanceLog(db, where))

const insertEventQuery = preparedWrite((db, row: Params<EventRow>) =>
  db.insertInto('events').values(rowParams('events', row)),
)

type GivenColumn = Exclude<keyof EventRow, 'org_id' | 'position'>

const givenColumns = columnsOf('events').filter(
  (column): column is GivenColumn => column !== 'org_id' && column !== 'position',
)

/** For each given column the values of all events. */
type ColumnValues = { [Column in GivenColumn]: readonly EventRow[Column][] }

/** Advances the log and inserts all events of an organisation in one statement. PostgreSQL only. */
const appendAllQuery = preparedWrite((db, where: Params<Growth & ColumnValues>) => {
  const arrays = givenColumns.map((column) => {
    const type = columnTypeOf('events', column) === 'text' ? 'text' : 'bigint'
    return sql`cast(${where[column]} as ${sql.raw(type)}[])`
  })
  const names = [...givenColumns, 'number'].map((name) => sql.raw(name))
  return db
    .with('log', (cte) => advanceLog(cte, where).returning('id'))
    .insertInto('events')
    .columns(['org_id', 'position', ...givenColumns])
    .expression((eb) =>
      eb
        .selectFrom([
          'log',
          sql<Pick<EventRow, GivenColumn> & { number: number }>`
            unnest(${sql.join(arrays)}) with ordinality
          `.as<'e'>(sql`e(${sql.join(names)})`),
        ])
        .select((eb) => [
          'log.id as org_id',
          eb(eb('last_event_position', '-', where.count), '+', eb.ref('e.number')).as('position'),
          ...givenColumns.map((column) => `e.${column}` as const),
        ]),
    )
    .returning('position')
})

/**
 * Stores events and gives them positions in their order. Their organisations must exist.
 *
 * @throws EventLogError on PostgreSQL
 */
export async function storeEvents(tx: Transaction, events: readonly NewEvent[]): Promise<void> {
  // Always in the same order of organisations, to avoid deadlocks.
  const byOrganisation = [...Map.groupBy(events, (event) => event.org_id)].sort(([a], [b]) =>
    a < b ? -1 : 1,
  )
  // PostgreSQL's statements are pipelined: after one that fails the others fail as well.
  if (connectionOf(tx).dialect === 'postgres') {
    await Promise.all(
      byOrganisation.map(([orgId, own]) =>
        appendAll(tx, orgId, own).catch((error) => {
          throw new EventLogError(orgId, error)
        }),
      ),
    )
    return
  }
  for (const [orgId, own] of byOrganisation) await appendOneByOne(tx, orgId, own)
}

async function appendAll(
  tx: Transaction,
  orgId: string,
  events: readonly NewEvent[],
): Promise<void> {
  const [first] = await appendAllQuery(tx, {
    orgId,
    count: events.length,
    room_id: events.map((event) => event.room_id),
    type: events.map((event) => event.type),
    message_seq: events.map((event) => event.message_seq ?? null),
    marker_seq: events.map((event) => event.marker_seq ?? null),
    user_id: events.map((event) => event.user_id ?? null),
    side: events.map((event) => event.side ?? null),
    created_at: events.map((event) => event.created_at),
  })
  assertOrganisation(first)
}

async function appendOneByOne(
  tx: Transaction,
  orgId: string,
  events: readonly NewEvent[],
): Promise<void> {
  const [organisation] = await advanceLogQuery(tx, { orgId, count: events.length })
  assertOrganisation(organisation)
  let position = organisation.last_event_position - events.length
  for (const event of events) {
    const empty = { message_seq: null, marker_seq: null, user_id: null, side: null }
    await insertEventQuery(tx, { ...empty, ...event, position: ++position })
  }
}

function assertOrganisation<Row>(row: Row | undefined): asserts row is Row {
  if (row === undefined) throw new Error('an event of an organisation that does not exist')
}
