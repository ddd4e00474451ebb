import { createHash } from 'node:crypto'
import { type CompiledQuery, type DatabaseConnection, DummyDriver, Kysely } from 'kysely'
import { kyselyDialect } from '../engine/kyselyOn.ts'
import type { DialectName } from '../engine/session.ts'
import { type Migration, migrations } from './index.ts'
import { postgresSchema } from './postgresSchema.ts'

/** Answers every statement with no rows. */
class RecordingDriver extends DummyDriver {
  readonly statements: string[] = []

  override async acquireConnection(): Promise<DatabaseConnection> {
    return {
      executeQuery: async ({ sql }: CompiledQuery) => {
        this.statements.push(sql)
        return { rows: [] }
      },
      streamQuery() {
        throw new Error('a migration streams no rows')
      },
    }
  }
}

/**
 * SHA-256 of the SQL that a migration runs on an empty database, in hex. The same for another wording of the same
 * statements, such as a renamed import.
 */
export async function checksumOf(migration: Migration, dialect: DialectName): Promise<string> {
  const driver = new RecordingDriver()
  const db = new Kysely<unknown>({ dialect: kyselyDialect(dialect, driver) })
  await migration.up(dialect === 'postgres' ? db.withPlugin(postgresSchema) : db)
  return createHash('sha256').update(driver.statements.join(';\n')).digest('hex')
}

export interface Checksums {
  readonly sqlite: string
  readonly postgres: string
}

/** The checksums of all migrations, by name. */
export async function migrationChecksums(): Promise<Record<string, Checksums>> {
  const entries = Object.keys(migrations)
    .sort()
    .map(async (name) => {
      const migration = migrations[name] as Migration
      return [
        name,
        {
          sqlite: await checksumOf(migration, 'sqlite'),
          postgres: await checksumOf(migration, 'postgres'),
        },
      ] as const
    })
  return Object.fromEntries(await Promise.all(entries))
}
