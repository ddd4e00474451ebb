import { type Kysely, sql } from 'kysely'
import { type MigrationResultSet, Migrator } from 'kysely/migration'
import { dialectOf } from './dialectOf.ts'
import { DatabaseError } from './errors.ts'
import { migrations } from './migrations/index.ts'
import { postgresSchema } from './postgresSchema.ts'
import type { Tables } from './tables.ts'
import { refuseUnfinishedCopy } from './unfinishedCopy.ts'

const MIGRATION_TABLE = 'schema_migrations'

/** Brings an open write transaction's schema to the newest version. Must hold the write lock. */
export async function migrateToLatest(locked: Kysely<Tables>): Promise<void> {
  await appliedMigrations(locked)
  await refuseUnfinishedCopy(locked)
  check(await migrator(locked).migrateToLatest())
}

/** Takes the newest migration back. Must hold the write lock. */
export async function migrateDown(locked: Kysely<Tables>): Promise<void> {
  await appliedMigrations(locked)
  check(await migrator(locked).migrateDown())
}

/** Resolves when the schema is the newest and its data is whole. @throws DatabaseError */
export async function checkSchema(db: Kysely<Tables>): Promise<void> {
  const applied = await appliedMigrations(db)
  await refuseUnfinishedCopy(db)
  if (applied.length === 0) {
    throw new DatabaseError('older-schema', 'this is no database of Dowell Chat')
  }
  if (applied.length < Object.keys(migrations).length) {
    throw new DatabaseError(
      'older-schema',
      'the database was made by an older version of Dowell Chat; start the server of this version on it once',
    )
  }
}

function migrator(db: Kysely<Tables>): Migrator {
  return new Migrator({
    db: dialectOf(db) === 'postgres' ? db.withPlugin(postgresSchema) : db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: `${MIGRATION_TABLE}_lock`,
  })
}

/** Writing to a schema that we do not know could lose what the newer version keeps in it. */
async function appliedMigrations(db: Kysely<Tables>): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some((table) => table.name === MIGRATION_TABLE)) return []
  const applied = await sql<{
    name: string
  }>`select name from ${sql.table(MIGRATION_TABLE)}`.execute(db)
  const names = applied.rows.map((row) => row.name).sort()
  const unknown = names.filter((name) => !(name in migrations))
  if (unknown.length > 0) {
    throw new DatabaseError(
      'newer-schema',
      `the database was made by a newer version of Dowell Chat (it has the migration ${unknown.at(-1)}); run that version or a later one`,
    )
  }
  return names
}

function check({ error, results = [] }: MigrationResultSet): void {
  if (error === undefined) return
  const failed = results.find(({ status }) => status === 'Error')
  if (!failed || error instanceof DatabaseError) throw error
  const reason = error instanceof Error ? error.message : String(error)
  throw new DatabaseError(
    'cannot-open',
    `the migration ${failed.migrationName} failed: ${reason}`,
    {
      cause: error,
    },
  )
}
