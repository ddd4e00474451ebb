import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from './http.ts'
import { cpuTime, residentMemory } from './processes.ts'

// Readers and writers of event streams, a process that receives jobs over IPC.

export interface StreamJob {
  readonly port: number
  readonly pid: number
  /** Requests that open a stream, and that create an event. */
  readonly open: string
  readonly write: string
  readonly readers: number
  /** Events in flight; with 0 and a rate of 0 nothing is written, and the memory is measured. */
  readonly inFlight: number
  /** Events per second, instead of a number in flight. */
  readonly rate: number
  readonly warmUpMs: number
  readonly durationMs: number
}

export interface StreamOutcome {
  readonly deliveries: number
  readonly seconds: number
  /** Time from the request that creates an event to its arrival at a reader (ms). */
  readonly p50: number
  readonly p99: number
  /** CPU time of the server's process (µs). */
  readonly cpu: number | undefined
  /** Growth of the server's memory by the open streams, after garbage collection (bytes). */
  readonly growth: number | undefined
  readonly generatorShare: number
}

process.on('message', (job: StreamJob) => {
  run(job).then(
    (outcome) => process.send?.(outcome),
    (error: Error) => process.send?.({ failed: error.message }),
  )
})
process.on('disconnect', () => process.exit())

/** Occurs once in each event, and not in superjson's metadata. */
const MARK = Buffer.from('"message.created"')

/** Counts events without parsing them. All readers get the same events in the same order. */
class Reader {
  readonly ready: Promise<void>
  #socket: Socket
  /** End of the last chunk, which may contain the start of a mark. */
  #rest = Buffer.alloc(0)

  constructor(port: number, request: string, onEvent: () => void) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.write(request)
    this.ready = new Promise((resolve, reject) => {
      this.#socket.once('data', (chunk) => {
        if (chunk.toString('latin1', 9, 12) === '200') resolve()
        else reject(new Error(`a stream request got ${chunk.toString('latin1', 0, 400)}`))
      })
      this.#socket.once('error', reject)
    })
    this.#socket.on('data', (chunk) => {
      const text = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
      let from = 0
      for (let at = text.indexOf(MARK); at !== -1; at = text.indexOf(MARK, from)) {
        from = at + MARK.length
        onEvent()
      }
      this.#rest = text.subarray(Math.max(from, text.length - MARK.length + 1))
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}

async function run(job: StreamJob): Promise<StreamOutcome> {
  const before = await measureMemory(job.pid)
  /** Time at which each event was sent, and the number of readers that have it. */
  const sentAt: number[] = []
  const arrivals: number[] = []
  const latencies: number[] = []
  let isMeasuring = false
  let deliveries = 0
  let onComplete: () => void = () => undefined

  const readers: Reader[] = []
  for (let opened = 0; opened < job.readers; opened += 50) {
    const some = Array.from({ length: Math.min(50, job.readers - opened) }, () => {
      let count = 0
      return new Reader(job.port, job.open, () => {
        const index = count++
        if (isMeasuring) {
          deliveries++
          latencies.push(performance.now() - (sentAt[index] ?? 0))
        }
        arrivals[index] = (arrivals[index] ?? 0) + 1
        if (arrivals[index] === job.readers) onComplete()
      })
    })
    await Promise.all(some.map(({ ready }) => ready))
    readers.push(...some)
  }
  await sleep(500)
  const isIdle = job.inFlight === 0 && job.rate === 0
  const after = isIdle ? await measureMemory(job.pid) : undefined

  const writers = await Promise.all(
    Array.from({ length: Math.max(1, job.inFlight) }, () => Connection.open(job.port)),
  )
  const bytes = Buffer.from(job.write)
  let isStopped = false
  let failure: Error | undefined
  const write = (connection: Connection) =>
    new Promise<void>((resolve) => {
      const fail = (error: Error) => {
        failure ??= error
        resolve()
      }
      const onResponse = (status: number) => {
        if (status === 201) resolve()
        else fail(new Error(`a write got status ${status}`))
      }
      sentAt.push(performance.now())
      connection.send(bytes, onResponse, fail)
    })

  // An event that all readers have frees a slot for the next one.
  let free = 0
  const waiting: (() => void)[] = []
  const waitForSlot = async () => {
    if (free-- <= 0) await new Promise<void>((resolve) => waiting.push(resolve))
  }
  onComplete = () => {
    free++
    waiting.shift()?.()
  }
  const writeAll = async (connection: Connection) => {
    for (; !isStopped; await waitForSlot()) await write(connection)
  }
  const writeSteadily = async (connection: Connection) => {
    for (let due = performance.now(); !isStopped; due += 1000 / job.rate) {
      await sleep(Math.max(0, due - performance.now()))
      await write(connection)
    }
  }
  if (!isIdle) for (const one of writers) void (job.rate > 0 ? writeSteadily(one) : writeAll(one))
  await sleep(isIdle ? 0 : job.warmUpMs)
  const cpuBefore = cpuTime(job.pid)
  const own = process.cpuUsage()
  const begin = performance.now()
  isMeasuring = true
  await sleep(isIdle ? 0 : job.durationMs)
  isMeasuring = false
  const seconds = (performance.now() - begin) / 1000
  const used = process.cpuUsage(own)
  const cpuAfter = cpuTime(job.pid)
  isStopped = true
  await sleep(200)
  for (const one of [...readers, ...writers]) one.close()
  if (failure) throw failure

  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0
  return {
    deliveries,
    seconds,
    p50: at(0.5),
    p99: at(0.99),
    cpu: cpuBefore === undefined || cpuAfter === undefined ? undefined : cpuAfter - cpuBefore,
    growth: before === undefined || after === undefined ? undefined : after - before,
    generatorShare: (used.user + used.system) / 1e6 / seconds,
  }
}

/** Returns the server's memory after a garbage collection, which this signal triggers (bytes). */
async function measureMemory(pid: number): Promise<number | undefined> {
  for (let number = 0; number < 2; number++) {
    process.kill(pid, 'SIGUSR2')
    await sleep(300)
  }
  return residentMemory(pid)
}
