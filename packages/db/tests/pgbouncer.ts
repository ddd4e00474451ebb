import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './postgresServer.ts'
import { killAtEnd } from './watchdog.ts'

/** Whether this machine has PgBouncer. Where CI is set its absence is a failure of the tests that need it. */
export function hasPgBouncer(): boolean {
  return spawnSync('pgbouncer', ['--version']).status === 0
}

export interface PgBouncer extends AsyncDisposable {
  /** The URL of the same database through the pooler. */
  readonly url: string
}

/** A PgBouncer in session mode before a PostgreSQL server, its other settings as they come. */
export async function startPgBouncer(target: string): Promise<PgBouncer> {
  if (!hasPgBouncer()) throw new Error('PgBouncer is not installed')
  const { hostname, port, username, password, pathname } = new URL(target)
  const folder = await mkdtemp(join(tmpdir(), 'dowell-chat-pgbouncer-'))
  const own = await freePort()
  const config = join(folder, 'pgbouncer.ini')
  await writeFile(
    config,
    `[databases]
* = host=${hostname} port=${port} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = any
pool_mode = session
`,
  )
  // It refuses to run as root.
  const isRoot = process.getuid?.() === 0
  if (isRoot) for (const path of [folder, config]) await chmod(path, 0o755)
  const child = spawn('pgbouncer', [...(isRoot ? ['-u', 'nobody'] : []), config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  killAtEnd(child)
  let log = ''
  child.stderr.on('data', (part) => {
    log += part
  })
  const ended = once(child, 'exit')
  while (!(await accepts(own))) {
    if (child.exitCode !== null) throw new Error(`PgBouncer cannot be started\n${log}`)
    await sleep(20)
  }
  return {
    url: `postgres://any@127.0.0.1:${own}${pathname}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
