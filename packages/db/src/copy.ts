import { createHash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'
import { findEpochs, setEpochs } from './epoch.ts'
import { DatabaseError } from './errors.ts'
import { migrations } from './migrations/index.ts'
import { type DataTable, primaryKeys, type Tables } from './tables.ts'
import { beginCopy, findUnfinishedCopy, finishCopy, type UnfinishedCopy } from './unfinishedCopy.ts'

type Table = DataTable
type Row = Record<string, unknown>

/** Every table, after those that it refers to. */
const tables = Object.keys(primaryKeys) as Table[]

/** Rows that are in memory at once, and that share a commit. A room has 20 columns, a statement of SQLite 32,766 values. */
const BATCH = 1_000

/** How long the target may take to store so many, in milliseconds. */
const STATEMENT_TIMEOUT = 10 * 60_000

export interface CopyProgress {
  readonly step: 'copying' | 'comparing'
  readonly table: string
  /** Rows of all tables that this step is done with. */
  readonly done: number
  readonly total: number
}

/** A table as it is on both sides. */
export interface CopiedTable {
  readonly table: string
  readonly rows: number
  /** Of all its rows in the order of their keys, in hex; no matter which database has them. */
  readonly sha256: string
}

export interface CopyOptions {
  /** URLs as {@link DatabaseOptions.url}. The source must exist, the target's database too where it is on a server. */
  readonly from: string
  readonly to: string
  /** Called after every batch of rows. */
  onProgress(progress: CopyProgress): void
}

/**
 * Copies every row of a database into an empty one, of the same kind or the other, and compares all of them at the end.
 *
 * From beginning to end nobody else can write to the source, so all rows are of one moment. A copy that was interrupted
 * goes on when it is called again, provided that the source did not change; until it is finished, no server starts on the
 * target.
 *
 * @throws DatabaseError about either side; `cannot-copy`, `copy-differs`
 */
export async function copyDatabase({ from, to, onProgress }: CopyOptions): Promise<CopiedTable[]> {
  await using closing = new AsyncDisposableStack()
  const open = (options: DatabaseOptions) => {
    const db = openDatabase(options)
    closing.defer(() => db.close())
    return db
  }
  const source = await onSide('source', async () => {
    const db = open({ url: from, mustExist: true })
    await db.checkSchema()
    return db
  })
  const identity = await source.identity()
  return await source.frozen(async (frozen) => {
    const state = await stateOf(frozen)
    const target = await onSide('target', async () => {
      const db = open({
        url: to,
        statementTimeout: STATEMENT_TIMEOUT,
        busyTimeout: STATEMENT_TIMEOUT,
      })
      if ((await db.identity()) === identity) {
        throw new DatabaseError('cannot-copy', 'it is the source itself')
      }
      await prepare(db, { source: source.location, state })
      return db
    })
    await copyRows(frozen, target, onProgress)
    return target.frozen(async (copy) => {
      const copied = await compare(frozen, copy, onProgress)
      // The copy goes on where the source ends, so cursors stay good.
      await setEpochs(copy, await findEpochs(frozen))
      await finishCopy(copy)
      return copied
    })
  })
}

/** Says which of the two databases an error is about. */
async function onSide<T>(side: 'source' | 'target', job: () => Promise<T>): Promise<T> {
  try {
    return await job()
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    const message = error.message.replace(/^DATABASE_URL/, 'its URL')
    throw new DatabaseError(error.reason, `the ${side}: ${message}`, { cause: error })
  }
}

/** Whatever happens to a room, a message or a key moves a counter of its organisation. */
async function stateOf(db: Kysely<Tables>): Promise<string> {
  const { sha256 } = await digest(db, 'organisations')
  return `${Object.keys(migrations).at(-1)} ${sha256}`
}

/** Begins a copy, or finds the same one begun. @throws DatabaseError */
async function prepare(target: Database, copy: UnfinishedCopy): Promise<void> {
  const found = await findUnfinishedCopy(target.read)
  if (found && found.state === copy.state) return
  if (found) {
    throw new DatabaseError(
      'cannot-copy',
      `it is an unfinished copy of ${found.source}, which is another database or has changed since; copy into an empty one`,
    )
  }
  await target.migrateToLatest()
  await target.write(async (tx) => {
    for (const table of tables) {
      if (await lastRow(tx, table)) {
        throw new DatabaseError('cannot-copy', `it has ${table} already; copy into an empty one`)
      }
    }
    await beginCopy(tx, copy)
  })
}

async function copyRows(
  source: Kysely<Tables>,
  target: Database,
  onProgress: CopyOptions['onProgress'],
): Promise<void> {
  const total = await countAll(source)
  let done = await countAll(target.read)
  for (const table of tables) {
    onProgress({ step: 'copying', table, done, total })
    for await (const rows of batches(source, table, await lastRow(target.read, table))) {
      await target.write((tx) => untyped(tx).insertInto(table).values(rows).execute())
      done += rows.length
      onProgress({ step: 'copying', table, done, total })
    }
  }
}

/** @throws DatabaseError `copy-differs` */
async function compare(
  source: Kysely<Tables>,
  copy: Kysely<Tables>,
  onProgress: CopyOptions['onProgress'],
): Promise<CopiedTable[]> {
  const total = await countAll(source)
  let done = 0
  const result: CopiedTable[] = []
  const differences: string[] = []
  for (const table of tables) {
    const [expected, found] = await Promise.all([
      digest(source, table, (rows) => {
        done += rows
        onProgress({ step: 'comparing', table, done, total })
      }),
      digest(copy, table),
    ])
    if (found.sha256 !== expected.sha256) {
      differences.push(
        `${table} (${expected.rows} rows in the source, ${found.rows} in the target)`,
      )
    }
    result.push({ table, ...expected })
  }
  if (differences.length === 0) return result
  throw new DatabaseError(
    'copy-differs',
    `the target differs from the source in ${differences.join(', ')}; copy into an empty one`,
  )
}

/** The same for the same rows, whichever database has them. */
async function digest(
  db: Kysely<Tables>,
  table: Table,
  onRows?: (count: number) => void,
): Promise<Omit<CopiedTable, 'table'>> {
  const hash = createHash('sha256')
  let count = 0
  for await (const rows of batches(db, table)) {
    const columns = Object.keys(rows[0] as Row).sort()
    for (const row of rows) hash.update(`${JSON.stringify(columns.map((column) => row[column]))}\n`)
    count += rows.length
    onRows?.(rows.length)
  }
  return { rows: count, sha256: hash.digest('hex') }
}

/** The rows of a table after one of them, in the order of their keys; the last batch may be smaller. */
async function* batches(db: Kysely<Tables>, table: Table, after?: Row): AsyncGenerator<Row[]> {
  let last = after
  do {
    let query = inOrder(db, table, 'asc').limit(BATCH)
    if (last) query = query.where(isAfter(table, last))
    const rows = await query.execute()
    if (rows.length > 0) yield rows
    last = rows.length < BATCH ? undefined : rows.at(-1)
    // SQLite answers at once: without this, nothing else of the process would have its turn.
    await turn()
  } while (last)
}

/** What has the greatest key. Rows are stored in the order of their keys, so all before it are there as well. */
function lastRow(db: Kysely<Tables>, table: Table): Promise<Row | undefined> {
  return inOrder(db, table, 'desc').limit(1).executeTakeFirst()
}

function isAfter(table: Table, row: Row) {
  const key: readonly string[] = primaryKeys[table]
  const columns = key.map((column) => sql.ref(column))
  const values = key.map((column) => row[column])
  return sql<boolean>`(${sql.join(columns)}) > (${sql.join(values)})`
}

function inOrder(db: Kysely<Tables>, table: Table, order: 'asc' | 'desc') {
  const key: readonly string[] = primaryKeys[table]
  return key.reduce(
    (query, column) => query.orderBy(column, order),
    untyped(db).selectFrom(table).selectAll(),
  )
}

async function countAll(db: Kysely<Tables>): Promise<number> {
  let total = 0
  for (const table of tables) {
    const { count } = await untyped(db)
      .selectFrom(table)
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
    total += count
  }
  return total
}

function untyped(db: Kysely<Tables>): Kysely<Record<string, Row>> {
  return db as unknown as Kysely<Record<string, Row>>
}
