import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { atServer, createTestStore } from '@dowell-chat/db/testing'
import pg from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { ask } from '../database.ts'
import { refusal, run, startServer } from '../serverProcess.ts'
import { freePort, isListening } from '../sockets.ts'

const target = inject('testTarget')
const server = target.dialect === 'postgres' ? target.server : ''

/** An empty database and the user whom it belongs to, who may have so many connections. */
async function createLimitedStore(connections: number) {
  const role = `dowell_chat_role_${randomBytes(6).toString('hex')}`
  await atServer(
    server,
    `create role ${role} login password 'limited' connection limit ${connections}`,
  )
  await atServer(server, `create database ${role} owner ${role} template template0`)
  const url = new URL(server)
  url.username = role
  url.password = 'limited'
  url.pathname = role
  return {
    url: url.href,
    async [Symbol.asyncDispose]() {
      await atServer(server, `drop database ${role} with (force)`)
      await atServer(server, `drop role ${role}`)
    },
  }
}

/** Resolves when a session of this database waits for an advisory lock. */
async function untilWaiting(client: pg.Client): Promise<void> {
  const waiting = `select 1 from pg_stat_activity
    where datname = current_database() and wait_event = 'advisory'`
  while ((await client.query(waiting)).rowCount === 0) await sleep(20)
}

describe('a start that fails is undone, and the process ends with 1', () => {
  test.each([1, 2])('where its role may have %i connections', async (connections) => {
    await using store = await createLimitedStore(connections)
    const port = await freePort()
    const said = await refusal({ DATABASE_URL: store.url, PORT: `${port}` })
    expect(said).toContain('too many connections for role')
    expect(said).not.toContain('limited')
    expect(await isListening(port)).toBe(false)
  })

  test.each([3, 4])(
    'and does not fail with %i connections, and obeys SIGTERM',
    async (connections) => {
      await using store = await createLimitedStore(connections)
      await using server = await startServer({ DATABASE_URL: store.url })
      expect(await server.kill('SIGTERM')).toMatchObject({ code: 0, signal: null })
    },
  )

  test('where a migration fails', async () => {
    await using store = await createTestStore({ empty: true })
    await ask({ databaseUrl: store.url }, 'create table rooms (id text)')
    const said = await refusal({ DATABASE_URL: store.url })
    expect(said).toContain('the migration 001-rooms-and-messages failed: ')
    expect(said).toContain('relation "rooms" already exists')
  })

  test('where the database is read-only', async () => {
    await using store = await createTestStore()
    const name = new URL(store.url).pathname.slice(1)
    await atServer(server, `alter database ${name} set default_transaction_read_only = on`)
    expect(await refusal({ DATABASE_URL: store.url })).toContain('it is read-only')
  })

  test('where the database takes the connection and says nothing', async () => {
    await using silent = createServer((socket) =>
      socket.on('error', () => undefined).resume(),
    ).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const said = await refusal({ DATABASE_URL: `postgres://chat@127.0.0.1:${port}/chat` })
    expect(said).toContain('it did not answer in time')
  })
})

describe('a start that waits obeys', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s while another process has the migration lock',
    async (signal) => {
      await using store = await createTestStore({ empty: true })
      const client = new pg.Client({ connectionString: store.url })
      await client.connect()
      try {
        await client.query('select pg_advisory_lock(4097235811)')
        const { child, ended } = run({
          PORT: '0',
          DATABASE_URL: store.url,
          // No time limit of a statement ends this wait.
          DATABASE_STATEMENT_TIMEOUT: '600000',
        })
        await untilWaiting(client)
        child.kill(signal)
        // The lock is held until after the end.
        const { code, stdout, stderr } = await ended
        expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: '' })
        expect(stderr).toContain('"msg":"closed"')
        expect((await client.query("select to_regclass('rooms') as rooms")).rows).toEqual([
          { rooms: null },
        ])
      } finally {
        await client.end()
      }
    },
  )

  test('SIGTERM while the database takes the connection and says nothing', async () => {
    await using silent = createServer((socket) =>
      socket.on('error', () => undefined).resume(),
    ).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const { child, ended } = run({
      PORT: '0',
      DATABASE_URL: `postgres://chat@127.0.0.1:${port}/chat`,
    })
    await once(silent, 'connection')
    child.kill('SIGTERM')
    expect(await ended).toMatchObject({ code: 0, signal: null, stdout: '' })
  })
})
