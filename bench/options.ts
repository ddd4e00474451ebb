import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Runtime, runtimes, type TargetName, targets } from './contenders.ts'
import { results } from './folders.ts'
import { type Operation, operations } from './operations.ts'

const databases = ['sqlite', 'postgres'] as const

export const HELP = `Drives this server and two others with the same requests, in turn, and compares them.

  npm run bench                       all operations, 5 rounds of 3 seconds
  npm run bench -- --quick            short rounds, to see whether it runs
  npm run bench -- --only=W,R         these operations
  npm run bench -- --targets=bare,v3  these servers
  npm run bench -- --sizes            what reads and writes cost with 10^3, 10^5 and 10^7 messages
  npm run bench -- --database=postgres  on a PostgreSQL that comes with the project
  npm run bench -- --startup          the time from start to the first answer
  npm run bench -- --streams          event streams: 1,000 idle ones, and 500 readers of one room
  npm run bench -- --hostile          what one customer with its whole budget does to the others
  npm run bench -- --locked           others' writes on PostgreSQL while somebody holds a lock, or is stopped
  npm run bench -- --profile=W:v3     where the CPU time goes; several, comma-separated

  --rounds=5 --seconds=3 --connections=50 (or 1,50,500)
  --database=${databases.join('|')}
  --runtime=${runtimes.join('|')}    how this server is run; strip is what npm start does
  --json=FILE                         bench/results/latest.json when left out
  --log=FILE                          where the servers' logs go; nowhere when left out

Operations:
${Object.entries(operations)
  .map(([name, about]) => `  ${name.padEnd(4)}${about}`)
  .join('\n')}
Targets:
${targets.map(({ name, about }) => `  ${name.padEnd(12)}${about}`).join('\n')}
`

export interface Options {
  readonly mode: 'compare' | 'sizes' | 'startup' | 'streams' | 'hostile' | 'locked' | 'profile'
  readonly database: (typeof databases)[number]
  /** Short rounds, and one process for all wires of a server. */
  readonly quick: boolean
  readonly only: readonly Operation[]
  readonly targets: readonly TargetName[]
  readonly profiles: readonly (readonly [Operation, TargetName])[]
  readonly rounds: number
  readonly seconds: number
  /** Milliseconds at full load before each measurement. */
  readonly warmUp: number
  /** The same before the first measurement of an operation. */
  readonly firstWarmUp: number
  readonly connections: readonly number[]
  readonly runtime: Runtime
  readonly json: string
  readonly log: string | undefined
}

/** A command that was typed wrongly. */
export class UsageError extends Error {}

const STANDARD: readonly Operation[] = ['R', 'RC', 'P', 'L', 'CF', 'W', 'M', 'CN']

/** What a larger database might make dearer. */
const BY_SIZE: readonly Operation[] = ['R', 'P', 'PS', 'W', 'WR']

/** What the bare server cannot do on PostgreSQL. */
const SQLITE_ONLY: readonly Operation[] = ['CF', 'CN']

/** @returns undefined when only help was asked for. @throws UsageError */
export function readOptions(args: readonly string[]): Options | undefined {
  const values = parse(args)
  if (values.help) return undefined
  const modes = (['sizes', 'startup', 'streams', 'hostile', 'locked', 'profile'] as const).filter(
    (mode) => values[mode],
  )
  if (modes.length > 1) throw new UsageError(`--${modes.join(' and --')} do not go together`)
  const targetNames = targets.map(({ name }) => name)
  const sizes = modes[0] === 'sizes'
  const [database] = list('--database', values.database ?? 'sqlite', databases)
  const isPostgres = database === 'postgres'
  if (isPostgres && modes.length > 0 && modes[0] !== 'locked') {
    throw new UsageError(`--${modes[0]} is measured on SQLite`)
  }
  const known = operationNames.filter((name) => !isPostgres || !SQLITE_ONLY.includes(name))
  const standard = sizes ? BY_SIZE : STANDARD
  return {
    mode: modes[0] ?? 'compare',
    database: database as Options['database'],
    quick: values.quick ?? false,
    only: values.only
      ? list('--only', values.only, known)
      : standard.filter((name) => known.includes(name)),
    targets: values.targets
      ? list('--targets', values.targets, targetNames)
      : sizes
        ? ['bare', 'v3']
        : targetNames,
    profiles: (values.profile ?? '')
      .split(',')
      .filter(Boolean)
      .map((pair) => {
        const [operation = '', target = ''] = pair.split(':')
        const [only] = list('--profile', operation, operationNames)
        const [name] = list('--profile', target, targetNames)
        return [only, name] as [Operation, TargetName]
      }),
    rounds: number('--rounds', values.rounds ?? (values.quick ? '1' : '5')),
    seconds: number(
      '--seconds',
      values.seconds ?? (values.quick ? '0.5' : modes[0] === 'hostile' ? '20' : '3'),
    ),
    warmUp: values.quick ? 100 : 500,
    firstWarmUp: values.quick ? 100 : 2000,
    connections: (values.connections ?? '50').split(',').map((one) => number('--connections', one)),
    runtime: list('--runtime', values.runtime ?? 'strip', runtimes)[0] as Runtime,
    json: values.json ?? join(results, 'latest.json'),
    log: values.log,
  }
}

const operationNames = Object.keys(operations) as Operation[]

function parse(args: readonly string[]) {
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

function list<T extends string>(option: string, text: string, known: readonly T[]): T[] {
  const given = text.split(',').filter(Boolean)
  const wrong = given.filter((one) => !(known as readonly string[]).includes(one))
  if (wrong.length > 0 || given.length === 0) {
    throw new UsageError(`${option} takes ${known.join(', ')}, and not ${wrong.join(', ') || text}`)
  }
  // In our order: what reads comes before what writes.
  return known.filter((one) => given.includes(one))
}

function number(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0 && value < 1e6)) throw new UsageError(`${option} takes a number above 0`)
  return value
}
