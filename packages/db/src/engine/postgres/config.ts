import pg from 'pg'
import { type ConnectionOptions, toClientConfig } from 'pg-connection-string'

/** How long a connection is silent before we probe the server (ms). */
const KEEP_ALIVE_DELAY_MS = 10_000

/**
 * When the server drops a connection whose other end is gone: after 10 s without an acknowledgement of what it sent, and
 * after 25 s of silence. Its defaults are 15 minutes and 2 hours.
 */
const DEAD_CLIENT_SETTINGS = {
  tcp_user_timeout: 10_000,
  tcp_keepalives_idle: 10,
  tcp_keepalives_interval: 5,
  tcp_keepalives_count: 3,
}

/** Server settings of a connection, by name. */
export type Settings = Readonly<Record<string, string | number>>

/** Set by a statement and not at the connection's start: poolers refuse or forget start parameters. */
export function setAll(settings: Settings): string {
  return Object.entries({ ...DEAD_CLIENT_SETTINGS, ...settings })
    .map(([name, value]) => `set ${name} = ${value}`)
    .join('; ')
}

export function clientConfig(config: ConnectionOptions, connectTimeout: number): pg.ClientConfig {
  return {
    application_name: 'dowell-chat',
    ...toClientConfig(config),
    connectionTimeoutMillis: connectTimeout,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
  }
}

/** Reads bigint as a number: counts and times stay below 2^53. */
export const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    return oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format)
  },
} as pg.CustomTypesConfig
