import type { Target, TargetName } from './contenders.ts'
import type { Outcome } from './load.ts'
import { callsPerRequest, type Operation } from './operations.ts'
import { median, round } from './report.ts'
import type { Seed } from './seed.ts'

/** One operation of one target: medians over the rounds. */
export interface Row {
  readonly operation: Operation
  readonly target: TargetName
  readonly connections: number
  /** Messages in the room that is read. */
  readonly messages: number
  readonly callsPerRequest: number
  /** Calls answered in a second. */
  readonly perSecond: number
  /** The rounds' distance from that, at most, as a share of it. */
  readonly spread: number
  /** Medians of the rounds' ratios of that to the bare baseline, and to the usual way, in the same round. */
  readonly toBare: number | null
  readonly toUsual: number | null
  /** The same to this target with the smallest database; null when there is one. */
  readonly toSmallest: number | null
  /** Milliseconds, of a request. */
  readonly p50: number
  readonly p99: number
  /** CPU microseconds of the server's process for one call; null where the system does not tell. */
  readonly cpu: number | null
  /** Medians of the rounds' ratios of that: steadier than the rates where other programs are at work. */
  readonly cpuToBare: number | null
  readonly cpuToSmallest: number | null
  /** CPU microseconds of the database server for one call; null where there is none. */
  readonly databaseCpu: number | null
  readonly rssMegabytes: number | null
  readonly bodyBytes: number
  /** How much of one core the load generator used, at most. */
  readonly generatorShare: number
  /** Wrong answers of all rounds, and requests that got none. */
  readonly errors: number
  /** Calls in a second, round by round. */
  readonly rounds: readonly number[]
}

/** A target, what it was driven with, and what came of it. */
export interface Measured {
  readonly target: Target
  readonly seed: Seed
  readonly connections: number
  readonly rounds: readonly Outcome[]
}

/** @param all of one operation; their rounds of one number were driven one after the other */
export function rowsOf(operation: Operation, all: readonly Measured[]): Row[] {
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
    const of = (read: (outcome: Outcome) => number | undefined, digits: number) => {
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
      callsPerRequest: callsPerRequest(target.wire),
      perSecond: round(rate, 1),
      spread: round(Math.max(...rates.map((each) => Math.abs(each - rate) / rate)), 3),
      toBare: ratio(one, bare, perSecond),
      toUsual: ratio(one, usual, perSecond),
      toSmallest: ratio(one, smallest, perSecond),
      p50: of(({ p50 }) => p50, 3) ?? 0,
      p99: of(({ p99 }) => p99, 3) ?? 0,
      cpu: of((outcome) => cpuOfCall(target, outcome), 1),
      cpuToBare: ratio(one, bare, cpuOfCall),
      cpuToSmallest: ratio(one, smallest, cpuOfCall),
      databaseCpu: of((outcome) => ofCall(target, outcome, outcome.databaseCpu), 1),
      rssMegabytes: of(({ rss }) => rss && rss / 2 ** 20, 1),
      bodyBytes: rounds.at(-1)?.bodyBytes ?? 0,
      generatorShare: round(Math.max(...rounds.map((each) => each.generatorShare)), 2),
      errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
      rounds: rates.map((each) => round(each, 1)),
    }
  })
}

type Reading = (target: Target, outcome: Outcome) => number | undefined

/** Round by round, because what slows the machine down for a while then slows both. */
function ratio(one: Measured, base: Measured | undefined, read: Reading): number | null {
  if (!base) return null
  const ratios = one.rounds.map((outcome, index) => {
    const value = read(one.target, outcome)
    const baseValue = read(base.target, base.rounds[index] as Outcome)
    return value !== undefined && baseValue ? value / baseValue : undefined
  })
  return ratios.every((each) => each !== undefined) ? round(median(ratios), 3) : null
}

export function perSecond(target: Target, { requests, seconds }: Outcome): number {
  return (requests * callsPerRequest(target.wire)) / seconds
}

function cpuOfCall(target: Target, outcome: Outcome): number | undefined {
  return ofCall(target, outcome, outcome.cpu)
}

function ofCall(target: Target, { requests }: Outcome, cpu: number | undefined) {
  return cpu === undefined ? undefined : cpu / requests / callsPerRequest(target.wire)
}
