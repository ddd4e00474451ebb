import { type Database, type DatabaseOptions, openDatabase } from '../engine/database.ts'
import { DatabaseError } from '../engine/errors.ts'
import type { Session } from '../engine/session.ts'
import { findEpochs, setEpochs } from '../eventLog/epoch.ts'
import { migrations } from '../migrations/index.ts'
import type { DataTable } from '../tables.ts'
import {
  countAll,
  describeKey,
  digest,
  insertRows,
  lastRow,
  type Row,
  readBatches,
  type TableDigest,
  tables,
} from './rows.ts'
import { beginCopy, findUnfinishedCopy, finishCopy, type UnfinishedCopy } from './unfinishedCopy.ts'

/** Timeout of the target's statements and locks (ms). */
const STATEMENT_TIMEOUT_MS = 10 * 60_000

export interface CopyProgress {
  readonly step: 'copying' | 'comparing'
  readonly table: string
  /** Finished rows of all tables in this step. */
  readonly done: number
  readonly total: number
}

/** A table that is equal on both sides. */
export interface CopiedTable extends TableDigest {
  readonly table: string
}

export interface CopyOptions {
  /** URLs as in {@link DatabaseOptions.url}. The source must exist; on a server the target's database too. */
  readonly from: string
  readonly to: string
  /** Called after every batch of rows. */
  onProgress(progress: CopyProgress): void
}

/**
 * Copies every row of a database into an empty one, of the same kind or the other, and compares all rows at the end.
 *
 * The source is locked for writes, so all rows are of one state. An interrupted copy continues at the next call if the
 * source has not changed. Until it has finished, no server starts on the target.
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
  return await source.withWriteLock(async (locked) => {
    const state = await stateOf(locked)
    const target = await onSide('target', async () => {
      const db = open({
        url: to,
        statementTimeout: STATEMENT_TIMEOUT_MS,
        busyTimeout: STATEMENT_TIMEOUT_MS,
      })
      if ((await db.identity()) === identity) {
        throw new DatabaseError('cannot-copy', 'it is the source itself')
      }
      await prepare(db, { source: source.location, state })
      return db
    })
    await copyRows(locked, target, onProgress)
    return target.withWriteLock(async (copy) => {
      const copied = await compare(locked, copy, onProgress)
      // The copy's log continues the source's, so cursors stay valid.
      await setEpochs(copy, await findEpochs(locked))
      await finishCopy(copy)
      return copied
    })
  })
}

/** Adds to an error which of the two databases it is about. */
async function onSide<T>(side: 'source' | 'target', job: () => Promise<T>): Promise<T> {
  try {
    return await job()
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    const message = error.message.replace(/^DATABASE_URL/, 'its URL')
    throw new DatabaseError(error.reason, `the ${side}: ${message}`, { cause: error })
  }
}

/** Identifies the state of a source: every change of a room, a message or a key moves a counter of its organisation. */
async function stateOf(source: Session): Promise<string> {
  const { sha256 } = await digest(source, 'organisations')
  return `${Object.keys(migrations).at(-1)} ${sha256}`
}

/** Begins a copy, or continues the same one. @throws DatabaseError */
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

/** Stores a batch. @throws DatabaseError `cannot-copy`, with the key of the first row that the target cannot store */
async function store(target: Database, table: DataTable, rows: Row[]): Promise<void> {
  try {
    await target.write((tx) => insertRows(tx, table, rows))
  } catch (error) {
    if (!(error instanceof DatabaseError && error.reason === 'not-storable')) throw error
    const [row] = rows
    if (!row || rows.length > 1) {
      for (const each of rows) await store(target, table, [each])
      return
    }
    throw new DatabaseError(
      'cannot-copy',
      `the target: the row of ${table} with ${describeKey(table, row)} does not fit: ${error.message}; change or delete it in the source, and copy into an empty database`,
      { cause: error },
    )
  }
}

async function copyRows(
  source: Session,
  target: Database,
  onProgress: CopyOptions['onProgress'],
): Promise<void> {
  const total = await countAll(source)
  let done = await countAll(target.read)
  for (const table of tables) {
    onProgress({ step: 'copying', table, done, total })
    for await (const rows of readBatches(source, table, await lastRow(target.read, table))) {
      await store(target, table, rows)
      done += rows.length
      onProgress({ step: 'copying', table, done, total })
    }
  }
}

/** @throws DatabaseError `copy-differs` */
async function compare(
  source: Session,
  copy: Session,
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
