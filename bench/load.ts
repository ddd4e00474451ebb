import { Buffer } from 'node:buffer'
import { Connection } from './http.ts'
import {
  type Operation,
  type PreparedRequest,
  type Protocol,
  prepareRequests,
  renewCounters,
} from './operations.ts'
import { cpuTime, familyCpuTime, residentMemory } from './processes.ts'
import type { Seed } from './seed.ts'

// The load generator, a process that receives jobs over IPC, one at a time.

export interface LoadJob {
  readonly port: number
  /** Process of the server, to measure its CPU time. */
  readonly pid: number
  /** Process of the database server, if any, to measure its and its children's CPU time. */
  readonly databasePid: number | undefined
  readonly operation: Operation
  readonly protocol: Protocol
  readonly seed: Seed
  readonly etag?: string | undefined
  readonly connections: number
  /** Time at full load before the measurement. */
  readonly warmUpMs: number
  readonly durationMs: number
  /** Unique in a run: counters start at a multiple of it. */
  readonly number: number
}

export interface Outcome {
  /** Correct responses during the measurement. */
  readonly requests: number
  readonly seconds: number
  /** Latency (ms). */
  readonly p50: number
  readonly p99: number
  /** Mean size of the bodies. */
  readonly bodyBytes: number
  /** CPU time of the server's process (µs); undefined if the system does not report it. */
  readonly cpu: number | undefined
  readonly databaseCpu: number | undefined
  /** Resident memory of the server (bytes). */
  readonly rss: number | undefined
  /** Share of one core that the load generator used. Near 1, it limited the result. */
  readonly generatorShare: number
  readonly errors: number
  readonly firstError?: string | undefined
  /** Begin and end of the measurement, in microseconds of the monotonic clock. */
  readonly window: readonly [begin: number, end: number]
}

process.on('message', (job: LoadJob) => {
  run(job).then(
    (outcome) => process.send?.(outcome),
    (error: Error) => process.send?.({ failed: error.message }),
  )
})
process.on('disconnect', () => process.exit())

async function run(job: LoadJob): Promise<Outcome> {
  const requests = prepareRequests(job.operation, job.protocol, job.seed, job.etag)
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => Connection.open(job.port)),
  )
  const latencies: number[] = []
  let bytes = 0
  let errors = 0
  let firstError: string | undefined
  let next = 0
  let serial = job.number * 1e8
  let isMeasuring = false
  let isStopped = false

  /** Sends requests one after another until the job is over. */
  function drive(connection: Connection): Promise<void> {
    // Copy requests with counters: another connection's socket may still be sending from the buffer.
    const own = requests.map((each) =>
      each.counters.length === 0 ? each : { ...each, bytes: Buffer.from(each.bytes) },
    )
    return new Promise((resolve) => {
      let request: PreparedRequest
      let sentAt = 0
      const fail = (text: string) => {
        errors++
        firstError ??= text
      }
      const onResponse = (status: number, length: number) => {
        if (!request.statuses.includes(status)) fail(`status ${status}`)
        else if (length < request.minBytes) fail(`a body of ${length} bytes`)
        else if (isMeasuring) {
          latencies.push(performance.now() - sentAt)
          bytes += length
        }
        send()
      }
      const onFailure = (error: Error) => {
        fail(error.message)
        resolve()
      }
      const send = () => {
        if (isStopped) {
          resolve()
          return
        }
        request = own[next++ % own.length] as PreparedRequest
        renewCounters(request, () => serial++)
        sentAt = performance.now()
        connection.send(request.bytes, onResponse, onFailure)
      }
      send()
    })
  }

  const driven = Promise.all(connections.map(drive))
  await sleep(job.warmUpMs)
  const cpuBefore = cpuTime(job.pid)
  const databaseBefore = job.databasePid && familyCpuTime(job.databasePid)
  const ownBefore = process.cpuUsage()
  const begin = process.hrtime.bigint()
  isMeasuring = true
  await sleep(job.durationMs)
  isMeasuring = false
  const end = process.hrtime.bigint()
  const own = process.cpuUsage(ownBefore)
  const cpuAfter = cpuTime(job.pid)
  const databaseAfter = job.databasePid && familyCpuTime(job.databasePid)
  const rss = residentMemory(job.pid)
  isStopped = true
  const hasFinished = await Promise.race([driven.then(() => true), sleep(30_000).then(() => false)])
  if (!hasFinished) {
    errors++
    firstError ??= 'requests without a response after 30 seconds'
  }
  for (const connection of connections) connection.close()

  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0
  const seconds = Number(end - begin) / 1e9
  return {
    requests: sorted.length,
    seconds,
    p50: at(0.5),
    p99: at(0.99),
    bodyBytes: Math.round(bytes / Math.max(1, sorted.length)),
    cpu: difference(cpuBefore, cpuAfter),
    databaseCpu: difference(databaseBefore, databaseAfter),
    rss,
    generatorShare: (own.user + own.system) / 1e6 / seconds,
    errors,
    firstError,
    window: [Number(begin / 1000n), Number(end / 1000n)],
  }
}

function difference(before: number | undefined, after: number | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : after - before
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
