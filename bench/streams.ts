import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type ContenderName, start } from './contenders.ts'
import { root } from './folders.ts'
import type { Options } from './options.ts'
import type { Seed } from './seed.ts'
import { median, round } from './statistics.ts'
import type { StreamJob, StreamOutcome } from './streamLoad.ts'

export type StreamTarget = 'bare' | 'sse' | 'trpc'

/** Results of one target: medians over the rounds. */
export interface StreamRow {
  readonly target: StreamTarget
  /** Events per second that arrive at readers under full load. */
  readonly deliveries: number
  /** Median of the rounds' ratios to the bare server. */
  readonly toBare: number | null
  /** CPU time of the server's process per delivery (µs). */
  readonly cpu: number | null
  /** Time from the write request to the arrival at a reader, at a steady low rate (ms). */
  readonly p50: number
  readonly p99: number
  readonly p99ToBare: number | null
  /** Memory of the server's process per idle stream (bytes). */
  readonly bytesPerStream: number | null
  readonly generatorShare: number
}

/** Number of streams in the idle phase, and in the others. */
const SIZE = { idle: 1_000, readers: 500 }
const QUICK_SIZE = { idle: 50, readers: 20 }
/** Messages per second in the steady phase, and in flight in the busy one. */
const RATE = 20
const IN_FLIGHT = 8

/** Makes a server collect its garbage on SIGUSR2. */
const GC_ON_SIGNAL = [
  '--expose-gc',
  '--import',
  'data:text/javascript,process.on("SIGUSR2",()=>gc())',
]

const targets: Record<StreamTarget, { contender: ContenderName; path(seed: Seed): string }> = {
  bare: { contender: 'bareStreams', path: () => '/' },
  sse: { contender: 'server', path: ({ roomId }) => `/api/v3/rooms/${roomId}/events` },
  trpc: {
    contender: 'server',
    path: ({ roomId }) =>
      `/trpc/onRoomEvents?input=${encodeURIComponent(JSON.stringify({ json: { roomId } }))}`,
  },
}

/** Measures idle streams, and many readers of one busy room, for each target in turn. */
export async function measureStreams(
  options: Options,
  seed: Seed,
  folder: string,
): Promise<StreamRow[]> {
  const names = Object.keys(targets) as StreamTarget[]
  const size = options.quick ? QUICK_SIZE : SIZE
  const found = new Map(names.map((name) => [name, [] as Measured[]]))
  for (let number = 1; number <= options.rounds; number++) {
    for (const name of names) {
      const measured = await measure(options, size, seed, folder, name)
      found.get(name)?.push(measured)
      const rate = Math.round(measured.busy.deliveries / measured.busy.seconds)
      process.stderr.write(`streams round ${number}/${options.rounds} ${name}: ${rate}/s\n`)
    }
  }
  const bare = found.get('bare') as Measured[]
  return names.map((name) => {
    const rounds = found.get(name) as Measured[]
    const medianOf = (read: (one: Measured) => number) => median(rounds.map(read))
    const ratioToBare = (read: (one: Measured) => number) =>
      round(median(rounds.map((one, at) => read(one) / read(bare[at] as Measured))), 2)
    const rate = ({ busy }: Measured) => busy.deliveries / busy.seconds
    const isMeasured = rounds.every(({ busy, idle }) => busy.cpu !== undefined && idle.growth)
    return {
      target: name,
      deliveries: Math.round(medianOf(rate)),
      toBare: ratioToBare(rate),
      cpu: isMeasured
        ? round(
            medianOf(({ busy }) => (busy.cpu ?? 0) / busy.deliveries),
            1,
          )
        : null,
      p50: round(
        medianOf(({ steady }) => steady.p50),
        2,
      ),
      p99: round(
        medianOf(({ steady }) => steady.p99),
        2,
      ),
      p99ToBare: ratioToBare(({ steady }) => steady.p99),
      bytesPerStream: isMeasured
        ? Math.round(medianOf(({ idle }) => (idle.growth ?? 0) / size.idle))
        : null,
      generatorShare: round(Math.max(...rounds.map(({ busy }) => busy.generatorShare)), 2),
    }
  })
}

interface Measured {
  readonly idle: StreamOutcome
  readonly busy: StreamOutcome
  readonly steady: StreamOutcome
}

async function measure(
  options: Options,
  { idle, readers }: typeof SIZE,
  seed: Seed,
  folder: string,
  name: StreamTarget,
): Promise<Measured> {
  const { contender, path } = targets[name]
  const file = join(folder, 'streams.db')
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true })
  copyFileSync(seed.file, file)
  const env = { STREAMS_PER_ACTOR: '0', STREAMS_PER_ORGANISATION: '0' }
  const running = await start(contender, {
    ...options,
    url: `sqlite:${file}`,
    folder,
    env,
    nodeArgs: GC_ON_SIGNAL,
  })
  const load = fork(join(root, 'bench', 'streamLoad.ts'), { cwd: root })
  try {
    const head = `Host: 127.0.0.1\r\nAuthorization: Bearer ${seed.key}\r\n`
    const body = JSON.stringify({ messageData: TEXT, side: true, author: 'bench' })
    const job = {
      port: running.port,
      pid: running.pid,
      open: `GET ${path(seed)} HTTP/1.1\r\n${head}\r\n`,
      write: `POST /api/v3/rooms/${seed.roomId}/messages HTTP/1.1\r\n${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      warmUpMs: options.firstWarmUpMs,
      durationMs: options.seconds * 1000,
    }
    const runPhase = (own: Pick<StreamJob, 'readers' | 'inFlight' | 'rate'>) =>
      run(load, { ...job, ...own })
    // Allocates what all streams share, so that the idle phase does not count it.
    await runPhase({ readers: 20, inFlight: 1, rate: 0 })
    return {
      idle: await runPhase({ readers: idle, inFlight: 0, rate: 0 }),
      steady: await runPhase({ readers, inFlight: 0, rate: RATE }),
      busy: await runPhase({ readers, inFlight: IN_FLIGHT, rate: 0 }),
    }
  } finally {
    load.disconnect()
    await running.stop()
  }
}

/** Runs one job. @throws Error if it failed */
async function run(load: ChildProcess, job: StreamJob): Promise<StreamOutcome> {
  load.send(job)
  const [reply] = (await once(load, 'message')) as [StreamOutcome | { failed: string }]
  if ('failed' in reply) throw new Error(reply.failed)
  return reply
}

const TEXT =
  'please check the code that was sent to my phone it says expired thank you for waiting 1234567'
