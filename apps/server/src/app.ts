import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { createDeps, type DepsOverrides } from './deps.ts'
import { createProxies, networkOf } from './http/caller/address.ts'
import { createContextFactory, createPageQuota } from './http/caller/identity.ts'
import { createOpenMode } from './http/caller/openMode.ts'
import { createQuotas } from './http/caller/quota.ts'
import { limitConnections } from './http/core/connectionLimits.ts'
import { createDispatch } from './http/core/dispatch.ts'
import { createCors, defaultHeaders } from './http/core/headers.ts'
import { createHttpServer } from './http/core/server.ts'
import { docs } from './http/pages/docs.ts'
import { HEALTH_PATHS, health } from './http/pages/health.ts'
import { staticRoutes } from './http/pages/staticRoutes.ts'
import { restV2 } from './http/rest/v2.ts'
import { restV3 } from './http/rest/v3.ts'
import { createEventStreams } from './http/streams/eventStreams.ts'
import { sse } from './http/streams/sse.ts'
import { subscriptions } from './http/streams/subscriptions.ts'
import { trpc } from './http/trpc/trpc.ts'
import { clockCheck } from './jobs/clockCheck.ts'
import { lastUsedFlush } from './jobs/lastUsed.ts'
import { retention } from './jobs/retention.ts'
import { schemaWatch } from './jobs/schemaWatch.ts'
import { type App, createLifecycle } from './lifecycle.ts'

/** Replaced in tests. All are milliseconds. */
export type Overrides = DepsOverrides & {
  readonly streamHeartbeat?: number
  readonly streamStallTimeout?: number
  readonly pruneInterval?: number
  readonly lastUsedInterval?: number
}

/** Proxies commonly cut a connection that is silent for a minute. */
const STREAM_HEARTBEAT_MS = 20_000

const STREAM_STALL_MS = 30_000

/** Builds the whole server. Opens the database, and does not listen yet. */
export function createApp(config: Config, logger: Logger, overrides: Overrides = {}): App {
  const deps = createDeps(config, logger, overrides)
  if (deps.db.exposure !== undefined) logger.warn(deps.db.exposure)
  const openMode = createOpenMode(config, deps.db)
  const proxies = createProxies(config.TRUST_PROXY)
  const quotas = createQuotas(config, deps.db.peers)
  const createContext = createContextFactory(deps, quotas, openMode)
  const streams = createEventStreams({
    heartbeatMs: overrides.streamHeartbeat ?? STREAM_HEARTBEAT_MS,
    stallMs: overrides.streamStallTimeout ?? STREAM_STALL_MS,
  })
  const clocks = clockCheck(deps, logger)
  const closing = new AbortController()
  const isClosing = () => closing.signal.aborted

  // A character takes up to 12 bytes as escaped JSON ("\ud83d\ude00"); the rest is for the other fields.
  const bodyLimit = Math.max(256 * 1024, 12 * config.MESSAGE_MAX_CHARS + 64 * 1024)

  const subscribe = subscriptions({ createContext, streams })
  const serveStream = sse({ createContext, streams })
  const dispatch = createDispatch({
    logger,
    addressOf: proxies.callerOf,
    routes: [
      {
        pattern: /^\/trpc(?![^/])/i,
        transport: trpc({ createContext, bodyLimit: 8 * bodyLimit, subscribe }),
      },
      { pattern: /^\/api\/v2(?![^/])/i, transport: restV2({ createContext, bodyLimit }) },
      {
        pattern: /^\/api\/v3(?![^/])/i,
        transport: restV3({ createContext, bodyLimit, serveStream }),
      },
      {
        pattern: HEALTH_PATHS,
        transport: health(deps.db, logger, { isClosing, problem: clocks.problem }),
      },
      { pattern: /^/, transport: staticRoutes(docs(), createPageQuota(quotas)) },
    ],
    defaultHeaders: defaultHeaders(proxies.isSecure),
    cors: createCors(openMode),
    isClosing,
  })
  const server = createHttpServer(dispatch, logger)
  limitConnections(
    server,
    {
      max: config.CONNECTIONS_MAX,
      perAddress: config.CONNECTIONS_PER_ADDRESS,
      addressOf: (peer) => (proxies.isTrusted(peer) ? undefined : networkOf(peer)),
    },
    logger,
  )

  return createLifecycle({
    deps,
    openMode,
    server,
    streams,
    jobs: [
      schemaWatch(deps, logger),
      clocks,
      lastUsedFlush(deps, logger, overrides.lastUsedInterval),
      retention(deps, logger, {
        days: config.EVENT_RETENTION_DAYS,
        intervalMs: overrides.pruneInterval,
        clockCheck: clocks,
        isClosing,
      }),
    ],
    listen: { port: config.PORT, host: config.HOST },
    closing,
  })
}
