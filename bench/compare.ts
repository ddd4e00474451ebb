import { copyFileSync, constants as fileConstants } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import {
  type Contender,
  LoadGenerator,
  start,
  type Target,
  type TargetName,
  targetOf,
} from './contenders.ts'
import { once } from './http.ts'
import type { Outcome } from './load.ts'
import { callsPerRequest, digest, type Operation, renew, type Shot, shotsOf } from './operations.ts'
import type { Options } from './options.ts'
import { median, type Row, round } from './report.ts'
import type { Seed } from './seed.ts'

export interface Comparison {
  readonly rows: Row[]
  readonly notes: string[]
}

interface Running {
  readonly target: Target
  readonly contender: Contender
}

/** Of the unchanged read the baseline is the plain read: a baseline that sends entity tags would be another server. */
const BASELINE: Partial<Record<Operation, Operation>> = { RC: 'R' }

/**
 * Drives all targets in turn, operation by operation and round by round.
 *
 * @param shared all servers use the one file, for databases too large to copy; only one is driven at a time
 * @throws Error at the first answer that is not what it must be
 */
export async function compare(
  options: Options,
  seed: Seed,
  folder: string,
  shared = false,
): Promise<Comparison> {
  const notes: string[] = []
  const rows: Row[] = []
  const load = new LoadGenerator()
  const all: Running[] = []
  const started: Contender[] = []
  try {
    // A process and a database for each target, so that none runs code that was compiled for another's calls.
    const groups = Map.groupBy(options.targets.map(targetOf), (target) =>
      options.quick ? target.contender : target.name,
    )
    const begun = [...groups].map(async ([name, [first]]) => {
      const file = shared ? seed.file : join(folder, `${name}.db`)
      if (!shared) copyFileSync(seed.file, file, fileConstants.COPYFILE_FICLONE)
      const { contender } = first as Target
      return [name, await start(contender, { ...options, file, folder })] as const
    })
    for (const [name, contender] of await Promise.all(begun)) {
      started.push(contender)
      for (const target of groups.get(name) ?? []) all.push({ target, contender })
    }
    for (const connections of options.connections) {
      const outcomes = new Map<Operation, Map<TargetName, Outcome[]>>()
      for (const operation of options.only) {
        const etags = await check(operation, seed, all, notes)
        const able = operation === 'RC' ? all.filter((one) => etags.has(one.target.name)) : all
        const drive = (one: Running, first: boolean) => {
          // The compiler needs some thousand calls until it has done its work.
          const timing = { ...options, warmUp: first ? options.firstWarmUp : options.warmUp }
          const etag = etags.get(one.target.name)
          return measure(timing, load, seed, operation, connections, one, etag)
        }
        outcomes.set(operation, await interleaved(options, operation, able, drive))
      }
      rows.push(...rowsOf(outcomes, connections, seed.messages))
    }
  } finally {
    load.stop()
    await Promise.all(started.map((contender) => contender.stop()))
  }
  const busy = rows.filter(({ generatorShare }) => generatorShare > 0.9)
  if (busy.length > 0) {
    const names = busy.map(({ operation, target }) => `${operation} ${target}`).join(', ')
    notes.push(
      `The load generator used more than 90 % of a core, so these may be faster than it could tell: ${names}.`,
    )
  }
  return { rows, notes: [...new Set(notes)] }
}

/** For the new names in what is asked once; the load generator begins far above. */
let checks = 0

/**
 * Asks each target once and compares what the answers say.
 *
 * @returns the entity tags of those that sent one
 */
export async function check(
  operation: Operation,
  seed: Seed,
  all: readonly Running[],
  notes: string[],
): Promise<Map<TargetName, string>> {
  const etags = new Map<TargetName, string>()
  const said: { name: TargetName; wire: string; digest: unknown; body: unknown }[] = []
  for (const { target, contender } of all) {
    const { name, wire } = target
    const plain = operation === 'RC' ? 'R' : operation
    const shot = shotsOf(plain, wire, seed)[0] as Shot
    renew(shot, () => checks++)
    const { status, headers, body } = await once(contender.port, shot.bytes)
    try {
      if (status !== 200 && status !== 201) throw new Error(`status ${status}`)
      // A batch of pages is as long as ten; its first answer is the one compared.
      said.push({ name, wire, digest: digest(plain, wire, body), body: JSON.parse(body) })
    } catch (error) {
      const text = body.slice(0, 300)
      throw new Error(`${operation} of ${name}: ${(error as Error).message}; it answered ${text}`)
    }
    const etag = headers.get('etag')
    if (etag !== undefined) etags.set(name, etag)
  }
  const without = all.map(({ target }) => target.name).filter((name) => !etags.has(name))
  if (operation === 'RC' && without.length > 0) {
    notes.push(`RC is left out for those that send no ETag: ${without.join(', ')}.`)
  }
  const [first] = said
  for (const one of first?.digest === undefined || operation === 'M' ? [] : said) {
    if (!isDeepStrictEqual(one.digest, first?.digest)) {
      throw new Error(`${operation}: ${one.name} answers something else than ${first?.name}`)
    }
    if (one.wire === first?.wire && !isDeepStrictEqual(one.body, first.body)) {
      throw new Error(
        `${operation}: the answer of ${one.name} has not the shape of ${first.name}'s`,
      )
    }
  }
  return etags
}

async function interleaved(
  options: Options,
  operation: Operation,
  all: readonly Running[],
  drive: (one: Running, first: boolean) => Promise<Outcome>,
): Promise<Map<TargetName, Outcome[]>> {
  const outcomes = new Map(all.map(({ target }) => [target.name, [] as Outcome[]]))
  for (let number = 1; number <= options.rounds; number++) {
    for (const one of all) {
      const outcome = await drive(one, number === 1)
      outcomes.get(one.target.name)?.push(outcome)
      const rate = perSecond(one.target, outcome)
      process.stderr.write(
        `${operation} round ${number}/${options.rounds} ${one.target.name}: ${Math.round(rate)}/s\n`,
      )
    }
  }
  return outcomes
}

/** @throws Error when any answer was not what it must be */
export async function measure(
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
    operation,
    wire: target.wire,
    seed,
    etag,
    connections,
    warmUp: options.warmUp,
    duration: options.seconds * 1000,
  })
  if (outcome.errors > 0) {
    throw new Error(
      `${operation} of ${target.name}: ${outcome.errors} wrong answers, first ${outcome.firstError}`,
    )
  }
  if (outcome.requests === 0) throw new Error(`${operation} of ${target.name}: no answer in time`)
  return outcome
}

function rowsOf(
  outcomes: ReadonlyMap<Operation, ReadonlyMap<TargetName, Outcome[]>>,
  connections: number,
  messages: number,
): Row[] {
  return [...outcomes].flatMap(([operation, byTarget]) =>
    [...byTarget].map(([name, rounds]): Row => {
      const target = targetOf(name)
      const bare = outcomes.get(BASELINE[operation] ?? operation)?.get('bare')
      const usual = target.usual && byTarget.get(target.usual)
      const of = (read: (outcome: Outcome) => number) => median(rounds.map(read))
      const calls = callsPerRequest(target.wire)
      const rates = rounds.map((outcome) => perSecond(target, outcome))
      const rate = median(rates)
      const cpu = cpuOf(target, rounds)
      const bareCpu = bare ? cpuOf(targetOf('bare'), bare) : null
      const rss = rounds.every((outcome) => outcome.rss !== undefined)
      return {
        operation,
        target: name,
        connections,
        messages,
        callsPerRequest: calls,
        perSecond: round(rate, 1),
        spread: round(Math.max(...rates.map((one) => Math.abs(one - rate) / rate)), 3),
        toBare: bare ? ratio(target, rounds, targetOf('bare'), bare) : null,
        toUsual:
          target.usual && usual ? ratio(target, rounds, targetOf(target.usual), usual) : null,
        p50: round(
          of(({ p50 }) => p50),
          3,
        ),
        p99: round(
          of(({ p99 }) => p99),
          3,
        ),
        cpu: cpu === null ? null : round(cpu, 1),
        cpuToBare: cpu === null || !bareCpu ? null : round(cpu / bareCpu, 2),
        rssMegabytes: rss ? round((rounds.at(-1)?.rss ?? 0) / 2 ** 20, 1) : null,
        bodyBytes: rounds.at(-1)?.bodyBytes ?? 0,
        generatorShare: round(Math.max(...rounds.map((one) => one.generatorShare)), 2),
        errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
        rounds: rates.map((one) => round(one, 1)),
      }
    }),
  )
}

/** Round by round, because what slows the machine down for a while then slows both. */
function ratio(
  target: Target,
  rounds: readonly Outcome[],
  base: Target,
  baseRounds: readonly Outcome[],
): number {
  const ratios = rounds.map(
    (outcome, index) =>
      perSecond(target, outcome) / perSecond(base, baseRounds[index] ?? (baseRounds[0] as Outcome)),
  )
  return round(median(ratios), 3)
}

/** CPU microseconds for one call; null where the system does not tell. */
function cpuOf(target: Target, rounds: readonly Outcome[]): number | null {
  if (rounds.some(({ cpu }) => cpu === undefined)) return null
  const calls = callsPerRequest(target.wire)
  return median(rounds.map(({ cpu = 0, requests }) => cpu / requests / calls))
}

function perSecond(target: Target, { requests, seconds }: Outcome): number {
  return (requests * callsPerRequest(target.wire)) / seconds
}
