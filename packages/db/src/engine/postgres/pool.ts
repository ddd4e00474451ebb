import pg from 'pg'
import type { ConnectionOptions } from 'pg-connection-string'
import type { ConnectionPool } from '../engine.ts'
import { Mutex } from '../mutex.ts'
import type { Connection } from '../session.ts'
import { PooledClient } from './client.ts'
import { clientConfig, type Settings, setAll, types } from './config.ts'
import { unavailable } from './errors.ts'

export interface PostgresPool extends ConnectionPool {
  end(): Promise<void>
}

/** @param onClient called with each new connection */
export function openPool(
  config: ConnectionOptions,
  onClient: (client: pg.Client) => void,
  {
    settings,
    connectTimeout,
    ...own
  }: pg.PoolConfig & { settings: Settings; connectTimeout: number },
): PostgresPool {
  const pool = new pg.Pool({
    ...clientConfig(config, connectTimeout),
    types,
    async onConnect(client) {
      onClient(client as pg.Client)
      const query = { text: setAll(settings), query_timeout: connectTimeout }
      await client.query(query)
    },
    ...own,
  })
  // A lost idle connection is replaced when one is needed.
  pool.on('error', () => undefined)
  return {
    async lend<T>(job: (connection: Connection) => Promise<T>): Promise<T> {
      let client: pg.PoolClient
      try {
        client = await pool.connect()
      } catch (error) {
        throw unavailable(error)
      }
      const connection = new PooledClient(client)
      try {
        return await job(own.pipeline ? connection : oneAtATime(connection))
      } finally {
        connection.release()
      }
    },
    end: () => pool.end(),
  }
}

/** Sends a statement after the answer to the one before, so that each has its full timeout. */
function oneAtATime(connection: Connection): Connection {
  const mutex = new Mutex()
  return {
    dialect: 'postgres',
    execute: (statement) => mutex.run(async () => connection.execute(statement)),
  }
}
