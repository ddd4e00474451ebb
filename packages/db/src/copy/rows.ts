import { createHash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import { connectionOf, type Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import type { ReadBuilder } from '../query/builder.ts'
import { preparedWrite, select } from '../query/prepared.ts'
import { columnsOf, columnTypeOf, type DataTable, primaryKeys } from '../tables.ts'

export type Row = Record<string, unknown>

/** Every table, after those that it refers to. */
export const tables = Object.keys(primaryKeys) as DataTable[]

/** Maximum rows in memory and in a commit. */
const BATCH_ROWS = 1_000

/** Maximum bytes of their texts. A row that has more is a batch of its own. */
const BATCH_BYTES = 4 * 1024 * 1024

export interface TableDigest {
  readonly rows: number
  /** SHA-256 of all rows in the order of their keys, in hex. The same on both databases. */
  readonly sha256: string
}

export async function digest(
  session: Session,
  table: DataTable,
  onRows?: (count: number) => void,
): Promise<TableDigest> {
  const hash = createHash('sha256')
  const columns: string[] = columnsOf(table).sort()
  let count = 0
  for await (const rows of readBatches(session, table)) {
    for (const row of rows) hash.update(`${JSON.stringify(columns.map((column) => row[column]))}\n`)
    count += rows.length
    onRows?.(rows.length)
  }
  return { rows: count, sha256: hash.digest('hex') }
}

/** Reads the rows of a table after one of them, in the order of their keys. */
export async function* readBatches(
  session: Session,
  table: DataTable,
  after?: Row,
): AsyncGenerator<Row[]> {
  let last = after
  do {
    const count = await countFitting(session, table, last)
    const previous = last
    const rows = await select(session, (db) => {
      const query = selectInOrder(db, table, 'asc').limit(count)
      return previous ? query.where(isAfter(table, previous)) : query
    })
    if (rows.length > 0) yield rows
    last = rows.at(-1)
    // SQLite reads synchronously: let other work of the process run.
    await turn()
  } while (last)
}

/** The number of the next rows that fit in a batch: at least one, unless there are none. Reads no long text. */
async function countFitting(session: Session, table: DataTable, after?: Row): Promise<number> {
  const texts = columnsOf(table).filter((column) => columnTypeOf(table, column as never) === 'text')
  const bytes = sql<number>`${sql.join(
    texts.map((column) => sql`coalesce(octet_length(${sql.ref(column)}), 0)`),
    sql` + `,
  )}`
  const sizes = await select(session, (db) => {
    const query = inOrder(db, table, 'asc').select(bytes.as('bytes')).limit(BATCH_ROWS)
    return after ? query.where(isAfter(table, after)) : query
  })
  let total = 0
  const end = sizes.findIndex((size) => {
    total += size.bytes
    return total > BATCH_BYTES
  })
  return end === -1 ? sizes.length : Math.max(1, end)
}

/** Finds the row with the greatest key. Rows are inserted in the order of their keys, so all before it exist. */
export async function lastRow(session: Session, table: DataTable): Promise<Row | undefined> {
  const [row] = await select(session, (db) => selectInOrder(db, table, 'desc').limit(1))
  return row
}

/** Inserts a row. SQLite only: there a statement for each row costs little, and one for many is built anew each time. */
const insertRowQueries = new Map(
  tables.map((table) => [
    table,
    preparedWrite<Row, never>((db, row) =>
      untyped(db)
        .insertInto(table)
        .values(Object.fromEntries(columnsOf(table).map((column) => [column, row[column]]))),
    ),
  ]),
)

/** Inserts rows that are given as one array for each column. PostgreSQL only. */
const insertArraysQueries = new Map(
  tables.map((table) => [
    table,
    preparedWrite<Row, never>((db, arrays) => {
      const columns: string[] = columnsOf(table)
      const typed = columns.map((column) => {
        const type = columnTypeOf(table, column as never) === 'text' ? 'text' : 'bigint'
        return sql`cast(${arrays[column]} as ${sql.raw(type)}[])`
      })
      return untyped(db)
        .insertInto(table)
        .columns(columns)
        .expression((eb) =>
          eb
            .selectFrom(
              sql<Row>`unnest(${sql.join(typed)})`.as<'row'>(
                sql`row(${sql.join(columns.map((column) => sql.ref(column)))})`,
              ),
            )
            .select(columns),
        )
    }),
  ]),
)

export async function insertRows(tx: Transaction, table: DataTable, rows: Row[]): Promise<void> {
  if (connectionOf(tx).dialect === 'sqlite') {
    const insertRow = insertRowQueries.get(table)
    for (const row of rows) await insertRow?.(tx, row)
    return
  }
  const columns: string[] = columnsOf(table)
  const arrays = Object.fromEntries(
    columns.map((column) => [column, rows.map((row) => row[column])]),
  )
  await insertArraysQueries.get(table)?.(tx, arrays)
}

export async function countAll(session: Session): Promise<number> {
  let total = 0
  for (const table of tables) {
    const [row] = await select(session, (db) =>
      untyped(db)
        .selectFrom(table)
        .select((eb) => eb.fn.countAll<number>().as('count')),
    )
    total += row?.count ?? 0
  }
  return total
}

/** Names a row for operators. */
export function describeKey(table: DataTable, row: Row): string {
  const key: readonly string[] = primaryKeys[table]
  return key.map((column) => `${column} ${JSON.stringify(row[column])}`).join(', ')
}

function isAfter(table: DataTable, row: Row) {
  const key: readonly string[] = primaryKeys[table]
  const columns = key.map((column) => sql.ref(column))
  const values = key.map((column) => row[column])
  return sql<boolean>`(${sql.join(columns)}) > (${sql.join(values)})`
}

function selectInOrder(db: ReadBuilder, table: DataTable, order: 'asc' | 'desc') {
  return inOrder(db, table, order).select(columnsOf(table) as string[])
}

function inOrder(db: ReadBuilder, table: DataTable, order: 'asc' | 'desc') {
  const key: readonly string[] = primaryKeys[table]
  return key.reduce((query, column) => query.orderBy(column, order), untyped(db).selectFrom(table))
}

function untyped(db: ReadBuilder): Kysely<Record<string, Row>> {
  return db as unknown as Kysely<Record<string, Row>>
}
