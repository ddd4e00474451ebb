import { parseArgs } from 'node:util'
import { createCaller, type Deps, rights, rotateSigningKeys, toPublicError } from '@dowell-chat/api'
import { type CopyProgress, copyDatabase, DatabaseError } from '@dowell-chat/db'
import cliProgress from 'cli-progress'
import pino from 'pino'
import { ConfigError, readConfig } from './config.ts'
import { createDeps } from './deps.ts'

const HELP = `Dowell Chat, at the command line. Works on the database that DATABASE_URL names, whether or not the server runs.

  npm run cli -- keys create --org ORG --right ${rights.join('|')} [--name NAME]
      makes an API key and shows it this once
  npm run cli -- keys list --org ORG
      lists an organisation's keys
  npm run cli -- keys revoke --id ID
      revokes a key, and the user tokens that it asked for
  npm run cli -- signing-keys rotate
      signs user tokens with a new key; tokens that are out live on
  npm run cli -- copy --from URL --to URL
      copies one database into another, empty one, whatever DATABASE_URL says: sqlite:./data/dowell-chat.db or
      postgres://chat:password@db.example.com/chat, on either side. Stop the servers first. Compares everything at
      the end; run again after an interruption, it goes on where it was
`

/** A command that was typed wrongly. */
class UsageError extends Error {}

type Options = Record<'org' | 'right' | 'name' | 'id' | 'from' | 'to', string | undefined>

type Caller = ReturnType<typeof callerOf>

/** The procedures, called by whoever may read the database anyway. */
function callerOf(deps: Deps) {
  return createCaller({
    deps,
    actor: { kind: 'open', via: 'cli' },
    address: 'cli',
    requestId: 'cli',
    spend: async () => undefined,
    charge: async () => undefined,
    payForReplay: async () => undefined,
  })
}

/** @returns what to print */
type Command = (options: Options) => Promise<string>

/** A command that works on the database that DATABASE_URL names. */
function onDatabase(
  command: (call: Caller, options: Options, deps: Deps) => Promise<string>,
): Command {
  return async (options) => {
    const deps = createDeps(readConfig(process.env), pino({ level: 'silent' }))
    try {
      await deps.db.migrateToLatest()
      return await command(callerOf(deps), options, deps)
    } finally {
      deps.live.close()
      await deps.db.close()
    }
  }
}

const commands: Record<string, Command> = {
  'keys create': onDatabase(async (call, { org, right, name }) => {
    const { secret } = await call.createApiKey({
      orgId: required(org, '--org'),
      right: required(right, '--right') as (typeof rights)[number],
      ...(name === undefined ? {} : { name }),
    })
    return `${secret}\n`
  }),

  'keys list': onDatabase(async (call, { org }) => {
    const lines: string[] = []
    let before: string | undefined
    for (;;) {
      const page = await call.listApiKeys({ orgId: required(org, '--org'), limit: 200, before })
      lines.unshift(...page.items.map(describeKey))
      if (!page.hasBefore) return lines.join('')
      before = page.before
    }
  }),

  'keys revoke': onDatabase(async (call, { id }) => {
    const key = await call.revokeApiKey({ keyId: required(id, '--id') })
    return `${key.id} is revoked\n`
  }),

  'signing-keys rotate': onDatabase(
    async (_call, _options, deps) => `${await rotateSigningKeys(deps)} signs from now on\n`,
  ),

  async copy({ from, to }) {
    const bar = createProgressBar()
    try {
      const tables = await copyDatabase({
        from: required(from, '--from'),
        to: required(to, '--to'),
        onProgress: bar.show,
      })
      const lines = tables.map(
        ({ table, rows, sha256 }) => `${table.padEnd(14)}  ${`${rows}`.padStart(12)}  ${sha256}\n`,
      )
      return `Copied, and the same on both sides: table, rows, SHA-256\n${lines.join('')}`
    } finally {
      bar.stop()
    }
  },
}

/** Tells on stderr how far a copy is: a bar, or a line now and then where stderr is no terminal. */
function createProgressBar() {
  const bar = new cliProgress.SingleBar({
    format: '{step} [{bar}] {percentage}%  {value} of {total} rows  {eta_formatted} left  {table}',
    barsize: 30,
    // A process that is killed could not set the terminal back.
    linewrap: true,
    noTTYOutput: true,
    notTTYSchedule: 5_000,
    emptyOnZero: true,
  })
  let step: string | undefined
  return {
    show({ done, total, ...words }: CopyProgress) {
      if (words.step === step) {
        bar.update(done, words)
        return
      }
      bar.stop()
      bar.start(total, done, words)
      step = words.step
    },
    stop: () => bar.stop(),
  }
}

function describeKey(key: Awaited<ReturnType<Caller['revokeApiKey']>>): string {
  const state = key.revokedAt
    ? `revoked ${key.revokedAt.toISOString()}`
    : `last used ${key.lastUsedAt?.toISOString() ?? 'never'}`
  return `${key.id}  ${key.right.padEnd(7)}  ${state}  ${key.name}\n`
}

function required(value: string | undefined, option: string): string {
  if (!value) throw new UsageError(`${option} is missing`)
  return value
}

async function main(): Promise<void> {
  const { values, positionals } = parse()
  const name = positionals.join(' ')
  if (values.help || name === '') {
    process.stdout.write(HELP)
    return
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new UsageError(`there is no command "${name}"`)
  process.stdout.write(await command(values as Options))
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        org: { type: 'string' },
        right: { type: 'string' },
        name: { type: 'string' },
        id: { type: 'string' },
        from: { type: 'string' },
        to: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** What a person can mend, in words; undefined for a fault of ours. */
function explain(error: unknown): string | undefined {
  if (error instanceof UsageError) return `${error.message}\n\n${HELP}`
  if (error instanceof ConfigError || error instanceof DatabaseError) return error.message
  const { status, message, errors = {} } = toPublicError(error)
  if (status >= 500) return undefined
  return [message, ...Object.entries(errors).map(([field, texts]) => `${field} ${texts[0]}`)].join(
    ': ',
  )
}

try {
  await main()
} catch (error) {
  const text = explain(error) ?? (error instanceof Error ? error.stack : String(error))
  process.stderr.write(`${text}\n`)
  process.exitCode = 1
}
