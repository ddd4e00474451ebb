import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from './http.ts'
import { cpuTime, residentMemory } from './processes.ts'

// Readers of event streams and those who write to them: a process of its own that is told what to do over IPC.

export interface StreamJob {
  readonly port: number
  readonly pid: number
  /** A request that opens a stream, and one that makes an event. */
  readonly open: string
  readonly write: string
  readonly readers: number
  /** Events that are on their way at once; 0: nobody writes, and the memory is read. */
  readonly inFlight: number
  /** Events a second, instead. */
  readonly rate: number
  /** Milliseconds. */
  readonly warmUp: number
  readonly duration: number
}

export interface StreamOutcome {
  readonly deliveries: number
  readonly seconds: number
  /** Milliseconds from the request that makes an event to its arrival at a reader. */
  readonly p50: number
  readonly p99: number
  /** Microseconds of the server's process. */
  readonly cpu: number | undefined
  /** Bytes that the server's process grew by when the streams were opened, garbage not counted. */
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

/** Stands once in each event; superjson's notes about its dates have nearly the same. */
const MARK = Buffer.from('"message.created"')

/**
 * A reader that counts events and looks at nothing else. An event is named once in its frame, and all readers get the same
 * ones in the same order.
 */
class Reader {
  readonly ready: Promise<void>
  #socket: Socket
  /** The end of the last part, in which a mark may have begun. */
  #rest = Buffer.alloc(0)

  constructor(port: number, request: string, onEvent: () => void) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.write(request)
    this.ready = new Promise((resolve, reject) => {
      this.#socket.once('data', (part) => {
        if (part.toString('latin1', 9, 12) === '200') resolve()
        else reject(new Error(`a stream was answered ${part.toString('latin1', 0, 400)}`))
      })
      this.#socket.once('error', reject)
    })
    this.#socket.on('data', (part) => {
      const text = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part])
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
  const before = await settledMemory(job.pid)
  /** When each event was asked for, and how many readers have it. */
  const sentAt: number[] = []
  const arrivals: number[] = []
  const latencies: number[] = []
  let measuring = false
  let deliveries = 0
  let onComplete: () => void = () => undefined

  const readers: Reader[] = []
  for (let opened = 0; opened < job.readers; opened += 50) {
    const some = Array.from({ length: Math.min(50, job.readers - opened) }, () => {
      let count = 0
      return new Reader(job.port, job.open, () => {
        const index = count++
        if (measuring) {
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
  const after = isIdle ? await settledMemory(job.pid) : undefined

  const writers = await Promise.all(
    Array.from({ length: Math.max(1, job.inFlight) }, () => Connection.open(job.port)),
  )
  const bytes = Buffer.from(job.write)
  let stopped = false
  let failure: Error | undefined
  const write = (connection: Connection) =>
    new Promise<void>((resolve) => {
      const fail = (error: Error) => {
        failure ??= error
        resolve()
      }
      const onAnswer = (status: number) => {
        if (status === 201) resolve()
        else fail(new Error(`a write was answered ${status}`))
      }
      sentAt.push(performance.now())
      connection.send(bytes, onAnswer, fail)
    })

  // An event that every reader has makes room for the next.
  let free = 0
  const waiting: (() => void)[] = []
  const room = async () => {
    if (free-- <= 0) await new Promise<void>((resolve) => waiting.push(resolve))
  }
  onComplete = () => {
    free++
    waiting.shift()?.()
  }
  const writeAll = async (connection: Connection) => {
    for (; !stopped; await room()) await write(connection)
  }
  const writeSteadily = async (connection: Connection) => {
    for (let due = performance.now(); !stopped; due += 1000 / job.rate) {
      await sleep(Math.max(0, due - performance.now()))
      await write(connection)
    }
  }
  if (!isIdle) for (const one of writers) void (job.rate > 0 ? writeSteadily(one) : writeAll(one))
  await sleep(isIdle ? 0 : job.warmUp)
  const cpuBefore = cpuTime(job.pid)
  const own = process.cpuUsage()
  const begin = performance.now()
  measuring = true
  await sleep(isIdle ? 0 : job.duration)
  measuring = false
  const seconds = (performance.now() - begin) / 1000
  const used = process.cpuUsage(own)
  const cpuAfter = cpuTime(job.pid)
  stopped = true
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

/** After the server has thrown its garbage away, which it is started to do at this signal. */
async function settledMemory(pid: number): Promise<number | undefined> {
  for (let number = 0; number < 2; number++) {
    process.kill(pid, 'SIGUSR2')
    await sleep(300)
  }
  return residentMemory(pid)
}
