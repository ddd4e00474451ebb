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
import { round } from './report.ts'
import type { Seed } from './seed.ts'

/** What one customer can do to everybody else with the whole of a budget. */
export interface HostileRow {
  readonly attack: string
  /** Milliseconds that the others' requests take while nobody attacks, and during the attack. */
  readonly quietP95: number
  readonly p95: number
  readonly ratio: number
  readonly worst: number
  /** Of the others' requests. */
  readonly errors: number
  /** Requests of the attacker by status. */
  readonly statuses: Record<string, number>
  /** Megabytes that the attacker was sent. */
  readonly megabytes: number
  /** Megabytes above the idle server, at most. */
  readonly memory: number | null
}

/** Messages of the attacker's room, of 16,000 characters of four bytes each. */
const MESSAGES = 300
const LARGEST = '🙂'.repeat(16_000)

/** Requests of the attacker at once, and requests of the others a second. */
const AT_ONCE = 50
const RATE = 200

/** How often the memory of the server is looked at, in milliseconds. */
const LOOK = 50

interface Attack {
  readonly name: string
  /** The request of this number. */
  ask(number: number, room: string): { path: string; body?: string }
}

const before = (number: number) =>
  Buffer.from(`m:${20 + (number % (MESSAGES - 20))}`).toString('base64url')

const input = (value: unknown) => encodeURIComponent(JSON.stringify(value))

const attacks: readonly Attack[] = [
  {
    name: 'v3 pages',
    ask: (number, room) => ({
      path: `/api/v3/rooms/${room}/messages?limit=200&before=${before(number)}`,
    }),
  },
  {
    name: 'v2 rooms',
    ask: (number, room) => ({
      path: `/api/v2/room-service/?type=get_messages&room_id=${room}&limit=${500 + (number % 500)}`,
    }),
  },
  {
    name: 'tRPC batches',
    ask: (number, room) => {
      const one = (index: number) => ({
        json: { roomId: room, limit: 200, before: before(number + index) },
      })
      const inputs = Object.fromEntries(
        Array.from({ length: 50 }, (_, index) => [index, one(index)]),
      )
      const names = Array(50).fill('getMessages').join()
      return { path: `/trpc/${names}?batch=1&input=${input(inputs)}` }
    },
  },
  {
    name: 'snapshots',
    ask: (number, room) => ({
      path: `/api/v3/rooms/${room}/snapshot?limit=${50 + (number % 150)}`,
    }),
  },
  {
    name: 'large messages',
    ask: (_, room) => ({
      path: `/api/v3/rooms/${room}/messages`,
      body: JSON.stringify({ messageData: LARGEST, side: false, author: 'hostile' }),
    }),
  },
  {
    name: 'superjson notes',
    ask: (number, room) => {
      const keys = Array.from({ length: 30_000 }, (_, index) => `a${index}`)
      const values = Object.fromEntries(keys.map((key) => [key, ['Date']]))
      const json = { roomId: room, number, ...Object.fromEntries(keys.map((key) => [key, 0])) }
      return { path: '/trpc/markRead', body: JSON.stringify({ json, meta: { values } }) }
    },
  },
  {
    name: 'small reads',
    ask: (number, room) => ({
      path: `/api/v3/rooms/${room}/messages?limit=1&before=${before(number)}`,
    }),
  },
]

/** Measures the others while one customer attacks, each attack on a server of its own. */
export async function measureHostile(
  options: Options,
  seed: Seed,
  folder: string,
): Promise<HostileRow[]> {
  const rows: HostileRow[] = []
  // A short run only shows that it runs.
  const chosen = options.quick ? attacks.slice(0, 2) : attacks
  for (const [index, attack] of chosen.entries()) {
    const file = join(folder, `hostile-${index}.db`)
    copyFileSync(seed.file, file)
    const running = await start('server', {
      ...options,
      url: `sqlite:${file}`,
      folder,
      // A process that is asked for more than this ends.
      nodeArgs: ['--max-old-space-size=512'],
    })
    const probe = fork(join(root, 'bench', 'probe.ts'), { cwd: root })
    try {
      rows.push(await measure(options, seed, running, probe, attack))
    } finally {
      probe.disconnect()
      await running.stop()
    }
    process.stderr.write(`hostile ${index + 1}/${chosen.length}: ${attack.name}\n`)
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
  const minted = await send(port, key, { path: '/api/v3/user-tokens', body: JSON.stringify(user) })
  const token = `Bearer ${JSON.parse(minted.text).token}`
  const job = { port, authorization: key, roomIds: seed.busyRoomIds, rate: RATE }
  const duration = seconds * 1000
  await run(probe, { ...job, duration: Math.min(2_000, duration) })
  const quiet = await run(probe, { ...job, duration })

  const idle = residentMemory(pid)
  let most = idle
  const looking = setInterval(() => {
    const now = residentMemory(pid)
    if (now !== undefined && most !== undefined) most = Math.max(most, now)
  }, LOOK)
  const attacking = attackFor(duration, port, token, (number) => attack.ask(number, room))
  const attacked = await run(probe, { ...job, duration })
  const { statuses, bytes } = await attacking
  clearInterval(looking)
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
    memory: idle === undefined || most === undefined ? null : round((most - idle) / 2 ** 20, 0),
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
  const body = JSON.stringify({ messageData: LARGEST, side: false, author: 'hostile' })
  for (let i = 0; i < messages; i++) {
    await send(port, key, { path: `/api/v3/rooms/${id}/messages`, body })
  }
  return id
}

/** Asks as fast as answers come, over many connections, and goes on when it is refused. */
async function attackFor(
  duration: number,
  port: number,
  token: string,
  ask: (number: number) => { path: string; body?: string },
): Promise<{ statuses: Record<string, number>; bytes: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const end = performance.now() + duration
  const statuses: Record<string, number> = {}
  let bytes = 0
  let number = 0
  // What still waits for its turn then would wait for minutes.
  const late = setTimeout(() => agent.destroy(), duration)
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (performance.now() < end) {
        const answer = await send(port, token, ask(number++), agent, false)
        if (performance.now() >= end) break
        statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
        bytes += answer.bytes
        // Refused at once, a client could use all of its machine to be refused more often: that is the network's price.
        if (answer.status === 429) await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }),
  )
  clearTimeout(late)
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
  keeps = true,
): Promise<Received> {
  return new Promise((resolve) => {
    const failed = () => resolve({ status: 0, bytes: 0, text: '' })
    const sent = request(
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
          if (keeps) chunks.push(chunk)
        })
        res.on('end', () =>
          resolve({ status: res.statusCode ?? 0, bytes, text: Buffer.concat(chunks).toString() }),
        )
        res.on('error', failed)
      },
    )
    sent.on('error', failed)
    sent.end(body)
  })
}

async function run(probe: ChildProcess, job: ProbeJob): Promise<ProbeOutcome> {
  probe.send(job)
  const [outcome] = (await once(probe, 'message')) as [ProbeOutcome]
  return outcome
}

function percentile(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}
