import { createHash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import type { ReadBuilder } from '../query/builder.ts'
import { mutate, select } from '../query/prepared.ts'
import { columnsOf, type DataTable, primaryKeys } from '../tables.ts'

export type Row = Record<string, unknown>

/** Every table, after those that it refers to. */
export const tables = Object.keys(primaryKeys) as DataTable[]

/** Rows in memory and in a commit. A room has 25 columns, a statement of SQLite up to 32,766 values. */
const BATCH_ROWS = 1_000

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
    const previous = last
    const rows = await select(session, (db) => {
      const query = selectInOrder(db, table, 'asc').limit(BATCH_ROWS)
      return previous ? query.where(isAfter(table, previous)) : query
    })
    if (rows.length > 0) yield rows
    last = rows.length < BATCH_ROWS ? undefined : rows.at(-1)
    // SQLite reads synchronously: let other work of the process run.
    await turn()
  } while (last)
}

/** Finds the row with the greatest key. Rows are inserted in the order of their keys, so all before it exist. */
export async function lastRow(session: Session, table: DataTable): Promise<Row | undefined> {
  const [row] = await select(session, (db) => selectInOrder(db, table, 'desc').limit(1))
  return row
}

export async function insertRows(tx: Transaction, table: DataTable, rows: Row[]): Promise<void> {
  await mutate(tx, (db) => untyped(db).insertInto(table).values(rows))
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
  const key: readonly string[] = primaryKeys[table]
  const columns: string[] = columnsOf(table)
  return key.reduce(
    (query, column) => query.orderBy(column, order),
    untyped(db).selectFrom(table).select(columns),
  )
}

function untyped(db: ReadBuilder): Kysely<Record<string, Row>> {
  return db as unknown as Kysely<Record<string, Row>>
}
