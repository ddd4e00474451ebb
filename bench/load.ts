import { Buffer } from 'node:buffer'
import { Connection } from './http.ts'
import { type Operation, renew, type Shot, shotsOf, type Wire } from './operations.ts'
import { cpuTime, familyCpuTime, residentMemory } from './processes.ts'
import type { Seed } from './seed.ts'

// The load generator: a process of its own that is told what to do over IPC, one job at a time.

export interface Job {
  readonly port: number
  /** The server's process, whose CPU time is read before and after. */
  readonly pid: number
  /** The database server's process, if there is one, whose CPU time is read together with its children's. */
  readonly databasePid: number | undefined
  readonly operation: Operation
  readonly wire: Wire
  readonly seed: Seed
  readonly etag?: string | undefined
  readonly connections: number
  /** Milliseconds at full load before measuring begins. */
  readonly warmUp: number
  /** Milliseconds. */
  readonly duration: number
  /** No two jobs of a run share one: new names are made of it. */
  readonly number: number
}

export interface Outcome {
  /** Answered rightly within the time measured. */
  readonly requests: number
  readonly seconds: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Bytes of the bodies, on average. */
  readonly bodyBytes: number
  /** CPU time of the server's process in microseconds; undefined where the system does not tell. */
  readonly cpu: number | undefined
  readonly databaseCpu: number | undefined
  /** Bytes. */
  readonly rss: number | undefined
  /** How much of one core the load generator used. Near 1 it is the load generator that was measured. */
  readonly generatorShare: number
  readonly errors: number
  readonly firstError?: string | undefined
  /** When measuring began and ended, in microseconds of the system's monotonic clock. */
  readonly window: readonly [begin: number, end: number]
}

process.on('message', (job: Job) => {
  run(job).then(
    (outcome) => process.send?.(outcome),
    (error: Error) => process.send?.({ failed: error.message }),
  )
})
process.on('disconnect', () => process.exit())

async function run(job: Job): Promise<Outcome> {
  const shots = shotsOf(job.operation, job.wire, job.seed, job.etag)
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => Connection.open(job.port)),
  )
  const latencies: number[] = []
  let bytes = 0
  let errors = 0
  let firstError: string | undefined
  let next = 0
  let serial = job.number * 1e8
  let measuring = false
  let stopped = false

  /** Sends one request after the other until told to stop. */
  function drive(connection: Connection): Promise<void> {
    // A copy for each connection, because the socket may still be sending from the last one.
    const own = shots.map((shot) =>
      shot.counters.length === 0 ? shot : { ...shot, bytes: Buffer.from(shot.bytes) },
    )
    return new Promise((resolve) => {
      let shot: Shot
      let sentAt = 0
      const fail = (text: string) => {
        errors++
        firstError ??= text
      }
      const onAnswer = (status: number, length: number) => {
        if (!shot.statuses.includes(status)) fail(`status ${status}`)
        else if (length < shot.leastBytes) fail(`a body of ${length} bytes`)
        else if (measuring) {
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
        if (stopped) {
          resolve()
          return
        }
        shot = own[next++ % own.length] as Shot
        renew(shot, () => serial++)
        sentAt = performance.now()
        connection.send(shot.bytes, onAnswer, onFailure)
      }
      send()
    })
  }

  const driven = Promise.all(connections.map(drive))
  await sleep(job.warmUp)
  const cpuBefore = cpuTime(job.pid)
  const databaseBefore = job.databasePid && familyCpuTime(job.databasePid)
  const ownBefore = process.cpuUsage()
  const begin = process.hrtime.bigint()
  measuring = true
  await sleep(job.duration)
  measuring = false
  const end = process.hrtime.bigint()
  const own = process.cpuUsage(ownBefore)
  const cpuAfter = cpuTime(job.pid)
  const databaseAfter = job.databasePid && familyCpuTime(job.databasePid)
  const rss = residentMemory(job.pid)
  stopped = true
  const answered = await Promise.race([driven.then(() => true), sleep(30_000).then(() => false)])
  if (!answered) {
    errors++
    firstError ??= 'requests without an answer after 30 seconds'
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
