import { setTimeout as sleep } from 'node:timers/promises'
import { holdLock } from '../packages/db/tests/locks.ts'
import { startPostgres } from '../packages/db/tests/postgresServer.ts'
import { type Contender, start } from './contenders.ts'
import type { Options } from './options.ts'
import { median, round } from './statistics.ts'

/** Writes of other organisations during a disturbance of one: medians over the rounds. */
export interface LockedRow {
  readonly disturbance: string
  /** Messages per second of the others. */
  readonly perSecond: number
  readonly p50: number
  readonly p95: number
  /** Median of the rounds' ratios to the p95 just before the disturbance. */
  readonly p95ToQuiet: number | null
  readonly errors: number
}

/** Number of other organisations, and of concurrent writes to them. */
const OTHERS = 20
const CONNECTIONS = 10

/** Duration of a disturbance before the measurement (ms). The server releases a lost client's locks after 3 s. */
const SETTLE_MS = 5_000

/** Interval of the writes to the locked room (ms). */
const VICTIM_INTERVAL_MS = 50

interface Room {
  readonly orgId: string
  readonly id: string
}

interface Measured {
  readonly perSecond: number
  readonly p50: number
  readonly p95: number
  readonly errors: number
}

type Disturb = (setup: { url: string; victim: Room; second: Workload }) => Promise<AsyncDisposable>

interface Workload {
  readonly contender: Contender
  readonly rooms: readonly Room[]
}

const lockRoom = ({ id }: Room) => `select from rooms where id = '${id}' for update`
const lockOrganisation = ({ orgId }: Room) =>
  `update organisations set created_at = created_at where id = '${orgId}'`

const disturbances: Record<string, Disturb> = {
  'a room is locked': ({ url, victim }) => holdLock(url, lockRoom(victim)),
  "an organisation's row is locked": ({ url, victim }) => holdLock(url, lockOrganisation(victim)),
  'a transaction is idle': ({ url, victim }) =>
    holdLock(
      url,
      `update rooms set version = version + 1 where id = '${victim.id}'; ${lockOrganisation(victim)}`,
    ),
  'an instance is stopped': async ({ second }) => {
    // Stop it during its writes, and so within a transaction.
    const stopping = new AbortController()
    const driving = drive(second, stopping.signal)
    await sleep(500)
    process.kill(second.contender.pid, 'SIGSTOP')
    return {
      async [Symbol.asyncDispose]() {
        process.kill(second.contender.pid, 'SIGCONT')
        stopping.abort()
        await driving
      },
    }
  },
}

/** Measures one of two servers on one PostgreSQL, with and without a disturbance in turn. */
export async function measureLocked(options: Options, folder: string): Promise<LockedRow[]> {
  await using stack = new AsyncDisposableStack()
  const server = await startPostgres({ folder, syncs: true })
  stack.defer(() => server.stop())
  const startOptions = { ...options, url: server.url, folder, env: { AUTH: 'open' } }
  const startOne = async () => {
    const contender = await start('server', startOptions)
    stack.defer(() => contender.stop())
    return contender
  }
  const [first, other] = [await startOne(), await startOne()]
  const rooms = await Promise.all(
    Array.from({ length: OTHERS + 1 }, (_, number) => openRoom(first, `org ${number}`)),
  )
  const victim = rooms.pop() as Room
  const one: Workload = { contender: first, rooms }
  const second: Workload = { contender: other, rooms: [...rooms, victim] }
  const duration = options.seconds * 1000
  await measure(one, options.firstWarmUpMs)

  const names = ['quiet', ...Object.keys(disturbances)]
  const found = new Map(names.map((name) => [name, [] as Measured[]]))
  const ratios = new Map(names.map((name) => [name, [] as number[]]))
  for (let number = 1; number <= options.rounds; number++) {
    for (const [name, disturb] of Object.entries(disturbances)) {
      const quiet = await measure(one, duration)
      const stopping = new AbortController()
      const victimWrites = writeToVictim(first, victim, stopping.signal)
      const disturbance = await disturb({ url: server.url, victim, second })
      await sleep(options.quick ? 100 : SETTLE_MS)
      const disturbed = await measure(one, duration)
      await disturbance[Symbol.asyncDispose]()
      stopping.abort()
      await victimWrites
      found.get('quiet')?.push(quiet)
      found.get(name)?.push(disturbed)
      const ratio = disturbed.p95 / quiet.p95
      ratios.get(name)?.push(ratio)
      process.stderr.write(
        `locked round ${number}/${options.rounds}, ${name}: p95 ${ratio.toFixed(2)} times quiet\n`,
      )
    }
  }
  return names.map((name) => {
    const measured = found.get(name) as Measured[]
    const ownRatios = ratios.get(name) as number[]
    return {
      disturbance: name,
      perSecond: Math.round(median(measured.map(({ perSecond }) => perSecond))),
      p50: round(median(measured.map(({ p50 }) => p50)), 2),
      p95: round(median(measured.map(({ p95 }) => p95)), 2),
      p95ToQuiet: ownRatios.length > 0 ? round(median(ownRatios), 2) : null,
      errors: measured.reduce((sum, { errors }) => sum + errors, 0),
    }
  })
}

/** Writes to the rooms in turn until the signal aborts. @returns the latencies (ms) and the number of failures */
async function drive(
  { contender, rooms }: Workload,
  signal: AbortSignal,
): Promise<{ times: number[]; errors: number }> {
  const times: number[] = []
  let errors = 0
  let number = 0
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (!signal.aborted) {
        const begin = performance.now()
        const isSent = await send(contender, rooms[number++ % rooms.length] as Room)
        times.push(performance.now() - begin)
        if (!isSent) errors++
      }
    }),
  )
  return { times, errors }
}

async function measure(one: Workload, duration: number): Promise<Measured> {
  const begin = performance.now()
  const { times, errors } = await drive(one, AbortSignal.timeout(duration))
  const seconds = (performance.now() - begin) / 1000
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN
  return { perSecond: times.length / seconds, p50: at(0.5), p95: at(0.95), errors }
}

/** Writes to the locked room at a fixed interval, and ignores failures. */
async function writeToVictim(contender: Contender, room: Room, signal: AbortSignal): Promise<void> {
  const sent: Promise<boolean>[] = []
  while (!signal.aborted) {
    sent.push(send(contender, room))
    await sleep(VICTIM_INTERVAL_MS)
  }
  await Promise.all(sent)
}

async function send(contender: Contender, { id }: Room): Promise<boolean> {
  const body = { messageData: 'please check the code', side: false, author: 'client' }
  const { status } = await post(contender, `/api/v3/rooms/${id}/messages`, body)
  return status === 201
}

async function openRoom(contender: Contender, orgId: string): Promise<Room> {
  const body = { orgId, userId: 'user', portfolioName: 'umair', productName: 'WIFIQRCODE' }
  const { json } = await post(contender, '/api/v3/rooms', body)
  return { orgId, id: (json as { room: { id: string } }).room.id }
}

async function post({ port }: Contender, path: string, body: object) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: response.status, json: await response.json() }
}
