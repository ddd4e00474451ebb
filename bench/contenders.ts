import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { buildBundle } from './bundle.ts'
import { root } from './folders.ts'
import type { LoadJob, Outcome } from './load.ts'
import type { Protocol } from './operations.ts'

export type ContenderName = 'bare' | 'bareStreams' | 'usual' | 'server'

export type TargetName = 'bare' | 'usual-v3' | 'usual-trpc' | 'v2' | 'v3' | 'trpc' | 'batch'

/** A server, and the protocol that it is driven over. */
export interface Target {
  readonly name: TargetName
  readonly contender: ContenderName
  readonly protocol: Protocol
  readonly description: string
  /** The usual target that it is compared with. */
  readonly usual?: TargetName
}

const BARE = "node:http, the database's driver, prepared statements, group commit"

export const targets: readonly Target[] = [
  { name: 'bare', contender: 'bare', protocol: 'v3', description: BARE },
  {
    name: 'usual-v3',
    contender: 'usual',
    protocol: 'v3',
    description:
      "the same libraries as their guides use them, REST by trpc-to-openapi's middleware",
  },
  {
    name: 'usual-trpc',
    contender: 'usual',
    protocol: 'trpc',
    description: 'the same libraries as their guides use them, tRPC by its express adapter',
  },
  {
    name: 'v2',
    contender: 'server',
    protocol: 'v2',
    description: 'this server, REST v2',
    usual: 'usual-v3',
  },
  {
    name: 'v3',
    contender: 'server',
    protocol: 'v3',
    description: 'this server, REST v3',
    usual: 'usual-v3',
  },
  {
    name: 'trpc',
    contender: 'server',
    protocol: 'trpc',
    description: 'this server, tRPC, a request per call',
    usual: 'usual-trpc',
  },
  {
    name: 'batch',
    contender: 'server',
    protocol: 'batch',
    description: 'this server, tRPC, 10 calls per request',
    usual: 'usual-trpc',
  },
]

export function findTarget(name: TargetName): Target {
  return targets.find((target) => target.name === name) as Target
}

/** How to run this server: with Node's type stripping, as `npm start` does; with tsx; or bundled. */
export const runtimes = ['strip', 'tsx', 'bundle'] as const
export type Runtime = (typeof runtimes)[number]

export interface StartOptions {
  /** DATABASE_URL. */
  readonly url: string
  /** Process of the database server, passed on to the contender. */
  readonly databasePid?: number | undefined
  readonly runtime: Runtime
  /** Folder for the bundle. */
  readonly folder: string
  /** File for the log; discarded by default. */
  readonly log?: string | undefined
  /** Arguments of node before the program. */
  readonly nodeArgs?: readonly string[]
  readonly env?: Record<string, string>
}

export interface Contender {
  readonly pid: number
  readonly databasePid: number | undefined
  readonly port: number
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()

/** Kills all child processes, when this process is stopped. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** Starts a server on a free port. Resolves when it listens. @throws Error if it exits before */
export async function start(name: ContenderName, options: StartOptions): Promise<Contender> {
  const args = [...(options.nodeArgs ?? []), ...(await findProgram(name, options))]
  // Servers log each request to stderr, as in production.
  const stderr = options.log === undefined ? 'ignore' : openSync(options.log, 'a')
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', stderr],
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      LOG_LEVEL: 'info',
      HOST: '127.0.0.1',
      PORT: '0',
      DATABASE_URL: options.url,
      // Requests are counted, but the limits are never reached.
      RATE_LIMIT_ACTOR: '100000000',
      RATE_LIMIT_ADDRESS: '100000000',
      ...options.env,
    },
  })
  running.add(child)
  const exited = once(child, 'exit').finally(() => running.delete(child))
  const port = await new Promise<number>((resolve, reject) => {
    let output = ''
    child.stdout?.on('data', (data) => {
      if (output.length > 10_000) return
      output += data
      const match = /http:\/\/127\.0\.0\.1:(\d+)/.exec(output)
      if (match) resolve(Number(match[1]))
    })
    exited.then(([code]) => reject(new Error(`${name} exited with ${code} before it listened`)))
  })
  return {
    pid: child.pid as number,
    databasePid: options.databasePid,
    port,
    async stop() {
      child.kill('SIGTERM')
      const timeout = setTimeout(() => child.kill('SIGKILL'), 15_000)
      await exited
      clearTimeout(timeout)
    },
  }
}

async function findProgram(name: ContenderName, options: StartOptions): Promise<string[]> {
  if (name !== 'server') {
    const isPostgres = options.url.startsWith('postgres:')
    const file = name === 'bare' && isPostgres ? 'barePostgres' : name
    return [join(root, 'bench', 'contenders', `${file}.ts`)]
  }
  const main = join('apps', 'server', 'src', 'main.ts')
  switch (options.runtime) {
    case 'tsx':
      return ['--import', 'tsx', main]
    case 'strip':
      return [main]
    case 'bundle':
      return [await buildBundle(options.folder)]
  }
}

/** The process that sends the requests. Runs one job at a time. */
export class LoadGenerator {
  readonly #child = fork(join(root, 'bench', 'load.ts'), { cwd: root, env: createEnv() })
  #jobs = 0
  #onReply: (reply: Outcome | { failed: string }) => void = () => undefined

  constructor() {
    running.add(this.#child)
    this.#child.on('message', (reply) => this.#onReply(reply as Outcome))
    this.#child.on('exit', () => this.#onReply({ failed: 'the load generator exited' }))
  }

  /** @throws Error if the job failed */
  async run(job: Omit<LoadJob, 'number'>): Promise<Outcome> {
    const reply = await new Promise<Outcome | { failed: string }>((resolve) => {
      this.#onReply = resolve
      this.#child.send({ ...job, number: ++this.#jobs })
    })
    if ('failed' in reply) throw new Error(reply.failed)
    return reply
  }

  stop(): void {
    running.delete(this.#child)
    if (this.#child.connected) this.#child.disconnect()
  }
}

function createEnv(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...env } = process.env
  return env
}
