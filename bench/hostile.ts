import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { type Contender, start } from './contenders.ts'
import { root } from './folders.ts'
import type { Options } from './options.ts'
import type { ProbeJob, ProbeOutcome } from './probe.ts'
import { residentMemory } from './processes.ts'
import type { Seed } from './seed.ts'
import { round } from './statistics.ts'

/** Effect of one attack on the requests of others. */
export interface HostileRow {
  readonly attack: string
  /** Latency of the others before and during the attack (ms). */
  readonly quietP95: number
  readonly p95: number
  readonly ratio: number
  readonly worst: number
  /** Failed requests of the others. */
  readonly errors: number
  /** Responses to the attacker by status. */
  readonly statuses: Record<string, number>
  /** Data sent to the attacker (MB). */
  readonly megabytes: number
  /** Peak memory above that of the idle server (MB). */
  readonly memory: number | null
}

/** Messages in the attacker's room, each of the maximum size: 16,000 characters of four bytes. */
const MESSAGES = 300
const LARGEST_TEXT = '🙂'.repeat(16_000)

/** Connections of the attacker. */
const CONNECTIONS = 50
/** Requests of the others per second. */
const RATE = 200

/** Interval of the memory measurement (ms). */
const MEMORY_INTERVAL_MS = 50

interface Attack {
  readonly name: string
  /** Creates the request with this number. */
  createRequest(number: number, room: string): { path: string; body?: string }
}

const cursorFor = (number: number) =>
  Buffer.from(`m:${20 + (number % (MESSAGES - 20))}`).toString('base64url')

const encodeInput = (value: unknown) => encodeURIComponent(JSON.stringify(value))

const attacks: readonly Attack[] = [
  {
    name: 'v3 pages',
    createRequest: (number, room) => ({
      path: `/api/v3/rooms/${room}/messages?limit=200&before=${cursorFor(number)}`,
    }),
  },
  {
    name: 'v2 rooms',
    createRequest: (number, room) => ({
      path: `/api/v2/room-service/?type=get_messages&room_id=${room}&limit=${500 + (number % 500)}`,
    }),
  },
  {
    name: 'tRPC batches',
    createRequest: (number, room) => {
      const one = (index: number) => ({
        json: { roomId: room, limit: 200, before: cursorFor(number + index) },
      })
      const inputs = Object.fromEntries(
        Array.from({ length: 50 }, (_, index) => [index, one(index)]),
      )
      const names = Array(50).fill('getMessages').join()
      return { path: `/trpc/${names}?batch=1&input=${encodeInput(inputs)}` }
    },
  },
  {
    name: 'snapshots',
    createRequest: (number, room) => ({
      path: `/api/v3/rooms/${room}/snapshot?limit=${50 + (number % 150)}`,
    }),
  },
  {
    name: 'large messages',
    createRequest: (_, room) => ({
      path: `/api/v3/rooms/${room}/messages`,
      body: JSON.stringify({ messageData: LARGEST_TEXT, side: false, author: 'hostile' }),
    }),
  },
  {
    name: 'superjson metadata',
    createRequest: (number, room) => {
      const keys = Array.from({ length: 30_000 }, (_, index) => `a${index}`)
      const values = Object.fromEntries(keys.map((key) => [key, ['Date']]))
      const json = { roomId: room, number, ...Object.fromEntries(keys.map((key) => [key, 0])) }
      return { path: '/trpc/markRead', body: JSON.stringify({ json, meta: { values } }) }
    },
  },
  {
    name: 'small reads',
    createRequest: (number, room) => ({
      path: `/api/v3/rooms/${room}/messages?limit=1&before=${cursorFor(number)}`,
    }),
  },
]

/** Measures the latency of others before and during each attack, each on a new server. */
export async function measureHostile(
  options: Options,
  seed: Seed,
  folder: string,
): Promise<HostileRow[]> {
  const rows: HostileRow[] = []
  // A quick run only checks that it works.
  const selected = options.quick ? attacks.slice(0, 2) : attacks
  for (const [index, attack] of selected.entries()) {
    const file = join(folder, `hostile-${index}.db`)
    copyFileSync(seed.file, file)
    const running = await start('server', {
      ...options,
      url: `sqlite:${file}`,
      folder,
      // The process exits above this limit (MB).
      nodeArgs: ['--max-old-space-size=512'],
    })
    const probe = fork(join(root, 'bench', 'probe.ts'), { cwd: root })
    try {
      rows.push(await measure(options, seed, running, probe, attack))
    } finally {
      probe.disconnect()
      await running.stop()
    }
    process.stderr.write(`hostile ${index + 1}/${selected.length}: ${attack.name}\n`)
  }
  return rows
}

async function measure(
  { seconds, quick }: Options,
  seed: Seed,
  { port, pid }: Contender,
  probe: ChildProcess,
  attack: Attack,
): Promise<HostileRow> {
  const key = `Bearer ${seed.key}`
  const room = await createRoom(port, key, seed.orgId, quick ? 30 : MESSAGES)
  const user = { orgId: seed.orgId, userId: 'hostile', side: false }
  const created = await send(port, key, { path: '/api/v3/user-tokens', body: JSON.stringify(user) })
  const token = `Bearer ${JSON.parse(created.text).token}`
  const job = { port, authorization: key, roomIds: seed.busyRoomIds, rate: RATE }
  const durationMs = seconds * 1000
  await runProbe(probe, { ...job, durationMs: Math.min(2_000, durationMs) })
  const quiet = await runProbe(probe, { ...job, durationMs })

  const idle = residentMemory(pid)
  let peak = idle
  const memoryTimer = setInterval(() => {
    const now = residentMemory(pid)
    if (now !== undefined && peak !== undefined) peak = Math.max(peak, now)
  }, MEMORY_INTERVAL_MS)
  const attacking = attackFor(durationMs, port, token, (number) =>
    attack.createRequest(number, room),
  )
  const attacked = await runProbe(probe, { ...job, durationMs })
  const { statuses, bytes } = await attacking
  clearInterval(memoryTimer)
  const [quietP95, p95] = [percentile(quiet.times, 0.95), percentile(attacked.times, 0.95)]
  return {
    attack: attack.name,
    quietP95: round(quietP95, 2),
    p95: round(p95, 2),
    ratio: round(p95 / quietP95, 2),
    worst: round(Math.max(...attacked.times), 1),
    errors: quiet.errors + attacked.errors,
    statuses,
    megabytes: round(bytes / 2 ** 20, 1),
    memory: idle === undefined || peak === undefined ? null : round((peak - idle) / 2 ** 20, 0),
  }
}

async function createRoom(
  port: number,
  key: string,
  orgId: string,
  messages: number,
): Promise<string> {
  const identity = { orgId, userId: 'hostile', portfolioName: 'bench', productName: 'bench' }
  const { text } = await send(port, key, { path: '/api/v3/rooms', body: JSON.stringify(identity) })
  const { id } = JSON.parse(text).room as { id: string }
  const body = JSON.stringify({ messageData: LARGEST_TEXT, side: false, author: 'hostile' })
  for (let i = 0; i < messages; i++) {
    await send(port, key, { path: `/api/v3/rooms/${id}/messages`, body })
  }
  return id
}

/** Sends requests over many connections as fast as responses arrive, and continues after refusals. */
async function attackFor(
  durationMs: number,
  port: number,
  token: string,
  createRequest: (number: number) => { path: string; body?: string },
): Promise<{ statuses: Record<string, number>; bytes: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const end = performance.now() + durationMs
  const statuses: Record<string, number> = {}
  let bytes = 0
  let number = 0
  // Queued requests could take minutes after the end.
  const timeout = setTimeout(() => agent.destroy(), durationMs)
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (performance.now() < end) {
        const response = await send(port, token, createRequest(number++), agent, false)
        if (performance.now() >= end) break
        statuses[response.status] = (statuses[response.status] ?? 0) + 1
        bytes += response.bytes
        // Limit the rate of refusals: the attack is on the server, not on the network.
        if (response.status === 429) await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }),
  )
  clearTimeout(timeout)
  agent.destroy()
  return { statuses, bytes }
}

interface Received {
  readonly status: number
  readonly bytes: number
  readonly text: string
}

function send(
  port: number,
  authorization: string,
  { path, body }: { path: string; body?: string },
  agent?: Agent,
  keepsBody = true,
): Promise<Received> {
  return new Promise((resolve) => {
    const fail = () => resolve({ status: 0, bytes: 0, text: '' })
    const req = request(
      {
        ...(agent ? { agent } : {}),
        ...{ port, host: '127.0.0.1', path, method: body === undefined ? 'GET' : 'POST' },
        headers: { Authorization: authorization, 'Content-Type': 'application/json' },
      },
      (res) => {
        const chunks: Buffer[] = []
        let bytes = 0
        res.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (keepsBody) chunks.push(chunk)
        })
        res.on('end', () =>
          resolve({ status: res.statusCode ?? 0, bytes, text: Buffer.concat(chunks).toString() }),
        )
        res.on('error', fail)
      },
    )
    req.on('error', fail)
    req.end(body)
  })
}

async function runProbe(probe: ChildProcess, job: ProbeJob): Promise<ProbeOutcome> {
  probe.send(job)
  const [outcome] = (await once(probe, 'message')) as [ProbeOutcome]
  return outcome
}

function percentile(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}
