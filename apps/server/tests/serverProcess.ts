import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { killAtEnd } from '../../../packages/db/tests/watchdog.ts'
import { recordServerLog } from './serverLogs.ts'

const server = fileURLToPath(new URL('..', import.meta.url))

/** What Node compiled before, as for `npm start`: these tests start a hundred servers. */
const compiled = fileURLToPath(new URL('../../../node_modules/.cache/compiled', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface ServerProcess extends AsyncDisposable {
  readonly url: string
  /** Resolves when the process is gone. */
  readonly ended: Promise<Ended>
  kill(signal: NodeJS.Signals): Promise<Ended>
}

/** A Node process as `npm start` makes it, with nothing of this process's environment but the path. */
export function spawnHere(
  args: string[],
  env: Record<string, string> = {},
): { child: ChildProcessWithoutNullStreams; ended: Promise<Ended> } {
  const child = spawn(process.execPath, args, {
    cwd: server,
    env: { PATH: process.env.PATH ?? '', NODE_COMPILE_CACHE: compiled, ...env },
  })
  killAtEnd(child)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (part) => {
    stdout += part
  })
  child.stderr.on('data', (part) => {
    stderr += part
  })
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr }))
  recordServerLog({
    server: `process ${child.pid}`,
    lines: () => stderr.split('\n').filter((line) => line !== ''),
    isClosed: () => child.exitCode !== null || child.signalCode !== null,
  })
  return { child, ended }
}

/** Runs the server as its users do. */
export function run(
  env: Record<string, string>,
  args: string[] = [],
): { child: ChildProcessWithoutNullStreams; ended: Promise<Ended> } {
  return spawnHere(['src/main.ts', ...args], env)
}

/** A server on a free port, ready for requests: `await using server = await startServer({ DATABASE_URL })`. */
export function startServer(env: Record<string, string>): Promise<ServerProcess> {
  return startServerFrom('src/main.ts', env)
}

/** The same of another program, which must print its URL as the server does. */
export async function startServerFrom(
  program: string,
  env: Record<string, string>,
): Promise<ServerProcess> {
  const { child, ended } = spawnHere([program], { PORT: '0', LOG_LEVEL: 'silent', ...env })
  const kill = (signal: NodeJS.Signals) => {
    child.kill(signal)
    return ended
  }
  const url = await new Promise<string>((resolve, reject) => {
    let text = ''
    child.stdout.on('data', (part) => {
      text += part
      const found = /(http:\/\/\S+)\/trpc/.exec(text)?.[1]
      if (found) resolve(found)
    })
    ended.then(({ stderr }) => reject(new Error(`the server did not start: ${stderr}`)), reject)
  })
  return {
    url,
    ended,
    kill,
    async [Symbol.asyncDispose]() {
      await kill('SIGKILL')
    },
  }
}

/** A command at the command line, on the database of a server that runs. */
export function cli(app: { databaseUrl: string }, ...args: string[]): Promise<Ended> {
  return cliWith({ DATABASE_URL: app.databaseUrl }, ...args)
}

export function cliWith(env: Record<string, string>, ...args: string[]): Promise<Ended> {
  return spawnHere(['src/cli.ts', ...args], env).ended
}

/** Why a server with these settings does not start: one sentence. */
export async function refusal(env: Record<string, string>): Promise<string> {
  const { ended } = run({ PORT: '0', ...env })
  const { code, stdout, stderr } = await ended
  expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/^Dowell Chat cannot start: [^\n]+\n$/)
  return stderr
}

/** A folder of a test's own, which is removed with it. */
export async function createFolder(): Promise<AsyncDisposable & { file(name: string): string }> {
  const folder = await mkdtemp(join(tmpdir(), 'dowell-chat-test-'))
  return {
    file: (name) => join(folder, name),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
