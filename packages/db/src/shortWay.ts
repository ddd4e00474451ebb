import type { CompiledQuery, Kysely, QueryResult } from 'kysely'
import type { RunNow } from './dialect.ts'
import type { Tables } from './tables.ts'

/**
 * Lets a Kysely run queries that are already compiled at once. Its own way to the driver, through executor, connection
 * provider and lock, costs as much as a small statement.
 *
 * @param isFree whether the connection may be used now: not while it is in a transaction of somebody else
 */
export function withShortWay(
  db: Kysely<Tables>,
  run: RunNow | undefined,
  isFree: () => boolean = () => true,
): Kysely<Tables> {
  if (run === undefined) return db
  const longWay = db.executeQuery.bind(db)
  db.executeQuery = async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> =>
    isFree() ? { rows: run(query) as R[] } : longWay(query)
  return db
}

/**
 * The same for a Kysely that has one connection to itself. On PostgreSQL a statement is then sent when it is asked for,
 * whether or not those before it are answered; the server does them in this order.
 */
export async function withOwnConnection(
  db: Kysely<Tables>,
  run: RunNow | undefined,
): Promise<Kysely<Tables>> {
  if (run) return withShortWay(db, run)
  const connection = await db.getExecutor().provideConnection(async (own) => own)
  db.executeQuery = (query) => connection.executeQuery(query as CompiledQuery)
  return db
}
