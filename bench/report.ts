import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { HostileRow } from './hostile.ts'
import type { LockedRow } from './locked.ts'
import type { Row } from './rows.ts'
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
  readonly hostile: readonly HostileRow[]
  readonly locked: readonly LockedRow[]
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
  const { header: h, rows, startup, streams, hostile, locked, notes } = report
  const lines = [
    `${h.date}, Node ${h.node}, ${h.cpu}, ${h.cores} cores, ${h.platform}; one sync ${h.sync} ms${
      h.arguments ? `; ${h.arguments}` : ''
    }`,
    '',
  ]
  for (const [connections, group] of Map.groupBy(rows, (row) => row.connections)) {
    lines.push(`### Connections: ${connections}`, '', ...rowTable(group), '')
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
  if (hostile.length > 0) {
    lines.push(
      ...table(
        [
          'attack',
          'quiet p95 ms',
          'p95 ms',
          'ratio',
          'worst ms',
          'errors',
          'MB sent',
          'memory MB',
          'answers',
        ],
        hostile.map((one) => [
          one.attack,
          one.quietP95.toFixed(2),
          one.p95.toFixed(2),
          one.ratio.toFixed(2),
          one.worst.toFixed(0),
          String(one.errors),
          one.megabytes.toFixed(0),
          one.memory === null ? '' : one.memory.toFixed(0),
          Object.entries(one.statuses)
            .map(([status, count]) => `${count} × ${status}`)
            .join(', '),
        ]),
      ),
      '',
    )
  }
  if (locked.length > 0) {
    lines.push(
      ...table(
        ['writes of others while', 'messages/s', 'p50 ms', 'p95 ms', 'p95 /quiet', 'errors'],
        locked.map((one) => [
          one.disturbance,
          grouped(one.perSecond),
          one.p50.toFixed(2),
          one.p95.toFixed(2),
          one.p95ToQuiet?.toFixed(2) ?? '',
          `${one.errors}`,
        ]),
      ),
      '',
    )
  }
  lines.push(...notes.map((note) => `- ${note}`))
  return `${lines.join('\n').trimEnd()}\n`
}

/** Columns that tell nothing of these rows are left out. */
function rowTable(rows: readonly Row[]): string[] {
  const fixed = (value: number | null, digits: number) => value?.toFixed(digits) ?? ''
  const columns: [head: string, cell: (row: Row, before: Row | undefined) => string][] = [
    ['', (row, before) => (row.operation === before?.operation ? '' : row.operation)],
    ['target', (row) => row.target],
    ['messages', (row) => (isOneSize ? '' : grouped(row.messages))],
    ['calls/s', (row) => grouped(row.perSecond)],
    ['±', (row) => `${Math.round(row.spread * 100)} %`],
    ['/bare', (row) => fixed(row.toBare, 2)],
    ['/usual', (row) => fixed(row.toUsual, 2)],
    ['/smallest', (row) => fixed(row.toSmallest, 2)],
    ['p50 ms', (row) => fixed(row.p50, 2)],
    ['p99 ms', (row) => fixed(row.p99, 2)],
    ['CPU µs', (row) => fixed(row.cpu, 0)],
    ['CPU /bare', (row) => fixed(row.cpuToBare, 1)],
    ['CPU /smallest', (row) => fixed(row.cpuToSmallest, 2)],
    ['database µs', (row) => fixed(row.databaseCpu, 0)],
    ['RSS MB', (row) => fixed(row.rssMegabytes, 0)],
    ['errors', (row) => `${row.errors}`],
  ]
  const isOneSize = rows.every(({ messages }) => messages === rows[0]?.messages)
  const shown = columns.filter(([, cell]) => rows.some((row) => cell(row, undefined) !== ''))
  return table(
    shown.map(([head]) => head),
    rows.map((row, index) => shown.map(([, cell]) => cell(row, rows[index - 1]))),
  )
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
