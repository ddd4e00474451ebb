import { isDeepStrictEqual } from 'node:util'
import {
  type Contender,
  LoadGenerator,
  start,
  type Target,
  type TargetName,
  targetOf,
} from './contenders.ts'
import type { Databases } from './databases.ts'
import { once } from './http.ts'
import type { Outcome } from './load.ts'
import { digest, type Operation, renew, type Shot, shapeOf, shotsOf } from './operations.ts'
import type { Options } from './options.ts'
import { type Measured, perSecond, type Row, rowsOf } from './rows.ts'
import type { Seed } from './seed.ts'

export interface Comparison {
  readonly rows: Row[]
  readonly notes: string[]
}

interface Running {
  readonly target: Target
  readonly contender: Contender
}

interface Job extends Running, Measured {
  readonly etag: string | undefined
  readonly rounds: Outcome[]
}

/** Seconds of a round from which on its p99 means something. */
const P99_SECONDS = 15

/** How much more a read may cost in the largest database than in the smallest, or how much fewer be answered. */
const FLAT = 1.2

/**
 * Drives all targets on all seeds in turn, operation by operation and round by round.
 *
 * @throws Error when an answer is wrong before measuring begins; later ones are counted
 */
export async function compare(
  options: Options,
  seeds: readonly Seed[],
  databases: Databases,
  folder: string,
): Promise<Comparison> {
  const notes = new Set<string>()
  const rows: Row[] = []
  const load = new LoadGenerator()
  const started: Contender[] = []
  try {
    const servers = await startAll(options, seeds, databases, folder, started)
    for (const operation of options.only) {
      const jobs: Job[] = []
      for (const { seed, running } of servers) {
        const etags = await check(operation, seed, running)
        for (const connections of options.connections) {
          for (const one of running) {
            jobs.push({ ...one, seed, connections, etag: etags.get(one.target.name), rounds: [] })
          }
        }
      }
      for (let number = 1; number <= options.rounds; number++) {
        for (const job of jobs) {
          const { seed, connections, etag, target, rounds } = job
          // The compiler needs some thousand calls until it has done its work.
          const warmUp = number === 1 ? options.firstWarmUp : options.warmUp
          const timing = { seconds: options.seconds, warmUp }
          const outcome = await drive(timing, load, seed, operation, connections, job, etag)
          rounds.push(outcome)
          const what = `${operation} of ${target.name}`
          if (outcome.errors > 0) notes.add(wrong(what, outcome))
          process.stderr.write(
            `${what}, ${connections} connections, ${seed.messages} messages, round ${number}/${options.rounds}: ${Math.round(perSecond(target, outcome))}/s
`,
          )
        }
      }
      rows.push(...rowsOf(operation, jobs))
    }
  } finally {
    load.stop()
    await Promise.all(started.map((contender) => contender.stop()))
  }
  return { rows, notes: [...notes, ...remarks(options, rows)] }
}

/**
 * A process and a database for each target and seed, so that none runs code that was compiled for another's calls.
 *
 * @param started gets each of them, for whoever must stop them
 */
async function startAll(
  options: Options,
  seeds: readonly Seed[],
  databases: Databases,
  folder: string,
  started: Contender[],
): Promise<{ seed: Seed; running: Running[] }[]> {
  const groups = Map.groupBy(options.targets.map(targetOf), (target) =>
    options.quick ? target.contender : target.name,
  )
  const servers: { seed: Seed; running: Running[] }[] = []
  for (const seed of seeds) {
    const running: Running[] = []
    for (const [name, targets] of groups) {
      const url = await databases.create(seed, name)
      const own = { ...options, url, folder, databasePid: databases.pid }
      const contender = await start((targets[0] as Target).contender, own)
      started.push(contender)
      running.push(...targets.map((target) => ({ target, contender })))
    }
    servers.push({ seed, running })
  }
  return servers
}

/** What a reader of the table must know besides. */
function remarks({ seconds }: Options, rows: readonly Row[]): string[] {
  const notes: string[] = []
  const busy = rows.filter(({ generatorShare }) => generatorShare > 0.9)
  if (busy.length > 0) {
    const names = busy.map(({ operation, target }) => `${operation} ${target}`).join(', ')
    notes.push(
      `The load generator used more than 90 % of a core, so these may be faster than it could tell: ${names}.`,
    )
  }
  if (seconds < P99_SECONDS) {
    notes.push(
      `p99 is of rounds of ${seconds} seconds; --seconds=${P99_SECONDS} has more to go by.`,
    )
  }
  const reads = rows.filter(({ operation, toSmallest }) => operation[0] !== 'W' && toSmallest)
  const steep = reads.filter(
    ({ toSmallest, cpuToSmallest }) => (toSmallest ?? 1) < 1 / FLAT || (cpuToSmallest ?? 1) > FLAT,
  )
  for (const { operation, target, messages, toSmallest, cpuToSmallest } of steep) {
    notes.push(
      `Not flat: ${operation} of ${target} with ${messages} messages has ${toSmallest} of the calls and ${cpuToSmallest} times the CPU time that it has with the fewest.`,
    )
  }
  if (reads.length > 0 && steep.length === 0) {
    notes.push(`Reads are flat over the sizes: ${FLAT} times the cost at most.`)
  }
  return notes
}

/** For the new names in what is asked once; the load generator begins far above. */
let checks = 0

/**
 * Asks each target once. Those of a wire must answer in the same shape, and all must say the same where nothing was written
 * that they differ in.
 *
 * @returns the entity tags of those that sent one
 */
export async function check(
  operation: Operation,
  seed: Seed,
  all: readonly Running[],
): Promise<Map<TargetName, string>> {
  const etags = new Map<TargetName, string>()
  const said: { name: TargetName; wire: string; digest: unknown; shape: unknown }[] = []
  for (const { target, contender } of all) {
    const { name, wire } = target
    const shot = shotsOf(operation, wire, seed)[0] as Shot
    renew(shot, () => checks++)
    const { status, headers, body } = await once(contender.port, shot.bytes)
    try {
      if (!shot.statuses.includes(status)) throw new Error(`status ${status}`)
      said.push({
        name,
        wire,
        digest: digest(operation, wire, body),
        shape: shapeOf(JSON.parse(body)),
      })
    } catch (error) {
      const text = body.slice(0, 300)
      throw new Error(`${operation} of ${name}: ${(error as Error).message}; it answered ${text}`)
    }
    const etag = headers.get('etag')
    if (operation === 'RC' && etag !== undefined) etags.set(name, etag)
  }
  for (const one of said) {
    const [first] = said
    if (!isDeepStrictEqual(one.digest, first?.digest)) {
      throw new Error(`${operation}: ${one.name} answers something else than ${first?.name}`)
    }
    const same = said.find(({ wire }) => wire === one.wire)
    if (!isDeepStrictEqual(one.shape, same?.shape)) {
      throw new Error(
        `${operation}: the answer of ${one.name} has not the shape of ${same?.name}'s`,
      )
    }
  }
  return etags
}

/** @throws Error when there was no right answer at all */
async function drive(
  options: Pick<Options, 'seconds' | 'warmUp'>,
  load: LoadGenerator,
  seed: Seed,
  operation: Operation,
  connections: number,
  { target, contender }: Running,
  etag?: string,
): Promise<Outcome> {
  const outcome = await load.run({
    port: contender.port,
    pid: contender.pid,
    databasePid: contender.databasePid,
    operation,
    wire: target.wire,
    seed,
    etag,
    connections,
    warmUp: options.warmUp,
    duration: options.seconds * 1000,
  })
  if (outcome.requests === 0) {
    throw new Error(
      `${operation} of ${target.name}: no right answer in time, ${outcome.firstError}`,
    )
  }
  return outcome
}

/** @throws Error when any answer was not what it must be */
export async function measure(...job: Parameters<typeof drive>): Promise<Outcome> {
  const outcome = await drive(...job)
  const [, , , operation, , { target }] = job
  if (outcome.errors > 0) throw new Error(wrong(`${operation} of ${target.name}`, outcome))
  return outcome
}

function wrong(what: string, { errors, firstError }: Outcome): string {
  return `${what}: ${errors} wrong answers in a round, first ${firstError}.`
}
