import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { HostileRow } from './hostile.ts'
import type { LockedRow } from './locked.ts'
import { markdownTable } from './markdownTable.ts'
import type { Row } from './rows.ts'
import type { Startup } from './startup.ts'
import { median, round } from './statistics.ts'
import type { StreamRow } from './streams.ts'

/** Machine and arguments of a run. */
export interface Header {
  readonly date: string
  readonly node: string
  readonly cpu: string
  readonly cores: number
  readonly platform: string
  /** Time of a 4 kB write and sync in the databases' folder (ms), median of 200. */
  readonly sync: number
  readonly arguments: string
}

/** The JSON file of a run. */
export interface Report {
  readonly header: Header
  readonly rows: readonly Row[]
  readonly startup: readonly Startup[]
  readonly streams: readonly StreamRow[]
  readonly hostile: readonly HostileRow[]
  readonly locked: readonly LockedRow[]
  readonly notes: readonly string[]
}

export function createHeader(folder: string, args: readonly string[]): Header {
  const [first] = cpus()
  return {
    date: new Date().toISOString(),
    node: process.version,
    cpu: first?.model.trim() ?? 'unknown',
    cores: cpus().length,
    platform: `${process.platform} ${process.arch}`,
    sync: round(measureSync(folder), 3),
    arguments: args.join(' '),
  }
}

function measureSync(folder: string): number {
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

export function formatReport(report: Report): string {
  const { header: h, rows, startup, streams, hostile, locked, notes } = report
  const lines = [
    `${h.date}, Node ${h.node}, ${h.cpu}, ${h.cores} cores, ${h.platform}; one sync ${h.sync} ms${
      h.arguments ? `; ${h.arguments}` : ''
    }`,
    '',
  ]
  for (const [connections, group] of Map.groupBy(rows, (row) => row.connections)) {
    lines.push(`### Connections: ${connections}`, '', ...formatRows(group), '')
  }
  if (startup.length > 0) {
    lines.push(
      ...markdownTable(
        ['started as', 'listening ms', 'first response ms'],
        startup.map((one) => [one.name, one.listening.toFixed(0), one.firstAnswer.toFixed(0)]),
      ),
      '',
    )
  }
  if (streams.length > 0) {
    lines.push(
      ...markdownTable(
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
          groupDigits(one.deliveries),
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
      ...markdownTable(
        [
          'attack',
          'quiet p95 ms',
          'p95 ms',
          'ratio',
          'worst ms',
          'errors',
          'MB sent',
          'memory MB',
          'responses',
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
      ...markdownTable(
        ['writes of others while', 'messages/s', 'p50 ms', 'p95 ms', 'p95 /quiet', 'errors'],
        locked.map((one) => [
          one.disturbance,
          groupDigits(one.perSecond),
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

/** Leaves out columns that are empty in all rows. */
function formatRows(rows: readonly Row[]): string[] {
  const fixed = (value: number | null, digits: number) => value?.toFixed(digits) ?? ''
  const columns: [head: string, cell: (row: Row, before: Row | undefined) => string][] = [
    ['', (row, before) => (row.operation === before?.operation ? '' : row.operation)],
    ['target', (row) => row.target],
    ['messages', (row) => (isOneSize ? '' : groupDigits(row.messages))],
    ['calls/s', (row) => groupDigits(row.perSecond)],
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
  return markdownTable(
    shown.map(([head]) => head),
    rows.map((row, index) => shown.map(([, cell]) => cell(row, rows[index - 1]))),
  )
}

function groupDigits(value: number): string {
  return Math.round(value).toLocaleString('en-GB')
}
