import type { Engine, EngineOptions } from './engine.ts'
import { DatabaseError } from './errors.ts'
import { openPostgres } from './postgres/openPostgres.ts'
import { openSqlite } from './sqlite/openSqlite.ts'

const URL_HELP =
  'DATABASE_URL must be "sqlite:" and the path of a file, for example sqlite:./data/dowell-chat.db, or a PostgreSQL server, for example postgres://chat:password@db.example.com/chat'

/**
 * Opens the database of a DATABASE_URL. Creates SQLite's file and folder; does not connect to PostgreSQL yet.
 *
 * @throws DatabaseError `bad-url` or `cannot-open`
 */
export function openEngine(url: string, options: EngineOptions): Engine {
  // Errors repeat the scheme only: the rest of a URL may be a password.
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0]
  const engine =
    scheme === 'sqlite:' || scheme === 'file:'
      ? openSqlite(url.slice(scheme.length), options)
      : scheme === 'postgres:' || scheme === 'postgresql:'
        ? openPostgres(url, options)
        : undefined
  if (engine) return engine
  throw new DatabaseError(
    'bad-url',
    scheme === undefined ? URL_HELP : `${URL_HELP}; "${scheme}" databases are not supported`,
  )
}
