import { setTimeout as sleep } from 'node:timers/promises'
import { holdLock } from '../packages/db/tests/locks.ts'
import { startPostgres } from '../packages/db/tests/postgresServer.ts'
import { type Contender, start } from './contenders.ts'
import type { Options } from './options.ts'
import { median, round } from './report.ts'

/** What other organisations' writes take while somebody stands in the way of one: medians over the rounds. */
export interface LockedRow {
  readonly disturbance: string
  /** Messages a second of the others. */
  readonly perSecond: number
  readonly p50: number
  readonly p95: number
  /** Median of the rounds' ratios to the p95 just before. */
  readonly p95ToQuiet: number | null
  readonly errors: number
}

/** Others, and how many of them write at once. */
const OTHERS = 20
const CONNECTIONS = 10

/** How long a disturbance lasts before it is measured (ms). A client that is gone holds its locks for 3 seconds. */
const SETTLE_MS = 5_000

/** How often somebody writes to what is locked (ms). */
const LOCKED_EVERY_MS = 50

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

type Disturb = (world: { url: string; victim: Room; second: Drive }) => Promise<AsyncDisposable>

interface Drive {
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
    // In the middle of its work, and so of a transaction.
    const over = new AbortController()
    const driving = drive(second, over.signal)
    await sleep(500)
    process.kill(second.contender.pid, 'SIGSTOP')
    return {
      async [Symbol.asyncDispose]() {
        process.kill(second.contender.pid, 'SIGCONT')
        over.abort()
        await driving
      },
    }
  },
}

/** Two servers on one PostgreSQL, of which one is measured, quiet and disturbed in turn. */
export async function measureLocked(options: Options, folder: string): Promise<LockedRow[]> {
  await using stack = new AsyncDisposableStack()
  const server = await startPostgres({ folder, syncs: true })
  stack.defer(() => server.stop())
  const own = { ...options, url: server.url, folder, env: { AUTH: 'open' } }
  const startOne = async () => {
    const contender = await start('server', own)
    stack.defer(() => contender.stop())
    return contender
  }
  const [first, other] = [await startOne(), await startOne()]
  const rooms = await Promise.all(
    Array.from({ length: OTHERS + 1 }, (_, number) => openRoom(first, `org ${number}`)),
  )
  const victim = rooms.pop() as Room
  const one: Drive = { contender: first, rooms }
  const second: Drive = { contender: other, rooms: [...rooms, victim] }
  const duration = options.seconds * 1000
  await measure(one, options.firstWarmUp)

  const names = ['quiet', ...Object.keys(disturbances)]
  const found = new Map(names.map((name) => [name, [] as Measured[]]))
  const ratios = new Map(names.map((name) => [name, [] as number[]]))
  for (let number = 1; number <= options.rounds; number++) {
    for (const [name, disturb] of Object.entries(disturbances)) {
      const quiet = await measure(one, duration)
      const over = new AbortController()
      const hitting = hit(first, victim, over.signal)
      const disturbance = await disturb({ url: server.url, victim, second })
      await sleep(options.quick ? 100 : SETTLE_MS)
      const disturbed = await measure(one, duration)
      await disturbance[Symbol.asyncDispose]()
      over.abort()
      await hitting
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
    const own = ratios.get(name) as number[]
    return {
      disturbance: name,
      perSecond: Math.round(median(measured.map(({ perSecond }) => perSecond))),
      p50: round(median(measured.map(({ p50 }) => p50)), 2),
      p95: round(median(measured.map(({ p95 }) => p95)), 2),
      p95ToQuiet: own.length > 0 ? round(median(own), 2) : null,
      errors: measured.reduce((sum, { errors }) => sum + errors, 0),
    }
  })
}

/** Sends to the rooms in turn until it is told to stop. @returns the milliseconds of each, and how many failed */
async function drive(
  { contender, rooms }: Drive,
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

async function measure(one: Drive, duration: number): Promise<Measured> {
  const begin = performance.now()
  const { times, errors } = await drive(one, AbortSignal.timeout(duration))
  const seconds = (performance.now() - begin) / 1000
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN
  return { perSecond: times.length / seconds, p50: at(0.5), p95: at(0.95), errors }
}

/** Writes to what is locked all the time, and does not care what comes of it. */
async function hit(contender: Contender, room: Room, signal: AbortSignal): Promise<void> {
  const sent: Promise<boolean>[] = []
  while (!signal.aborted) {
    sent.push(send(contender, room))
    await sleep(LOCKED_EVERY_MS)
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
