import type { Kysely } from 'kysely'
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
import { findAppliedMigrations, MIGRATION_TABLE, recordMigrations } from './records.ts'
import { findSchemaDifferences } from './schema.ts'

/** Migrates to the newest version. The transaction must hold the migration lock. */
export async function migrateToLatest(tx: Transaction): Promise<void> {
  await migrate(tx, (migrator) => migrator.migrateToLatest())
  await assertSchema(tx)
}

/** Migrates up or down to the version of one migration. */
export async function migrateTo(tx: Transaction, migration: string): Promise<void> {
  await migrate(tx, (migrator) => migrator.migrateTo(migration))
}

/** Undoes the newest migration, also of an unfinished copy. */
export async function migrateDown(tx: Transaction): Promise<void> {
  await findAppliedMigrations(tx)
  assertSuccess(await createMigrator(kyselyOn(tx)).migrateDown())
}

async function migrate(
  tx: Transaction,
  run: (migrator: Migrator) => Promise<MigrationResultSet>,
): Promise<void> {
  await findAppliedMigrations(tx)
  await refuseUnfinishedCopy(tx)
  assertSuccess(await run(createMigrator(kyselyOn(tx))))
  await recordMigrations(tx)
}

/** Resolves if the schema is the newest and no copy is unfinished. @throws DatabaseError */
export async function checkSchema(session: Session): Promise<void> {
  const applied = await findAppliedMigrations(session)
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
  await assertSchema(session)
}

/** Refuses a database that lacks a part of its schema, such as an index that somebody dropped. */
async function assertSchema(session: Session): Promise<void> {
  const differences = await findSchemaDifferences(session)
  if (differences.length === 0) return
  throw new DatabaseError(
    'wrong-schema',
    `the database does not have the schema of this version: ${differences.join('; ')}. Create what is missing, or restore a backup`,
  )
}

function createMigrator(db: Kysely<Tables>): Migrator {
  return new Migrator({
    db: dialectOf(db) === 'postgres' ? db.withPlugin(postgresSchema) : db,
    provider: { getMigrations: async () => migrations },
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: `${MIGRATION_TABLE}_lock`,
  })
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
