import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, type Context, type Deps } from '@dowell-chat/api'
import { openDatabase } from '@dowell-chat/db'
import express, { type Response } from 'express'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { docs } from './http/docs.ts'
import { lastErrorHandler, notFound, requestIdOf, worded } from './http/errors.ts'
import { health } from './http/health.ts'
import { requestLog } from './http/log.ts'
import { envelope, restV2, restV3 } from './http/rest.ts'
import { createHttpServer, refuseBadHost } from './http/server.ts'
import { onTrpcWire, trpc } from './http/trpc.ts'

export interface App {
  /** Migrates the database and listens. @returns where the server is reached */
  start(): Promise<{ url: string; database: string }>
  /** Stops accepting, answers what is in flight, then checkpoints and closes the database. May be called twice. */
  close(): Promise<void>
}

/** What tests put in place of the real thing. */
export type Overrides = Partial<Pick<Deps, 'clock' | 'randomBytes'>>

const MAX_URL = 8_192

/** How long requests in flight have when the server closes, in milliseconds. */
const GRACE = 8_000

/** Builds the whole server once, in one visible order. Opens the database; does not listen yet. */
export function createApp(config: Config, logger: Logger, overrides: Overrides = {}): App {
  const deps: Deps = {
    db: openDatabase({ url: config.DATABASE_URL }),
    clock: Date.now,
    randomBytes,
    limits: { messageMaxChars: config.MESSAGE_MAX_CHARS },
    ...overrides,
  }
  let closing: Promise<void> | undefined

  const contextOf = (res: Response): Context => ({
    deps,
    actor: { kind: 'open' },
    requestId: requestIdOf(res),
  })
  // A character takes up to 12 bytes as escaped JSON ("\ud83d\ude00"); the rest is for the other fields.
  const bodyLimit = Math.max(256 * 1024, 12 * config.MESSAGE_MAX_CHARS + 64 * 1024)

  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.use(requestLog(logger))
  app.use('/trpc', worded(onTrpcWire))
  app.use('/api/v2', worded(envelope))
  app.use((req, res, next) => {
    if (closing) res.setHeader('Connection', 'close')
    if (req.originalUrl.length > MAX_URL) throw new AppError('URI_TOO_LONG')
    refuseBadHost(req)
    next()
  })
  app.use(health(deps, () => closing !== undefined))
  app.use(docs())
  app.use('/trpc', trpc({ contextOf, bodyLimit: 8 * bodyLimit }))
  app.use('/api/v2', restV2({ contextOf, bodyLimit }))
  app.use('/api/v3', restV3({ contextOf, bodyLimit }))
  app.use(notFound)
  app.use(lastErrorHandler)

  const server = createHttpServer(app, logger)

  async function close(): Promise<void> {
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
    await deps.db.close()
  }

  return {
    async start() {
      try {
        await deps.db.migrateToLatest()
        server.listen(config.PORT, config.HOST)
        await once(server, 'listening')
      } catch (error) {
        await deps.db.close()
        throw error
      }
      const { port } = server.address() as AddressInfo
      const host = config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST
      return { url: `http://${host}:${port}`, database: deps.db.location }
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}
