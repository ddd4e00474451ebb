import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { buildBundle } from './bundle.ts'
import { root } from './folders.ts'
import type { Job, Outcome } from './load.ts'
import type { Wire } from './operations.ts'

export type ContenderName = 'bare' | 'bareStreams' | 'usual' | 'server'

export type TargetName = 'bare' | 'usual-v3' | 'usual-trpc' | 'v2' | 'v3' | 'trpc' | 'batch'

/** A server and the wire over which it is driven. */
export interface Target {
  readonly name: TargetName
  readonly contender: ContenderName
  readonly wire: Wire
  readonly about: string
  /** The target of the usual way that it is compared with. */
  readonly usual?: TargetName
}

const bare =
  "node:http, the database's driver, prepared statements, one commit for writes that arrive together"

export const targets: readonly Target[] = [
  { name: 'bare', contender: 'bare', wire: 'v3', about: bare },
  {
    name: 'usual-v3',
    contender: 'usual',
    wire: 'v3',
    about: "the same libraries the usual way, REST by trpc-to-openapi's middleware",
  },
  {
    name: 'usual-trpc',
    contender: 'usual',
    wire: 'trpc',
    about: "the same libraries the usual way, tRPC by tRPC's express adapter",
  },
  { name: 'v2', contender: 'server', wire: 'v2', about: 'this server, REST v2', usual: 'usual-v3' },
  { name: 'v3', contender: 'server', wire: 'v3', about: 'this server, REST v3', usual: 'usual-v3' },
  {
    name: 'trpc',
    contender: 'server',
    wire: 'trpc',
    about: 'this server, tRPC, a request for each call',
    usual: 'usual-trpc',
  },
  {
    name: 'batch',
    contender: 'server',
    wire: 'batch',
    about: 'this server, tRPC, 10 calls in a request',
    usual: 'usual-trpc',
  },
]

export function targetOf(name: TargetName): Target {
  return targets.find((target) => target.name === name) as Target
}

/** How this server is run: as `npm start` does, with Node's own removal of types; by tsx; or bundled beforehand. */
export const runtimes = ['strip', 'tsx', 'bundle'] as const
export type Runtime = (typeof runtimes)[number]

export interface StartOptions {
  /** The DATABASE_URL. */
  readonly url: string
  /** The database server's process, for whoever measures the contender. */
  readonly databasePid?: number | undefined
  readonly runtime: Runtime
  /** Where a bundle goes. */
  readonly folder: string
  /** A file for the log; nowhere when left out. */
  readonly log?: string | undefined
  /** What node is given before the program. */
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

/** For when this process is stopped itself. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** Starts a server on a free port, and resolves when it listens. */
export async function start(name: ContenderName, options: StartOptions): Promise<Contender> {
  const args = [...(options.nodeArgs ?? []), ...(await program(name, options))]
  // All that a server has to say is on stderr, and is written for each request as in production.
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
      // The limits are counted, and never reached.
      RATE_LIMIT_ACTOR: '100000000',
      RATE_LIMIT_ADDRESS: '100000000',
      ...options.env,
    },
  })
  running.add(child)
  const exited = once(child, 'exit').finally(() => running.delete(child))
  const port = await new Promise<number>((resolve, reject) => {
    let said = ''
    child.stdout?.on('data', (data) => {
      if (said.length > 10_000) return
      said += data
      const match = /http:\/\/127\.0\.0\.1:(\d+)/.exec(said)
      if (match) resolve(Number(match[1]))
    })
    exited.then(([code]) => reject(new Error(`${name} ended with ${code} before it listened`)))
  })
  return {
    pid: child.pid as number,
    databasePid: options.databasePid,
    port,
    async stop() {
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 15_000)
      await exited
      clearTimeout(late)
    },
  }
}

async function program(name: ContenderName, options: StartOptions): Promise<string[]> {
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

/** The process that sends the requests. */
export class LoadGenerator {
  readonly #child = fork(join(root, 'bench', 'load.ts'), { cwd: root, env: cleanEnv() })
  #jobs = 0
  #answer: (reply: Outcome | { failed: string }) => void = () => undefined

  constructor() {
    running.add(this.#child)
    this.#child.on('message', (reply) => this.#answer(reply as Outcome))
    this.#child.on('exit', () => this.#answer({ failed: 'the load generator ended' }))
  }

  /** One job at a time. */
  async run(job: Omit<Job, 'number'>): Promise<Outcome> {
    const reply = await new Promise<Outcome | { failed: string }>((resolve) => {
      this.#answer = resolve
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

function cleanEnv(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...env } = process.env
  return env
}
