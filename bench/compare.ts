import { isDeepStrictEqual } from 'node:util'
import {
  type Contender,
  findTarget,
  LoadGenerator,
  start,
  type Target,
  type TargetName,
} from './contenders.ts'
import type { Databases } from './databases.ts'
import { sendOnce } from './http.ts'
import type { Outcome } from './load.ts'
import {
  digestResponse,
  type Operation,
  type PreparedRequest,
  prepareRequests,
  renewCounters,
  shapeOf,
} from './operations.ts'
import type { Options } from './options.ts'
import { createRows, type Measured, perSecond, type Row } from './rows.ts'
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

/** Minimum duration of a round for a meaningful p99 (s). */
const P99_SECONDS = 15

/** A read is flat if its cost in a larger database is at most this factor of that in the smallest. */
const FLAT = 1.2

/**
 * Measures all targets on all seeds in turn, operation by operation and round by round.
 *
 * @throws Error for a wrong response before the measurement; later ones are counted
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
        const etags = await checkResponses(operation, seed, running)
        for (const connections of options.connections) {
          for (const one of running) {
            jobs.push({ ...one, seed, connections, etag: etags.get(one.target.name), rounds: [] })
          }
        }
      }
      for (let number = 1; number <= options.rounds; number++) {
        for (const job of jobs) {
          const { seed, connections, etag, target, rounds } = job
          // V8 optimises the code during the first thousands of calls.
          const warmUpMs = number === 1 ? options.firstWarmUpMs : options.warmUpMs
          const timing = { seconds: options.seconds, warmUpMs }
          const outcome = await drive(timing, load, seed, operation, connections, job, etag)
          rounds.push(outcome)
          const name = `${operation} of ${target.name}`
          if (outcome.errors > 0) notes.add(describeErrors(name, outcome))
          process.stderr.write(
            `${name}, ${connections} connections, ${seed.messages} messages, round ${number}/${options.rounds}: ${Math.round(perSecond(target, outcome))}/s
`,
          )
        }
      }
      rows.push(...createRows(operation, jobs))
    }
  } finally {
    load.stop()
    await Promise.all(started.map((contender) => contender.stop()))
  }
  return { rows, notes: [...notes, ...createNotes(options, rows)] }
}

/**
 * Starts a process with a database for each target and seed. Targets share none, so that V8 optimises each for its own calls.
 *
 * @param started receives each started server, also if a later one fails
 */
async function startAll(
  options: Options,
  seeds: readonly Seed[],
  databases: Databases,
  folder: string,
  started: Contender[],
): Promise<{ seed: Seed; running: Running[] }[]> {
  const groups = Map.groupBy(options.targets.map(findTarget), (target) =>
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

/** Creates the notes below the table. */
function createNotes({ seconds }: Options, rows: readonly Row[]): string[] {
  const notes: string[] = []
  const busy = rows.filter(({ generatorShare }) => generatorShare > 0.9)
  if (busy.length > 0) {
    const names = busy.map(({ operation, target }) => `${operation} ${target}`).join(', ')
    notes.push(
      `The load generator used more than 90 % of a core, so these may be faster than measured: ${names}.`,
    )
  }
  if (seconds < P99_SECONDS) {
    notes.push(`p99 is of rounds of ${seconds} seconds; --seconds=${P99_SECONDS} is more reliable.`)
  }
  const reads = rows.filter(({ operation, toSmallest }) => operation[0] !== 'W' && toSmallest)
  const steep = reads.filter(
    ({ toSmallest, cpuToSmallest }) => (toSmallest ?? 1) < 1 / FLAT || (cpuToSmallest ?? 1) > FLAT,
  )
  for (const { operation, target, messages, toSmallest, cpuToSmallest } of steep) {
    notes.push(
      `Not flat: ${operation} of ${target} with ${messages} messages has ${toSmallest} of the rate and ${cpuToSmallest} times the CPU time of the smallest database.`,
    )
  }
  if (reads.length > 0 && steep.length === 0) {
    notes.push(`Reads are flat over the sizes: at most ${FLAT} times the cost.`)
  }
  return notes
}

/** Counter of the check requests; the load generator starts far above. */
let checks = 0

/**
 * Sends one request to each target. Their content must be equal, and their shape within a protocol.
 *
 * @returns the ETags of the targets that sent one
 * @throws Error for a wrong response
 */
export async function checkResponses(
  operation: Operation,
  seed: Seed,
  all: readonly Running[],
): Promise<Map<TargetName, string>> {
  const etags = new Map<TargetName, string>()
  const responses: { name: TargetName; protocol: string; digest: unknown; shape: unknown }[] = []
  for (const { target, contender } of all) {
    const { name, protocol } = target
    const request = prepareRequests(operation, protocol, seed)[0] as PreparedRequest
    renewCounters(request, () => checks++)
    const { status, headers, body } = await sendOnce(contender.port, request.bytes)
    try {
      if (!request.statuses.includes(status)) throw new Error(`status ${status}`)
      responses.push({
        name,
        protocol,
        digest: digestResponse(operation, protocol, body),
        shape: shapeOf(JSON.parse(body)),
      })
    } catch (error) {
      const text = body.slice(0, 300)
      throw new Error(`${operation} of ${name}: ${(error as Error).message}; it responded ${text}`)
    }
    const etag = headers.get('etag')
    if (operation === 'RC' && etag !== undefined) etags.set(name, etag)
  }
  for (const one of responses) {
    const [first] = responses
    if (!isDeepStrictEqual(one.digest, first?.digest)) {
      throw new Error(`${operation}: ${one.name} responds differently from ${first?.name}`)
    }
    const same = responses.find(({ protocol }) => protocol === one.protocol)
    if (!isDeepStrictEqual(one.shape, same?.shape)) {
      throw new Error(
        `${operation}: the response of ${one.name} differs in shape from that of ${same?.name}`,
      )
    }
  }
  return etags
}

/** @throws Error without a single correct response */
async function drive(
  options: Pick<Options, 'seconds' | 'warmUpMs'>,
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
    protocol: target.protocol,
    seed,
    etag,
    connections,
    warmUpMs: options.warmUpMs,
    durationMs: options.seconds * 1000,
  })
  if (outcome.requests === 0) {
    throw new Error(
      `${operation} of ${target.name}: no correct response in time, ${outcome.firstError}`,
    )
  }
  return outcome
}

/** Measures one target. @throws Error for any wrong response */
export async function measure(...job: Parameters<typeof drive>): Promise<Outcome> {
  const outcome = await drive(...job)
  const [, , , operation, , { target }] = job
  if (outcome.errors > 0) throw new Error(describeErrors(`${operation} of ${target.name}`, outcome))
  return outcome
}

function describeErrors(name: string, { errors, firstError }: Outcome): string {
  return `${name}: ${errors} wrong responses in a round, first ${firstError}.`
}
