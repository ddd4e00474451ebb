import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AppError,
  createCredentialCheck,
  createKeyUse,
  type Deps,
  fixedSigningKeys,
  Live,
  pruneEvents,
  storedSigningKeys,
} from '@dowell-chat/api'
import { type DatabaseOptions, openDatabase } from '@dowell-chat/db'
import express from 'express'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { docs } from './http/docs.ts'
import { envelope, lastErrorHandler, notFound, worded } from './http/errors.ts'
import { crossOrigin, hardening } from './http/headers.ts'
import { health } from './http/health.ts'
import { createContextOf } from './http/identity.ts'
import { createLimits } from './http/limits.ts'
import { requestLog } from './http/log.ts'
import { createOpenMode } from './http/openMode.ts'
import { restV2, restV3 } from './http/rest.ts'
import { createHttpServer, refuseBadHost } from './http/server.ts'
import { onTrpcWire, trpc } from './http/trpc.ts'

export interface App {
  /** Migrates the database and listens. @returns where it is reached, and whether anyone may come without a credential */
  start(): Promise<{ url: string; database: string; open: boolean }>
  /** Stops accepting, answers what is in flight, then checkpoints and closes the database. May be called twice. */
  close(): Promise<void>
}

/** What tests put in place of the real thing. */
export type Overrides = Partial<Pick<Deps, 'clock' | 'randomBytes'>> &
  Pick<DatabaseOptions, 'busyTimeout'> & {
    /** Milliseconds. */
    readonly streamLifetime?: number
  }

/** How often the last use of API keys is written down, in milliseconds. */
const KEY_USE_INTERVAL = 60_000

const MAX_URL = 8_192

/**
 * How long requests in flight have when the server closes, in milliseconds. With the 5 seconds that the last write may
 * wait for another process's lock, closing stays below the 10 that supervisors commonly give.
 */
const GRACE = 4_000

/** How long a stream lives before it is told to begin anew, in milliseconds. */
const STREAM_LIFETIME = 30 * 60_000

/** How often the event log forgets what is too old, and how long a day is, in milliseconds. */
const PRUNE_INTERVAL = 60 * 60_000
const DAY = 24 * 60 * 60_000

/** What the procedures work with. The command line makes the same. */
export function createDeps(config: Config, logger: Logger, overrides: Overrides = {}): Deps {
  const { busyTimeout } = overrides
  const db = openDatabase({
    url: config.DATABASE_URL,
    poolSize: config.DATABASE_POOL_SIZE,
    statementTimeout: config.DATABASE_STATEMENT_TIMEOUT,
    ...(busyTimeout === undefined ? {} : { busyTimeout }),
  })
  const clock = overrides.clock ?? Date.now
  const made = {
    db,
    clock,
    randomBytes: overrides.randomBytes ?? randomBytes,
    limits: { messageMaxChars: config.MESSAGE_MAX_CHARS },
    keyUse: createKeyUse(db, clock),
    live: new Live(db, {
      clock,
      isStillValid: createCredentialCheck(db, () => createOpenMode(config, db).isOn()),
      onError: (error) => logger.error({ err: error }, 'the event log cannot be read'),
      maxStreams: config.STREAMS_MAX,
      maxStreamsPerActor: config.STREAMS_PER_ACTOR,
      lifetime: overrides.streamLifetime ?? STREAM_LIFETIME,
    }),
  }
  const given = config.TOKEN_SIGNING_KEYS.map((entry) => {
    const [id = '', secret = ''] = entry.split(':')
    return { id, secret: Buffer.from(secret, 'base64') }
  })
  const [first, ...others] = given
  const signingKeys = first ? fixedSigningKeys([first, ...others]) : storedSigningKeys(made)
  return { ...made, signingKeys }
}

/** Builds the whole server once, in one visible order. Opens the database; does not listen yet. */
export function createApp(config: Config, logger: Logger, overrides: Overrides = {}): App {
  const deps = createDeps(config, logger, overrides)
  const openMode = createOpenMode(config, deps.db)
  const contextOf = createContextOf(deps, createLimits(config), openMode)
  let closing: Promise<void> | undefined
  let flushing: NodeJS.Timeout | undefined
  let pruning: NodeJS.Timeout | undefined

  // A character takes up to 12 bytes as escaped JSON ("\ud83d\ude00"); the rest is for the other fields.
  const bodyLimit = Math.max(256 * 1024, 12 * config.MESSAGE_MAX_CHARS + 64 * 1024)

  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.set('trust proxy', config.TRUST_PROXY)
  app.use(requestLog(logger))
  app.use('/trpc', worded(onTrpcWire))
  app.use('/api/v2', worded(envelope))
  app.use(hardening())
  app.use(crossOrigin(openMode))
  app.use((req, res, next) => {
    if (closing) res.setHeader('Connection', 'close')
    if (req.originalUrl.length > MAX_URL) throw new AppError('URI_TOO_LONG')
    refuseBadHost(req)
    next()
  })
  app.use(health(deps.db, () => closing !== undefined))
  app.use(docs())
  app.use('/trpc', trpc({ contextOf, bodyLimit: 8 * bodyLimit }))
  app.use('/api/v2', restV2({ contextOf, bodyLimit }))
  app.use('/api/v3', restV3({ contextOf, bodyLimit }))
  app.use(notFound)
  app.use(lastErrorHandler)

  const server = createHttpServer(app, logger)

  async function close(): Promise<void> {
    // First of all: readers go elsewhere while the last requests are answered.
    deps.live.end('shutdown')
    if (server.listening) {
      const closed = once(server, 'close')
      server.close()
      const deadline = performance.now() + GRACE
      // A connection that is busy now becomes idle, and nobody else would close it then.
      while (!(await Promise.race([closed.then(() => true), sleep(50, false)]))) {
        if (performance.now() < deadline) server.closeIdleConnections()
        else server.closeAllConnections()
      }
    }
    deps.live.close()
    clearInterval(flushing)
    clearInterval(pruning)
    await noteKeyUse()
    await deps.db.close()
  }

  async function noteKeyUse(): Promise<void> {
    try {
      await deps.keyUse.flush()
    } catch (error) {
      logger.error({ err: error }, 'the last use of API keys was not recorded')
    }
  }

  async function forgetOldEvents(): Promise<void> {
    try {
      await pruneEvents(deps.db, deps.clock() - config.EVENT_RETENTION_DAYS * DAY)
    } catch (error) {
      logger.error({ err: error }, 'old events were not removed')
    }
  }

  return {
    async start() {
      try {
        await deps.db.migrateToLatest()
        server.listen(config.PORT, config.HOST)
        await once(server, 'listening')
      } catch (error) {
        deps.live.close()
        await deps.db.close()
        throw error
      }
      flushing = setInterval(noteKeyUse, KEY_USE_INTERVAL)
      pruning = setInterval(forgetOldEvents, PRUNE_INTERVAL)
      const { port } = server.address() as AddressInfo
      const open = await openMode.isOn()
      return { url: `http://${callable(config.HOST)}:${port}`, database: deps.db.location, open }
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}

/** The name in a URL by which a caller on this machine reaches the server: every address (`0.0.0.0`, `::`) is none to call. */
function callable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}
