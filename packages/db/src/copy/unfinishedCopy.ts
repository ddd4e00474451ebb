import type { Kysely } from 'kysely'
import { DatabaseError } from '../engine/errors.ts'
import { kyselyOn } from '../engine/kyselyOn.ts'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'

/** A copy that has begun and not finished. */
export interface UnfinishedCopy {
  /** The location of the source, for operators. */
  readonly source: string
  /** Changes with every change of the source. */
  readonly state: string
}

/** Exists with one row until the copy is finished, so no migration creates it. */
const TABLE = 'unfinished_copy'

interface WithTable {
  [TABLE]: UnfinishedCopy
}

export async function beginCopy(tx: Transaction, copy: UnfinishedCopy): Promise<void> {
  const db = withTable(tx)
  await db.schema
    .createTable(TABLE)
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .execute()
  await db.insertInto(TABLE).values(copy).execute()
}

export async function findUnfinishedCopy(session: Session): Promise<UnfinishedCopy | undefined> {
  const db = withTable(session)
  const tables = await db.introspection.getTables()
  if (!tables.some(({ name }) => name === TABLE)) return undefined
  return db.selectFrom(TABLE).selectAll().executeTakeFirst()
}

export async function finishCopy(tx: Transaction): Promise<void> {
  await withTable(tx).schema.dropTable(TABLE).execute()
}

/** Prevents a server from starting with a part of the data. @throws DatabaseError `unfinished-copy` */
export async function refuseUnfinishedCopy(session: Session): Promise<void> {
  const copy = await findUnfinishedCopy(session)
  if (!copy) return
  throw new DatabaseError(
    'unfinished-copy',
    `the database is an unfinished copy of ${copy.source}; run the same copy command again, and it goes on where it was`,
  )
}

function withTable(session: Session): Kysely<WithTable> {
  return kyselyOn(session) as unknown as Kysely<WithTable>
}
