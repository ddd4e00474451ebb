import { z } from 'zod'

/** One setting: what the environment may say, and what an operator reads about it. */
interface Setting<T> {
  readonly schema: z.ZodType<T, string | undefined>
  readonly standard: string
  readonly about: string
}

function setting<T>(standard: string, about: string, schema: z.ZodType<T, string>): Setting<T> {
  return { schema: schema.prefault(standard), standard, about }
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

const settings = {
  PORT: setting('3000', 'Port to listen on; 0 takes a free one.', wholeNumber(0, 65_535)),
  HOST: setting(
    '127.0.0.1',
    'Address to listen on; 0.0.0.0 is every address of the machine.',
    z.string().regex(/^[\w.:-]+$/, { error: 'must be an address or a host name' }),
  ),
  DATABASE_URL: setting(
    'sqlite:./data/dowell-chat.db',
    'Where the data lives: sqlite: and the path of a file.',
    z.string().min(1, { error: 'must not be empty' }),
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
} as const

export type Config = {
  readonly [Name in keyof typeof settings]: (typeof settings)[Name] extends Setting<infer T>
    ? T
    : never
}

/** A setting that cannot be used, in one sentence for each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Reads the settings. An empty variable counts as not set. @throws ConfigError naming every setting that is wrong */
export function readConfig(env: Record<string, string | undefined>): Config {
  const wrong: string[] = []
  const read = Object.entries(settings).map(([name, { schema }]) => {
    const result = schema.safeParse(env[name] || undefined)
    if (!result.success) wrong.push(`${name} ${result.error.issues[0]?.message}`)
    return [name, result.data]
  })
  if (wrong.length > 0) throw new ConfigError(wrong.join('; '))
  return Object.fromEntries(read) as Config
}

/** Every setting with its standard value and its meaning. */
export function describeSettings(): { name: string; standard: string; about: string }[] {
  return Object.entries(settings).map(([name, { standard, about }]) => ({ name, standard, about }))
}
