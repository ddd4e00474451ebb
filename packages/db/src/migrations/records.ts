import { type Kysely, sql } from 'kysely'
import { DatabaseError } from '../engine/errors.ts'
import { kyselyOn } from '../engine/kyselyOn.ts'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { dialectOf } from '../query/builder.ts'
import { checksums } from './checksums.ts'
import { migrations } from './index.ts'

/** Kysely's table of the migrations that ran, with two columns of ours. Older versions read them, so they never change. */
export const MIGRATION_TABLE = 'schema_migrations'

/** SHA-256 of the SQL that ran; see `checksumOf`. */
const CHECKSUM = 'checksum'

/** The migration that a version must have to write beside this one; see `Migration.oldestWriter`. */
const OLDEST_WRITER = 'oldest_writer'

type WithRecords = Kysely<{
  [MIGRATION_TABLE]: { name: string; [CHECKSUM]: string | null; [OLDEST_WRITER]: string | null }
}>

function withRecords(session: Session): WithRecords {
  return kyselyOn(session) as unknown as WithRecords
}

/** @returns the columns of the table; empty if it is missing */
async function columnsOfTable(session: Session): Promise<string[]> {
  const tables = await kyselyOn(session).introspection.getTables({
    withInternalKyselyTables: true,
  })
  const table = tables.find(({ name }) => name === MIGRATION_TABLE)
  return table?.columns.map(({ name }) => name) ?? []
}

/**
 * Finds the names of the migrations that ran, in order.
 *
 * @throws DatabaseError `newer-schema`: writing could lose data of the newer version; `wrong-schema`: one of another form ran
 */
export async function findAppliedMigrations(session: Session): Promise<string[]> {
  const columns = await columnsOfTable(session)
  if (columns.length === 0) return []
  const db = withRecords(session)
  const rows = await db
    .selectFrom(MIGRATION_TABLE)
    .select('name')
    .$if(columns.includes(CHECKSUM), (query) => query.select(CHECKSUM))
    .orderBy('name')
    .execute()
  const unknown = rows.filter(({ name }) => !(name in migrations))
  if (unknown.length > 0) throw newerSchema(unknown.at(-1)?.name)
  for (const { name, checksum } of rows) {
    const own = checksums[name]?.[dialectOf(db)]
    if (!checksum || own === undefined || checksum === own) continue
    throw new DatabaseError(
      'wrong-schema',
      `the database ran the migration ${name} in another form than this version has; run the version that made the database, or restore a backup`,
    )
  }
  return rows.map(({ name }) => name)
}

/** Stores what this version knows about the migrations that ran. */
export async function recordMigrations(tx: Transaction): Promise<void> {
  const columns = await columnsOfTable(tx)
  const db = withRecords(tx)
  for (const column of [CHECKSUM, OLDEST_WRITER]) {
    if (columns.includes(column)) continue
    await db.schema.alterTable(MIGRATION_TABLE).addColumn(column, 'text').execute()
  }
  const rows = await db
    .selectFrom(MIGRATION_TABLE)
    .select('name')
    .where(OLDEST_WRITER, 'is', null)
    .execute()
  for (const { name } of rows) {
    await db
      .updateTable(MIGRATION_TABLE)
      .set({
        [CHECKSUM]: checksums[name]?.[dialectOf(db)] ?? null,
        [OLDEST_WRITER]: migrations[name]?.oldestWriter ?? name,
      })
      .where('name', '=', name)
      .execute()
  }
}

/**
 * Says why this process may not write any more: a newer version has changed the schema and allows no older one beside it,
 * or a migration was undone. One short read, for a running server.
 */
export async function findWriteRefusal(session: Session): Promise<DatabaseError | undefined> {
  const own = Object.keys(migrations).sort().at(-1) ?? ''
  const { rows } = await sql<{ name: string; [OLDEST_WRITER]: string | null }>`
    select name, ${sql.ref(OLDEST_WRITER)} from ${sql.table(MIGRATION_TABLE)} where name >= ${own} order by name
  `.execute(kyselyOn(session))
  const [first, ...newer] = rows
  if (first?.name !== own) {
    return new DatabaseError(
      'older-schema',
      `the migration ${own} was undone in the database while this server runs`,
    )
  }
  const breaking = newer.findLast((row) => (row[OLDEST_WRITER] ?? row.name) > own)
  return breaking && newerSchema(breaking.name)
}

function newerSchema(name: string | undefined): DatabaseError {
  return new DatabaseError(
    'newer-schema',
    `the database was made by a newer version of Dowell Chat (it has the migration ${name}); run that version or a later one`,
  )
}
