import type { Kysely } from 'kysely'
import { DatabaseError } from './errors.ts'
import type { Tables } from './tables.ts'
import type { Tx } from './transaction.ts'

/** What is known of a copy that is under way. */
export interface UnfinishedCopy {
  /** Where the rows come from, for an operator to read. */
  readonly source: string
  /** The same as long as the source does not change. */
  readonly state: string
}

/** It is there, with one row, as long as the copy is not finished; so it is no table that a migration makes. */
const TABLE = 'unfinished_copy'

interface WithTable {
  [TABLE]: UnfinishedCopy
}

export async function beginCopy(tx: Tx, copy: UnfinishedCopy): Promise<void> {
  const db = tx as unknown as Kysely<WithTable>
  await db.schema
    .createTable(TABLE)
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .execute()
  await db.insertInto(TABLE).values(copy).execute()
}

export async function findUnfinishedCopy(db: Kysely<Tables>): Promise<UnfinishedCopy | undefined> {
  const tables = await db.introspection.getTables()
  if (!tables.some(({ name }) => name === TABLE)) return undefined
  return (db as unknown as Kysely<WithTable>).selectFrom(TABLE).selectAll().executeTakeFirst()
}

export async function finishCopy(tx: Tx): Promise<void> {
  await tx.schema.dropTable(TABLE).execute()
}

/** Half of the data would be served as if it were all. @throws DatabaseError `unfinished-copy` */
export async function refuseUnfinishedCopy(db: Kysely<Tables>): Promise<void> {
  const copy = await findUnfinishedCopy(db)
  if (!copy) return
  throw new DatabaseError(
    'unfinished-copy',
    `the database is an unfinished copy of ${copy.source}; run the same copy command again, and it goes on where it was`,
  )
}
