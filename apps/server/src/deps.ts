import {
  CursorEpoch,
  createLastUsedTracker,
  createRevocationCheck,
  type Deps,
  fixedSigningKeys,
  hiddenFromCustomers,
  LatestPageCache,
  Live,
  SettingsCache,
  type SigningKeys,
  storedSigningKeys,
} from '@dowell-chat/api'
import { type DatabaseOptions, openDatabase } from '@dowell-chat/db'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { createOpenMode } from './http/caller/openMode.ts'
import { createRandomBytes } from './random.ts'

/** Replaced in tests. */
export type DepsOverrides = Partial<Pick<Deps, 'clock' | 'randomBytes' | 'checkOutputs'>> &
  Pick<DatabaseOptions, 'busyTimeout' | 'connectTimeout'> & {
    /** Milliseconds. */
    readonly streamLifetime?: number
  }

/** The memory for the newest pages of rooms. */
const NEWEST_PAGES_BYTES = 64 * 1024 * 1024

/** A stream is closed at this age, and its client opens another. */
const STREAM_LIFETIME_MS = 30 * 60_000

/** Opens the database and creates what the operations need, for the server and the command line. */
export function createDeps(config: Config, logger: Logger, overrides: DepsOverrides = {}): Deps {
  const { busyTimeout, connectTimeout } = overrides
  const db = openDatabase({
    url: config.DATABASE_URL,
    poolSize: config.DATABASE_POOL_SIZE,
    statementTimeout: config.DATABASE_STATEMENT_TIMEOUT,
    checkpoints: config.SQLITE_CHECKPOINTS,
    ...(busyTimeout === undefined ? {} : { busyTimeout }),
    ...(connectTimeout === undefined ? {} : { connectTimeout }),
  })
  const clock = overrides.clock ?? Date.now
  const ids = { clock, randomBytes: overrides.randomBytes ?? createRandomBytes() }
  const signingKeys = createSigningKeys(config, logger, { ...ids, db })
  const settings = new SettingsCache(db)
  return {
    db,
    ...ids,
    signingKeys,
    limits: {
      messageMaxChars: config.MESSAGE_MAX_CHARS,
      roomsPerCustomer: config.ROOMS_PER_CUSTOMER,
      roomsPerMinute: config.ROOMS_PER_MINUTE,
      roomsPerHour: config.ROOMS_PER_HOUR,
    },
    settings,
    latestPages: new LatestPageCache(NEWEST_PAGES_BYTES),
    cursorEpoch: new CursorEpoch(db),
    checkOutputs: overrides.checkOutputs ?? false,
    lastUsed: createLastUsedTracker(db, clock),
    live: new Live(db, {
      clock,
      findRevoked: createRevocationCheck(
        { db, signingKeys, clock },
        createOpenMode(config, db).isOn,
      ),
      hiddenFromCustomers: (orgId) => hiddenFromCustomers(settings, orgId),
      onError: (error, message) => logger.error({ err: error }, message),
      caps: {
        total: config.STREAMS_MAX,
        perActor: config.STREAMS_PER_ACTOR,
        perCustomer: config.STREAMS_PER_CUSTOMER,
        perAddress: config.STREAMS_PER_ADDRESS,
        perOrganisation: config.STREAMS_PER_ORGANISATION,
        reserved: config.STREAMS_RESERVED,
      },
      lifetime: overrides.streamLifetime ?? STREAM_LIFETIME_MS,
    }),
  }
}

/** Those of the configuration, or those in the database. */
function createSigningKeys(
  config: Config,
  logger: Logger,
  deps: Parameters<typeof storedSigningKeys>[0],
): SigningKeys {
  const [first, ...others] = config.TOKEN_SIGNING_KEYS.map((entry) => {
    const [id = '', secret = ''] = entry.split(':')
    return { id, secret: Buffer.from(secret, 'base64') }
  })
  if (first) return fixedSigningKeys([first, ...others])
  return storedSigningKeys(deps, (signingKeys) => {
    logger.warn({ signingKeys }, 'the signing keys of user tokens were rotated')
  })
}
