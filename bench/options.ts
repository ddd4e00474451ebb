import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Runtime, runtimes, type TargetName, targets } from './contenders.ts'
import { results } from './folders.ts'
import { type Operation, operations } from './operations.ts'

const databases = ['sqlite', 'postgres'] as const

export const HELP = `Sends the same requests to this server and to two others in turn, and compares them.

  npm run bench                       all operations, 5 rounds of 3 seconds
  npm run bench -- --quick            short rounds, to check that it runs
  npm run bench -- --only=W,R         these operations
  npm run bench -- --targets=bare,v3  these servers
  npm run bench -- --sizes            cost of reads and writes with 10^3, 10^5 and 10^7 messages
  npm run bench -- --database=postgres  on a PostgreSQL from the project's packages
  npm run bench -- --startup          time from the start to the first response
  npm run bench -- --streams          event streams: 1,000 idle ones, and 500 readers of one room
  npm run bench -- --hostile          requests of others while one customer uses its whole quota
  npm run bench -- --locked           writes of others on PostgreSQL during a lock or a stopped instance
  npm run bench -- --profile=W:v3     CPU time by package and function; several, comma-separated

  --rounds=5 --seconds=3 --connections=50 (or 1,50,500)
  --database=${databases.join('|')}
  --runtime=${runtimes.join('|')}    how this server runs; npm start uses strip
  --json=FILE                         default: bench/results/latest.json
  --log=FILE                          file for the servers' logs; discarded by default

Operations:
${Object.entries(operations)
  .map(([name, description]) => `  ${name.padEnd(4)}${description}`)
  .join('\n')}
Targets:
${targets.map(({ name, description }) => `  ${name.padEnd(12)}${description}`).join('\n')}
`

export interface Options {
  readonly mode: 'compare' | 'sizes' | 'startup' | 'streams' | 'hostile' | 'locked' | 'profile'
  readonly database: (typeof databases)[number]
  /** Short rounds, and one process for all protocols of a server. */
  readonly quick: boolean
  readonly only: readonly Operation[]
  readonly targets: readonly TargetName[]
  readonly profiles: readonly (readonly [Operation, TargetName])[]
  readonly rounds: number
  readonly seconds: number
  /** Time at full load before each measurement. */
  readonly warmUpMs: number
  /** Time at full load before the first measurement of an operation. */
  readonly firstWarmUpMs: number
  readonly connections: readonly number[]
  readonly runtime: Runtime
  readonly json: string
  readonly log: string | undefined
}

/** A wrong argument. */
export class UsageError extends Error {}

const DEFAULT_OPERATIONS: readonly Operation[] = ['R', 'RC', 'P', 'L', 'CF', 'W', 'M', 'CN']

/** Operations whose cost may depend on the size of the database. */
const SIZE_OPERATIONS: readonly Operation[] = ['R', 'P', 'PS', 'W', 'WR']

/** Operations that the bare server does not have on PostgreSQL. */
const SQLITE_ONLY: readonly Operation[] = ['CF', 'CN']

/** Parses the arguments. @returns undefined for --help. @throws UsageError */
export function readOptions(args: readonly string[]): Options | undefined {
  const values = parseValues(args)
  if (values.help) return undefined
  const modes = (['sizes', 'startup', 'streams', 'hostile', 'locked', 'profile'] as const).filter(
    (mode) => values[mode],
  )
  if (modes.length > 1) throw new UsageError(`--${modes.join(' and --')} cannot be combined`)
  const targetNames = targets.map(({ name }) => name)
  const isSizes = modes[0] === 'sizes'
  const [database] = parseList('--database', values.database ?? 'sqlite', databases)
  const isPostgres = database === 'postgres'
  if (isPostgres && modes.length > 0 && modes[0] !== 'locked') {
    throw new UsageError(`--${modes[0]} runs on SQLite only`)
  }
  const known = operationNames.filter((name) => !isPostgres || !SQLITE_ONLY.includes(name))
  const defaults = isSizes ? SIZE_OPERATIONS : DEFAULT_OPERATIONS
  return {
    mode: modes[0] ?? 'compare',
    database: database as Options['database'],
    quick: values.quick ?? false,
    only: values.only
      ? parseList('--only', values.only, known)
      : defaults.filter((name) => known.includes(name)),
    targets: values.targets
      ? parseList('--targets', values.targets, targetNames)
      : isSizes
        ? ['bare', 'v3']
        : targetNames,
    profiles: (values.profile ?? '')
      .split(',')
      .filter(Boolean)
      .map((pair) => {
        const [operation = '', target = ''] = pair.split(':')
        const [only] = parseList('--profile', operation, operationNames)
        const [name] = parseList('--profile', target, targetNames)
        return [only, name] as [Operation, TargetName]
      }),
    rounds: parseNumber('--rounds', values.rounds ?? (values.quick ? '1' : '5')),
    seconds: parseNumber(
      '--seconds',
      values.seconds ?? (values.quick ? '0.5' : modes[0] === 'hostile' ? '20' : '3'),
    ),
    warmUpMs: values.quick ? 100 : 500,
    firstWarmUpMs: values.quick ? 100 : 2000,
    connections: (values.connections ?? '50')
      .split(',')
      .map((one) => parseNumber('--connections', one)),
    runtime: parseList('--runtime', values.runtime ?? 'strip', runtimes)[0] as Runtime,
    json: values.json ?? join(results, 'latest.json'),
    log: values.log,
  }
}

const operationNames = Object.keys(operations) as Operation[]

function parseValues(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        quick: { type: 'boolean' },
        only: { type: 'string' },
        targets: { type: 'string' },
        sizes: { type: 'boolean' },
        database: { type: 'string' },
        startup: { type: 'boolean' },
        streams: { type: 'boolean' },
        hostile: { type: 'boolean' },
        locked: { type: 'boolean' },
        profile: { type: 'string' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        connections: { type: 'string' },
        runtime: { type: 'string' },
        json: { type: 'string' },
        log: { type: 'string' },
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function parseList<T extends string>(option: string, text: string, known: readonly T[]): T[] {
  const given = text.split(',').filter(Boolean)
  const unknown = given.filter((one) => !(known as readonly string[]).includes(one))
  if (unknown.length > 0 || given.length === 0) {
    throw new UsageError(
      `${option} takes ${known.join(', ')}, and not ${unknown.join(', ') || text}`,
    )
  }
  // In the order of `known`: reads come before writes.
  return known.filter((one) => given.includes(one))
}

function parseNumber(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0 && value < 1e6)) throw new UsageError(`${option} takes a number above 0`)
  return value
}
