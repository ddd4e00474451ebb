import { Buffer } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { z } from 'zod'

/** A setting: how its environment variable is parsed, and what the operator reads about it. */
interface Setting<T> {
  readonly schema: z.ZodType<T, string | undefined>
  readonly default: string
  readonly description: string
  /** Whether a file may have it instead, named by the variable with `_FILE` at its end. */
  readonly isSecret: boolean
}

function setting<T>(value: string, description: string, schema: z.ZodType<T, string>): Setting<T> {
  return { schema: schema.prefault(value), default: value, description, isSecret: false }
}

function secret<T>(value: string, description: string, schema: z.ZodType<T, string>): Setting<T> {
  return { ...setting(value, description, schema), isSecret: true }
}

function wholeNumber(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`
  return z
    .string()
    .regex(/^\d{1,9}$/, { error, abort: true })
    .transform(Number)
    .pipe(z.number().min(min, { error }).max(max, { error }))
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/** Comma-separated entries, each checked; an empty list when nothing is set. */
function list(isValid: (entry: string) => boolean, error: string) {
  return z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((entry) => entry.trim())
        .filter(Boolean),
    )
    .refine((entries) => entries.every(isValid), { error })
}

/** Names of address ranges, as express has them. */
const RANGES = ['loopback', 'linklocal', 'uniquelocal']

function isAddressRange(entry: string): boolean {
  const [address = '', bits, ...rest] = entry.split('/')
  // Express takes no zone, and IPv4 inside IPv6 only if it is mapped.
  if (/%|^(?!::ffff:).*:.*\./i.test(address)) return false
  const version = isIP(address)
  if (version === 0) return RANGES.includes(entry)
  if (bits === undefined) return true
  // A subnet of 0 bits would trust every caller to name its own address.
  const max = version === 4 ? 32 : 128
  return rest.length === 0 && /^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= max
}

function isOrigin(entry: string): boolean {
  if (entry === '*') return true
  // A pattern would silently match no page.
  return /^https?:[^*]+$/.test(entry) && URL.canParse(entry) && new URL(entry).origin === entry
}

/** `id:secret`, with 32 bytes or more in base64 or base64url. */
function isSigningKey(entry: string): boolean {
  const [id, secret, ...rest] = entry.split(':')
  return (
    rest.length === 0 &&
    /^[\w.-]{1,64}$/.test(id ?? '') &&
    /^[\w+/-]+={0,2}$/.test(secret ?? '') &&
    Buffer.from(secret ?? '', 'base64').length >= 32
  )
}

const settings = {
  PORT: setting('3000', 'Port to listen on; 0 takes a free one.', wholeNumber(0, 65_535)),
  HOST: setting(
    '127.0.0.1',
    'Address to listen on; 0.0.0.0 is every address of the machine.',
    z.string().regex(/^[\w.:-]+$/, { error: 'must be an address or a host name' }),
  ),
  DATABASE_URL: secret(
    'sqlite:./data/dowell-chat.db',
    'The database: sqlite: and the path of a file, or postgres://user:password@host:port/database. Or set DATABASE_URL_FILE to the path of a file that has it.',
    z.string().min(1, { error: 'must not be empty' }),
  ),
  DATABASE_POOL_SIZE: setting(
    '10',
    'PostgreSQL: maximum connections of this process. Up to 2 of them write. With 3 or more, another one repeats writes that waited for a lock.',
    wholeNumber(2, 1_000),
  ),
  DATABASE_STATEMENT_TIMEOUT: setting(
    '5000',
    'PostgreSQL: timeout of one statement in milliseconds.',
    wholeNumber(100, 600_000),
  ),
  SQLITE_CHECKPOINTS: setting(
    'server',
    'SQLite: who empties the write-ahead log. server: this server, also within seconds after text was deleted. external: another program that replicates the log, such as Litestream.',
    z.enum(['server', 'external'], { error: 'must be server or external' }),
  ),
  LOG_LEVEL: setting(
    'info',
    `Lowest level of the log lines that are written: ${LOG_LEVELS.join(', ')}.`,
    z.enum(LOG_LEVELS, { error: `must be one of ${LOG_LEVELS.join(', ')}` }),
  ),
  MESSAGE_MAX_CHARS: setting(
    '16000',
    'Longest message text, in Unicode characters.',
    wholeNumber(1, 1_000_000),
  ),
  AUTH: setting(
    'keys',
    'keys: callers need an API key or a user token. Until the first key is made, callers on this machine need none, unless HOST, TRUST_PROXY, CORS_ORIGINS or NODE_ENV makes the server public. open: nobody needs a credential.',
    z.enum(['keys', 'open'], { error: 'must be keys or open' }),
  ),
  TOKEN_SIGNING_KEYS: secret(
    '',
    'Keys for user tokens, as id:base64, comma-separated. The first signs, all verify. Empty: the keys are in the database. Or set TOKEN_SIGNING_KEYS_FILE to the path of a file that has them.',
    list(
      isSigningKey,
      'must be id:secret, with 32 bytes or more in base64, comma-separated',
    ).refine((keys) => new Set(keys.map((key) => key.split(':')[0])).size === keys.length, {
      error: 'must not have one id twice',
    }),
  ),
  TRUST_PROXY: setting(
    '',
    'Proxies whose X-Forwarded-For is trusted: addresses, subnets or loopback, linklocal, uniquelocal, comma-separated.',
    list(isAddressRange, `must be addresses, subnets or ${RANGES.join(', ')}, comma-separated`),
  ),
  CORS_ORIGINS: setting(
    '',
    'Origins whose pages may call, comma-separated. * allows every origin. Empty: none; in open mode those of this machine; with AUTH=open all.',
    list(isOrigin, 'must be origins such as https://app.example.com, comma-separated, or *'),
  ),
  NODE_ENV: setting(
    '',
    'production: the server is public, so there is no open mode. Other values have no effect.',
    z.string(),
  ),
  EVENT_RETENTION_DAYS: setting(
    '30',
    'Days that events are kept. A reader that was away for less time misses nothing. Messages are kept.',
    wholeNumber(1, 36_500),
  ),
  CONNECTIONS_MAX: setting(
    '20000',
    'Maximum open connections. A stream has one. Further ones are closed without a response. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  CONNECTIONS_PER_ADDRESS: setting(
    '2000',
    'Maximum open connections from one address that is no proxy of TRUST_PROXY. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_MAX: setting(
    '10000',
    'Maximum open event streams. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_PER_ACTOR: setting(
    '100',
    'Maximum open event streams of one key, or of one user of the support team. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  ROOMS_PER_CUSTOMER: setting(
    '50',
    'Maximum active rooms of one customer. At the limit a user token cannot open another. 0: no limit.',
    wholeNumber(0, 10_000),
  ),
  ROOMS_PER_MINUTE: setting(
    '10',
    'Maximum rooms that one customer opens in a minute with a user token. Deleted rooms count. 0: no limit.',
    wholeNumber(0, 10_000),
  ),
  ROOMS_PER_HOUR: setting(
    '60',
    'Maximum rooms that one customer opens in an hour with a user token. Deleted rooms count. 0: no limit.',
    wholeNumber(0, 10_000),
  ),
  STREAMS_PER_CUSTOMER: setting(
    '20',
    'Maximum open event streams of one customer. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_PER_ADDRESS: setting(
    '500',
    'Maximum open event streams from one address, of customers and callers without a credential. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_PER_ORGANISATION: setting(
    '5000',
    'Maximum open event streams of one organisation. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_RESERVED: setting(
    '10',
    'Percent of STREAMS_MAX and of STREAMS_PER_ORGANISATION that only keys and the support team can use.',
    wholeNumber(0, 90),
  ),
  RATE_LIMIT_ACTOR: setting(
    '60000',
    'Points per minute of one key, user or open caller. A read costs 1, a write 2, a new key or token 20. Each 16 KiB after the first 32 KiB cost 1 more in a response and 3 more in a request body. 0: no limit.',
    wholeNumber(0, 100_000_000),
  ),
  RATE_LIMIT_CUSTOMER: setting(
    '3000',
    'The same for one customer with a user token, at most RATE_LIMIT_ACTOR. 0: as RATE_LIMIT_ACTOR.',
    wholeNumber(0, 100_000_000),
  ),
  RATE_LIMIT_ADDRESS: setting(
    '120000',
    'Points per minute of one address, for all its callers together. 0: no limit.',
    wholeNumber(0, 100_000_000),
  ),
  RATE_LIMIT_FAILURES: setting(
    '60',
    'Failed authentications per minute from one address. Further ones get 429. 0: no limit.',
    wholeNumber(0, 100_000_000),
  ),
} as const

export type Config = {
  readonly [Name in keyof typeof settings]: (typeof settings)[Name] extends Setting<infer T>
    ? T
    : never
}

/** Invalid settings, one clause for each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Reads the settings. An empty variable counts as unset. A secret may be in a file.
 *
 * @throws ConfigError naming every invalid setting
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const problems: string[] = []
  const read = Object.entries(settings).map(([name, { schema, isSecret }]) => {
    try {
      const result = schema.safeParse((isSecret ? secretOf(env, name) : env[name]) || undefined)
      if (!result.success) problems.push(`${name} ${result.error.issues[0]?.message}`)
      return [name, result.data]
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      problems.push(error.message)
      return [name, undefined]
    }
  })
  if (problems.length > 0) throw new ConfigError(problems.join('; '))
  return Object.fromEntries(read) as Config
}

/** @throws ConfigError when both variables are set, or the file has no secret */
function secretOf(env: Record<string, string | undefined>, name: string): string | undefined {
  const fileName = `${name}_FILE`
  const file = env[fileName]
  if (!file) return env[name]
  if (env[name]) throw new ConfigError(`${name} and ${fileName} are both set; keep one of them`)
  let text: string
  try {
    // Editors end a file with a line feed.
    text = readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new ConfigError(`${fileName} must name a readable file: ${(error as Error).message}`)
  }
  // A missing secret must not turn into a default.
  if (text === '') throw new ConfigError(`${fileName} must name a file with text: ${file} is empty`)
  return text
}

/** Every setting with its default and its description. */
export function describeSettings(): { name: string; default: string; description: string }[] {
  return Object.entries(settings).map(([name, { default: value, description }]) => ({
    name,
    default: value,
    description,
  }))
}
