import { Buffer } from 'node:buffer'
import { isIP } from 'node:net'
import { z } from 'zod'

/** A setting: how its environment variable is parsed, and what the operator reads about it. */
interface Setting<T> {
  readonly schema: z.ZodType<T, string | undefined>
  readonly default: string
  readonly description: string
}

function setting<T>(value: string, description: string, schema: z.ZodType<T, string>): Setting<T> {
  return { schema: schema.prefault(value), default: value, description }
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
  DATABASE_URL: setting(
    'sqlite:./data/dowell-chat.db',
    'Where the data lives: sqlite: and the path of a file, or postgres://user:password@host:port/database.',
    z.string().min(1, { error: 'must not be empty' }),
  ),
  DATABASE_POOL_SIZE: setting(
    '10',
    'PostgreSQL: connections of this process, at most; up to 2 of them write, and from 3 on one more writes what lost a lock.',
    wholeNumber(2, 1_000),
  ),
  DATABASE_STATEMENT_TIMEOUT: setting(
    '5000',
    'PostgreSQL: milliseconds that one statement may take.',
    wholeNumber(100, 600_000),
  ),
  LOG_LEVEL: setting(
    'info',
    `Least severe of the log lines to write: ${LOG_LEVELS.join(', ')}.`,
    z.enum(LOG_LEVELS, { error: `must be one of ${LOG_LEVELS.join(', ')}` }),
  ),
  MESSAGE_MAX_CHARS: setting(
    '16000',
    'Longest message text, in Unicode characters.',
    wholeNumber(1, 1_000_000),
  ),
  AUTH: setting(
    'keys',
    'keys: callers need an API key or a user token. Until the first key is made, callers on this machine need none, unless HOST, TRUST_PROXY, CORS_ORIGINS or NODE_ENV says that others reach the server. open: nobody needs one.',
    z.enum(['keys', 'open'], { error: 'must be keys or open' }),
  ),
  TOKEN_SIGNING_KEYS: setting(
    '',
    'Keys that sign user tokens, id:base64 and comma-separated, the first signs. Empty: kept in the database.',
    list(
      isSigningKey,
      'must be id:secret, with 32 bytes or more in base64, comma-separated',
    ).refine((keys) => new Set(keys.map((key) => key.split(':')[0])).size === keys.length, {
      error: 'must not have one id twice',
    }),
  ),
  TRUST_PROXY: setting(
    '',
    'Proxies whose X-Forwarded-For counts: addresses, subnets or loopback, linklocal, uniquelocal, comma-separated.',
    list(isAddressRange, `must be addresses, subnets or ${RANGES.join(', ')}, comma-separated`),
  ),
  CORS_ORIGINS: setting(
    '',
    'Origins whose pages may call, comma-separated; * is every page. Empty: none; in open mode those of this machine, with AUTH=open all.',
    list(isOrigin, 'must be origins such as https://app.example.com, comma-separated, or *'),
  ),
  NODE_ENV: setting(
    '',
    'production: others reach the server, so there is no open mode. Any other text means nothing here.',
    z.string(),
  ),
  EVENT_RETENTION_DAYS: setting(
    '30',
    'Days that the event log reaches back: how long a reader may be away and still miss nothing. Messages are kept for ever.',
    wholeNumber(1, 36_500),
  ),
  STREAMS_MAX: setting(
    '10000',
    'Event streams that may be open at once. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_PER_ACTOR: setting(
    '100',
    'Event streams that one key, or one user of the support team, may have open at once. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  ROOMS_PER_CUSTOMER: setting(
    '50',
    'Active rooms of one customer; with so many, a user token opens no other. 0: no limit.',
    wholeNumber(0, 10_000),
  ),
  ROOMS_PER_MINUTE: setting(
    '10',
    'Rooms that one customer may open in a minute with a user token; deleted ones count. 0: no limit.',
    wholeNumber(0, 10_000),
  ),
  ROOMS_PER_HOUR: setting(
    '60',
    'Rooms that one customer may open in an hour with a user token; deleted ones count. 0: no limit.',
    wholeNumber(0, 10_000),
  ),
  STREAMS_PER_CUSTOMER: setting(
    '20',
    'Event streams that one customer may have open at once. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_PER_ADDRESS: setting(
    '500',
    'Event streams that customers and callers without a credential may have open at once from one address. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_PER_ORGANISATION: setting(
    '5000',
    'Event streams that may be open at once for one organisation. 0: no limit.',
    wholeNumber(0, 10_000_000),
  ),
  STREAMS_RESERVED: setting(
    '10',
    'Percent of STREAMS_MAX and of STREAMS_PER_ORGANISATION that are for keys and the support team alone.',
    wholeNumber(0, 90),
  ),
  RATE_LIMIT_ACTOR: setting(
    '60000',
    'Points a minute for one key, user or open caller; a read costs 1, a write 2, a new key or token 20, and each 16 KiB beyond the first 32 KiB 1 more in an answer and 3 in a body. 0: no limit.',
    wholeNumber(0, 100_000_000),
  ),
  RATE_LIMIT_CUSTOMER: setting(
    '3000',
    'The same for one customer with a user token, and never more than RATE_LIMIT_ACTOR. 0: as RATE_LIMIT_ACTOR.',
    wholeNumber(0, 100_000_000),
  ),
  RATE_LIMIT_ADDRESS: setting(
    '120000',
    'Points a minute for one address, whoever calls from it. 0: no limit.',
    wholeNumber(0, 100_000_000),
  ),
  RATE_LIMIT_FAILURES: setting(
    '60',
    'Failed authentications a minute from one address before they are answered 429. 0: no limit.',
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

/** Reads the settings. An empty variable counts as unset. @throws ConfigError naming every invalid setting */
export function readConfig(env: Record<string, string | undefined>): Config {
  const problems: string[] = []
  const read = Object.entries(settings).map(([name, { schema }]) => {
    const result = schema.safeParse(env[name] || undefined)
    if (!result.success) problems.push(`${name} ${result.error.issues[0]?.message}`)
    return [name, result.data]
  })
  if (problems.length > 0) throw new ConfigError(problems.join('; '))
  return Object.fromEntries(read) as Config
}

/** Every setting with its default and its description. */
export function describeSettings(): { name: string; default: string; description: string }[] {
  return Object.entries(settings).map(([name, { default: value, description }]) => ({
    name,
    default: value,
    description,
  }))
}
