import type { Target, TargetName } from './contenders.ts'
import type { Outcome } from './load.ts'
import { callsPerRequest, type Operation } from './operations.ts'
import type { Seed } from './seed.ts'
import { median, round } from './statistics.ts'

/** Results of one operation on one target: medians over the rounds. */
export interface Row {
  readonly operation: Operation
  readonly target: TargetName
  readonly connections: number
  /** Messages in the room that is read. */
  readonly messages: number
  readonly callsPerRequest: number
  /** Calls per second. */
  readonly perSecond: number
  /** Largest deviation of a round from `perSecond`, as a share of it. */
  readonly spread: number
  /** Ratios of `perSecond` to bare and to the usual target, each the median of the rounds' ratios. */
  readonly toBare: number | null
  readonly toUsual: number | null
  /** Ratio to the same target with the smallest database; null for that one. */
  readonly toSmallest: number | null
  /** Latency of a request (ms). */
  readonly p50: number
  readonly p99: number
  /** CPU time of the server's process per call (µs); null if the system does not report it. */
  readonly cpu: number | null
  /** Ratios of `cpu`: steadier than the rates on a busy machine. */
  readonly cpuToBare: number | null
  readonly cpuToSmallest: number | null
  /** CPU time of the database server per call (µs); null without one. */
  readonly databaseCpu: number | null
  readonly rssMegabytes: number | null
  readonly bodyBytes: number
  /** Largest share of one core that the load generator used. */
  readonly generatorShare: number
  /** Wrong responses and failed requests of all rounds. */
  readonly errors: number
  /** Calls per second of each round. */
  readonly rounds: readonly number[]
}

/** The outcomes of one target with one database and number of connections. */
export interface Measured {
  readonly target: Target
  readonly seed: Seed
  readonly connections: number
  readonly rounds: readonly Outcome[]
}

/** @param all measurements of one operation; rounds with the same index ran one after the other */
export function createRows(operation: Operation, all: readonly Measured[]): Row[] {
  return all.map((one) => {
    const { target, seed, connections, rounds } = one
    const find = (name: TargetName | undefined, messages = seed.messages) =>
      all.find(
        (other) =>
          other.target.name === name &&
          other.seed.messages === messages &&
          other.connections === connections,
      )
    const bare = find('bare')
    const usual = find(target.usual)
    const least = Math.min(...all.map((other) => other.seed.messages))
    const smallest = least === seed.messages ? undefined : find(target.name, least)
    const medianOf = (read: (outcome: Outcome) => number | undefined, digits: number) => {
      const values = rounds.map(read)
      return values.every((value) => value !== undefined) ? round(median(values), digits) : null
    }
    const rates = rounds.map((outcome) => perSecond(target, outcome))
    const rate = median(rates)
    return {
      operation,
      target: target.name,
      connections,
      messages: seed.messages,
      callsPerRequest: callsPerRequest(target.protocol),
      perSecond: round(rate, 1),
      spread: round(Math.max(...rates.map((each) => Math.abs(each - rate) / rate)), 3),
      toBare: ratio(one, bare, perSecond),
      toUsual: ratio(one, usual, perSecond),
      toSmallest: ratio(one, smallest, perSecond),
      p50: medianOf(({ p50 }) => p50, 3) ?? 0,
      p99: medianOf(({ p99 }) => p99, 3) ?? 0,
      cpu: medianOf((outcome) => cpuPerCall(target, outcome), 1),
      cpuToBare: ratio(one, bare, cpuPerCall),
      cpuToSmallest: ratio(one, smallest, cpuPerCall),
      databaseCpu: medianOf((outcome) => perCall(target, outcome, outcome.databaseCpu), 1),
      rssMegabytes: medianOf(({ rss }) => rss && rss / 2 ** 20, 1),
      bodyBytes: rounds.at(-1)?.bodyBytes ?? 0,
      generatorShare: round(Math.max(...rounds.map((each) => each.generatorShare)), 2),
      errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
      rounds: rates.map((each) => round(each, 1)),
    }
  })
}

type ReadValue = (target: Target, outcome: Outcome) => number | undefined

/** Compares round by round, so that a slow phase of the machine affects both sides. */
function ratio(one: Measured, base: Measured | undefined, read: ReadValue): number | null {
  if (!base) return null
  const ratios = one.rounds.map((outcome, index) => {
    const value = read(one.target, outcome)
    const baseValue = read(base.target, base.rounds[index] as Outcome)
    return value !== undefined && baseValue ? value / baseValue : undefined
  })
  return ratios.every((each) => each !== undefined) ? round(median(ratios), 3) : null
}

export function perSecond(target: Target, { requests, seconds }: Outcome): number {
  return (requests * callsPerRequest(target.protocol)) / seconds
}

function cpuPerCall(target: Target, outcome: Outcome): number | undefined {
  return perCall(target, outcome, outcome.cpu)
}

function perCall(target: Target, { requests }: Outcome, cpu: number | undefined) {
  return cpu === undefined ? undefined : cpu / requests / callsPerRequest(target.protocol)
}
