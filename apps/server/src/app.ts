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
  NewestPages,
  pruneEvents,
  storedSigningKeys,
} from '@dowell-chat/api'
import { type DatabaseOptions, openDatabase } from '@dowell-chat/db'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { createProxies } from './http/caller/address.ts'
import { createContextOf } from './http/caller/identity.ts'
import { createOpenMode } from './http/caller/openMode.ts'
import { createLimits } from './http/caller/quota.ts'
import { type Dress, envelope, plain, sendError } from './http/core/errors.ts'
import { crossOrigin, standingHeaders } from './http/core/headers.ts'
import { requestLog } from './http/core/log.ts'
import type { Incoming, Outgoing, Surface } from './http/core/request.ts'
import { createHttpServer, refuseBadHost } from './http/core/server.ts'
import { docs } from './http/pages/docs.ts'
import { health } from './http/pages/health.ts'
import { pages } from './http/pages/staticRoutes.ts'
import { restV2, restV3 } from './http/rest/rest.ts'
import { createEventStreams } from './http/streams/eventStreams.ts'
import { sse } from './http/streams/sse.ts'
import { subscriptions } from './http/streams/subscriptions.ts'
import { onTrpcWire, trpc } from './http/trpc/trpc.ts'
import { createRandomBytes } from './random.ts'

export interface App {
  /**
   * Migrates the database and listens. When that fails, or `close` is called meanwhile, everything is undone.
   *
   * @returns where it is reached, and what an operator should know of who is let in
   */
  start(): Promise<{ url: string; database: string; notice: string | undefined }>
  /**
   * Stops accepting, answers what is in flight, then checkpoints and closes the database. May be called at any time, and
   * twice.
   */
  close(): Promise<void>
}

/** What tests put in place of the real thing. */
export type Overrides = Partial<Pick<Deps, 'clock' | 'randomBytes' | 'checkAnswers'>> &
  Pick<DatabaseOptions, 'busyTimeout'> & {
    /** Milliseconds, all of them. */
    readonly streamLifetime?: number
    readonly streamHeartbeat?: number
    readonly streamPatience?: number
    readonly pruneInterval?: number
    readonly keyUseInterval?: number
  }

/** How often the last use of API keys is written down, in milliseconds. */
const KEY_USE_INTERVAL = 60_000

const MAX_URL = 8_192

/** Bytes that the newest pages of rooms may take in memory. */
const NEWEST_PAGES = 64 * 1024 * 1024

/**
 * How long requests in flight have when the server closes, in milliseconds. With the 5 seconds that the last write may
 * wait for another process's lock, closing stays below the 10 that supervisors commonly give.
 */
const GRACE = 4_000

/** How long a start that failed waits until all is undone, in milliseconds. A database may say nothing any more. */
const UNDO_MS = 5_000

/** How long a stream lives before it is told to begin anew, in milliseconds. */
const STREAM_LIFETIME = 30 * 60_000

/** How often an idle stream gives a sign of life, in milliseconds. Proxies commonly cut what is silent for a minute. */
const STREAM_HEARTBEAT = 20_000

/** How long a reader may take nothing of what waits for it, in milliseconds. */
const STREAM_PATIENCE = 30_000

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
    randomBytes: overrides.randomBytes ?? createRandomBytes(),
    limits: {
      messageMaxChars: config.MESSAGE_MAX_CHARS,
      roomsPerCustomer: config.ROOMS_PER_CUSTOMER,
      roomsPerMinute: config.ROOMS_PER_MINUTE,
      roomsPerHour: config.ROOMS_PER_HOUR,
    },
    newestPages: new NewestPages(NEWEST_PAGES),
    checkAnswers: overrides.checkAnswers ?? false,
    keyUse: createKeyUse(db, clock),
    live: new Live(db, {
      clock,
      isStillValid: createCredentialCheck(db, createOpenMode(config, db).isOn),
      onError: (error, message) => logger.error({ err: error }, message),
      caps: {
        total: config.STREAMS_MAX,
        perActor: config.STREAMS_PER_ACTOR,
        perCustomer: config.STREAMS_PER_CUSTOMER,
        perAddress: config.STREAMS_PER_ADDRESS,
        perOrganisation: config.STREAMS_PER_ORGANISATION,
        reserved: config.STREAMS_RESERVED,
      },
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
  const proxies = createProxies(config.TRUST_PROXY)
  const contextOf = createContextOf(deps, createLimits(config, deps.db.peers), openMode, proxies)
  const streams = createEventStreams({
    heartbeat: overrides.streamHeartbeat ?? STREAM_HEARTBEAT,
    patience: overrides.streamPatience ?? STREAM_PATIENCE,
  })
  let closing: Promise<void> | undefined
  let flushing: NodeJS.Timeout | undefined
  let pruning: NodeJS.Timeout | undefined

  // A character takes up to 12 bytes as escaped JSON ("\ud83d\ude00"); the rest is for the other fields.
  const bodyLimit = Math.max(256 * 1024, 12 * config.MESSAGE_MAX_CHARS + 64 * 1024)

  const begin = requestLog(logger)
  const headersOf = standingHeaders(proxies)
  const answerPreflight = crossOrigin(openMode)
  const surfaces: readonly { at: RegExp; dress: Dress; serve: Surface }[] = [
    {
      at: /^\/trpc(?![^/])/i,
      dress: onTrpcWire,
      serve: trpc({
        contextOf,
        bodyLimit: 8 * bodyLimit,
        subscribe: subscriptions({ contextOf, streams }),
      }),
    },
    { at: /^\/api\/v2(?![^/])/i, dress: envelope, serve: restV2({ contextOf, bodyLimit }) },
    {
      at: /^\/api\/v3(?![^/])/i,
      dress: plain,
      serve: restV3({ contextOf, bodyLimit, otherwise: sse({ contextOf, streams }) }),
    },
    {
      at: /^/,
      dress: plain,
      serve: pages(
        health(deps.db, logger, () => closing !== undefined),
        docs(),
      ),
    },
  ]

  async function serve(req: Incoming, res: Outgoing): Promise<void> {
    begin(req, res)
    const { locals } = res
    const served = Promise.withResolvers<void>()
    locals.served = served.promise
    const surface = surfaces.find(({ at }) => at.test(locals.path)) as (typeof surfaces)[number]
    locals.dress = surface.dress
    try {
      locals.headers = headersOf(req)
      if (closing) res.shouldKeepAlive = false
      if (await answerPreflight(req, res)) return
      if ((req.url as string).length > MAX_URL) throw new AppError('URI_TOO_LONG')
      refuseBadHost(req)
      await surface.serve(req, res)
    } catch (error) {
      sendError(res, error)
    } finally {
      served.resolve()
    }
  }

  const server = createHttpServer(serve, logger)

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
    streams.close()
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
      // The next start forgets what the end of this one interrupted.
      if (closing) return
      logger.error({ err: error }, 'old events were not removed')
    }
  }

  /** Each step waits for others, and `close` may have been called meanwhile. */
  function refuseWhenClosing(): void {
    if (closing) throw new Error('the server was closed before it had started')
  }

  async function open() {
    await deps.db.migrateToLatest()
    refuseWhenClosing()
    await deps.db.peers?.join()
    refuseWhenClosing()
    const notice = await openMode.notice()
    refuseWhenClosing()
    server.listen(config.PORT, config.HOST)
    await once(server, 'listening')
    if (closing) server.close()
    refuseWhenClosing()
    const { port } = server.address() as AddressInfo
    // From here on nothing can fail.
    flushing = setInterval(noteKeyUse, overrides.keyUseInterval ?? KEY_USE_INTERVAL)
    // At once as well: a server that is started often may never run for an hour.
    void forgetOldEvents()
    pruning = setInterval(forgetOldEvents, overrides.pruneInterval ?? PRUNE_INTERVAL)
    return { url: `http://${callable(config.HOST)}:${port}`, database: deps.db.location, notice }
  }

  return {
    async start() {
      try {
        return await open()
      } catch (error) {
        closing ??= close()
        const undone = new AbortController()
        const late = sleep(UNDO_MS, undefined, { signal: undone.signal })
        await Promise.race([closing, late]).catch(() => undefined)
        undone.abort()
        throw error
      }
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
