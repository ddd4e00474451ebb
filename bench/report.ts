import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { TargetName } from './contenders.ts'
import type { Operation } from './operations.ts'
import type { StreamRow } from './streams.ts'

export interface Header {
  readonly date: string
  readonly node: string
  readonly cpu: string
  readonly cores: number
  readonly platform: string
  /** Milliseconds that a 4 kB write and its sync take where the databases lie, median of 200. */
  readonly sync: number
  readonly arguments: string
}

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
  /** Medians of the rounds' ratios to the bare baseline, and to the usual way, in the same round. */
  readonly toBare: number | null
  readonly toUsual: number | null
  /** Milliseconds, of a request. */
  readonly p50: number
  readonly p99: number
  /** CPU microseconds of the server's process for one call. */
  readonly cpu: number | null
  /** How many times the bare baseline's that is: steadier than the rates where other programs are at work. */
  readonly cpuToBare: number | null
  readonly rssMegabytes: number | null
  readonly bodyBytes: number
  /** How much of one core the load generator used, at most. */
  readonly generatorShare: number
  readonly errors: number
  /** Calls in a second, round by round. */
  readonly rounds: readonly number[]
}

export interface Startup {
  readonly name: string
  /** Milliseconds from the start of the process. */
  readonly listening: number
  readonly firstAnswer: number
  readonly rounds: readonly number[]
}

export interface Report {
  readonly header: Header
  readonly rows: readonly Row[]
  readonly startup: readonly Startup[]
  readonly streams: readonly StreamRow[]
  readonly notes: readonly string[]
}

export function header(folder: string, args: readonly string[]): Header {
  const [first] = cpus()
  return {
    date: new Date().toISOString(),
    node: process.version,
    cpu: first?.model.trim() ?? 'unknown',
    cores: cpus().length,
    platform: `${process.platform} ${process.arch}`,
    sync: round(syncTime(folder), 3),
    arguments: args.join(' '),
  }
}

function syncTime(folder: string): number {
  const file = openSync(join(folder, 'sync'), 'w')
  const page = new Uint8Array(4096)
  const times = Array.from({ length: 200 }, () => {
    const begin = performance.now()
    writeSync(file, page)
    fdatasyncSync(file)
    return performance.now() - begin
  })
  closeSync(file)
  return median(times)
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low = 0, high = 0] = [sorted[sorted.length % 2 ? middle : middle - 1], sorted[middle]]
  return (low + high) / 2
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

export function markdown(report: Report): string {
  const { header: h, rows, startup, streams, notes } = report
  const lines = [
    `${h.date}, Node ${h.node}, ${h.cpu}, ${h.cores} cores, ${h.platform}; one sync ${h.sync} ms${
      h.arguments ? `; ${h.arguments}` : ''
    }`,
    '',
  ]
  const groups = Map.groupBy(rows, (row) => `${row.messages} ${row.connections}`)
  for (const group of groups.values()) {
    const [{ messages, connections }] = group as [Row]
    lines.push(
      `### Connections: ${connections}. Messages in the room that is read: ${grouped(messages)}`,
      '',
    )
    lines.push(
      ...table(
        [
          '',
          'target',
          'calls/s',
          '±',
          '/bare',
          '/usual',
          'p50 ms',
          'p99 ms',
          'CPU µs',
          'CPU /bare',
          'RSS MB',
        ],
        group.map((row, index) => [
          row.operation === group[index - 1]?.operation ? '' : row.operation,
          row.target,
          grouped(row.perSecond),
          `${Math.round(row.spread * 100)} %`,
          row.toBare?.toFixed(2) ?? '',
          row.toUsual?.toFixed(2) ?? '',
          row.p50.toFixed(2),
          row.p99.toFixed(2),
          row.cpu?.toFixed(0) ?? '',
          row.cpuToBare?.toFixed(1) ?? '',
          row.rssMegabytes?.toFixed(0) ?? '',
        ]),
      ),
    )
    lines.push('')
  }
  if (startup.length > 0) {
    lines.push(
      ...table(
        ['started as', 'listening ms', 'first answer ms'],
        startup.map((one) => [one.name, one.listening.toFixed(0), one.firstAnswer.toFixed(0)]),
      ),
      '',
    )
  }
  if (streams.length > 0) {
    lines.push(
      ...table(
        [
          'streams',
          'deliveries/s',
          '/bare',
          'CPU µs',
          'p50 ms',
          'p99 ms',
          'p99 /bare',
          'kB a stream',
        ],
        streams.map((one) => [
          one.target,
          grouped(one.deliveries),
          one.toBare?.toFixed(2) ?? '',
          one.cpu?.toFixed(1) ?? '',
          one.p50.toFixed(2),
          one.p99.toFixed(2),
          one.p99ToBare?.toFixed(2) ?? '',
          one.bytesPerStream === null ? '' : (one.bytesPerStream / 1000).toFixed(1),
        ]),
      ),
      '',
    )
  }
  lines.push(...notes.map((note) => `- ${note}`))
  return `${lines.join('\n').trimEnd()}\n`
}

export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  // Names to the left, numbers to the right.
  const isNumber = heads.map((_, column) =>
    rows.every((row) => /^[\d.,]* ?%?$/.test(row[column] ?? '')),
  )
  const widths = heads.map((head, column) =>
    Math.max(3, head.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(' | ')} |`
  const rule = widths.map((width, i) => '-'.repeat(width - 1) + (isNumber[i] ? ':' : '-'))
  return [line(heads), line(rule), ...rows.map(line)]
}

function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-GB')
}
