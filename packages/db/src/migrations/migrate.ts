import { type Kysely, sql } from 'kysely'
import { type MigrationResultSet, Migrator } from 'kysely/migration'
import { refuseUnfinishedCopy } from '../copy/unfinishedCopy.ts'
import { DatabaseError } from '../engine/errors.ts'
import { kyselyOn } from '../engine/kyselyOn.ts'
import type { Session } from '../engine/session.ts'
import type { Transaction } from '../engine/transaction.ts'
import { dialectOf } from '../query/builder.ts'
import type { Tables } from '../tables.ts'
import { migrations } from './index.ts'
import { postgresSchema } from './postgresSchema.ts'

const MIGRATION_TABLE = 'schema_migrations'

/** Migrates to the newest version. The transaction must hold the migration lock. */
export async function migrateToLatest(tx: Transaction): Promise<void> {
  await migrate(tx, (migrator) => migrator.migrateToLatest())
}

/** Migrates up or down to the version of one migration. */
export async function migrateTo(tx: Transaction, migration: string): Promise<void> {
  await migrate(tx, (migrator) => migrator.migrateTo(migration))
}

/** Undoes the newest migration, also of an unfinished copy. */
export async function migrateDown(tx: Transaction): Promise<void> {
  const db = kyselyOn(tx)
  await appliedMigrations(db)
  assertSuccess(await createMigrator(db).migrateDown())
}

async function migrate(
  tx: Transaction,
  run: (migrator: Migrator) => Promise<MigrationResultSet>,
): Promise<void> {
  const db = kyselyOn(tx)
  await appliedMigrations(db)
  await refuseUnfinishedCopy(tx)
  assertSuccess(await run(createMigrator(db)))
}

/** Resolves if the schema is the newest and no copy is unfinished. @throws DatabaseError */
export async function checkSchema(session: Session): Promise<void> {
  const applied = await appliedMigrations(kyselyOn(session))
  await refuseUnfinishedCopy(session)
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

function createMigrator(db: Kysely<Tables>): Migrator {
  return new Migrator({
    db: dialectOf(db) === 'postgres' ? db.withPlugin(postgresSchema) : db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: `${MIGRATION_TABLE}_lock`,
  })
}

/** Refuses a newer schema: writing to it could lose data of the newer version. */
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

function assertSuccess({ error, results = [] }: MigrationResultSet): void {
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
