import type { Dialect, Driver } from 'kysely'
import {
  type DatabaseConnection,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import type { Tables } from '../tables.ts'
import { type Connection, connectionOf, type DialectName, type Session } from './session.ts'

/** Our migrations run in a transaction that holds our own lock. */
class MigrationAdapter extends PostgresAdapter {
  override get supportsTransactionalDdl() {
    return false
  }
  override async acquireMigrationLock() {}
  override async releaseMigrationLock() {}
}

/** A Kysely dialect with a driver of ours. */
export function kyselyDialect(name: DialectName, driver: Driver): Dialect {
  return name === 'postgres'
    ? {
        createAdapter: () => new MigrationAdapter(),
        createDriver: () => driver,
        createIntrospector: (db) => new PostgresIntrospector(db),
        createQueryCompiler: () => new PostgresQueryCompiler(),
      }
    : {
        createAdapter: () => new SqliteAdapter(),
        createDriver: () => driver,
        createIntrospector: (db) => new SqliteIntrospector(db),
        createQueryCompiler: () => new SqliteQueryCompiler(),
      }
}

class SessionDriver extends DummyDriver {
  readonly #connection: Connection

  constructor(connection: Connection) {
    super()
    this.#connection = connection
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    return {
      executeQuery: async (query) => ({ rows: (await this.#connection.execute(query)) as never[] }),
      streamQuery() {
        throw new Error('a session streams no rows')
      },
    }
  }

  override async beginTransaction(): Promise<void> {
    throw new Error('transactions are begun by the database')
  }
}

/** A Kysely instance that runs its queries on a session: for migrations and schema questions, which Kysely itself runs. */
export function kyselyOn(session: Session): Kysely<Tables> {
  const connection = connectionOf(session)
  return new Kysely({ dialect: kyselyDialect(connection.dialect, new SessionDriver(connection)) })
}
