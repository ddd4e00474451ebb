import { accessSync, constants, statfsSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

/** The suite runs on each of these; TEST_DATABASES names fewer. */
const all = ['sqlite', 'postgres']
const databases = (process.env.TEST_DATABASES || all.join()).split(',')
for (const name of databases) {
  if (!all.includes(name)) throw new Error(`TEST_DATABASES names ${name}; there are ${all.join()}`)
}
for (const name of all) {
  if (!databases.includes(name)) process.stdout.write(`Not tested: ${name} (TEST_DATABASES)\n`)
}

/** A file system in memory. On a disk each commit of SQLite waits for the disk. */
const MEMORY = '/dev/shm'
/** PostgreSQL's files and a database for each test that runs take less. */
const MEMORY_BYTES = 2 * 1024 ** 3

function hasMemory(): boolean {
  try {
    accessSync(MEMORY, constants.W_OK)
    const { bavail, bsize } = statfsSync(MEMORY)
    return bavail * bsize >= MEMORY_BYTES
  } catch {
    return false
  }
}

// The workers and the global setup inherit it. TMPDIR names another place.
if (hasMemory()) process.env.TMPDIR ??= MEMORY

/** A deadline ends only a test that hangs: a slow machine is no failure. */
const DEADLINE_MS = 180_000

/** Test files that run once, for a reason. Every other file, and so every new one, runs on both. */
const once = {
  sqlite: [
    // They need no database.
    'tests/**',
    'packages/api/tests/execute.test.ts',
    'packages/api/tests/identifiers.test.ts',
    'packages/api/tests/json.test.ts',
    'packages/api/tests/jwt.test.ts',
    'packages/api/tests/paging.test.ts',
    'packages/api/tests/publicError.test.ts',
    'packages/api/tests/sharedPresence.test.ts',
    'packages/api/tests/streamCaps.test.ts',
    'packages/api/tests/coerce.test.ts',
    'packages/client/tests/**',
    'apps/server/tests/browser.test.ts',
    'apps/server/tests/bytes.test.ts',
    'apps/server/tests/cliUsage.test.ts',
    'apps/server/tests/compose.test.ts',
    'apps/server/tests/config.test.ts',
    'apps/server/tests/earlySignal.test.ts',
    'apps/server/tests/eventStreams.test.ts',
    'apps/server/tests/fixtures.test.ts',
    'apps/server/tests/securityHeaders.test.ts',
    'apps/server/tests/openapi.test.ts',
    'apps/server/tests/pageLimits.test.ts',
    'apps/server/tests/requestForms.test.ts',
    'apps/server/tests/sharedLimits.test.ts',
    'apps/server/tests/start.test.ts',
    'apps/server/tests/streamCaps.test.ts',
    'apps/server/tests/httpEdgeCases.test.ts',
    'apps/server/tests/trpcCalls.test.ts',
    'apps/server/tests/unknownUrl.test.ts',
    // SQLite's files and locks; the folders named postgres have what stands against them.
    'packages/db/tests/sqlite/**',
    'apps/server/tests/sqlite/**',
    // One server is killed; in cluster.test.ts of PostgreSQL several are, and the database.
    'apps/server/tests/chaos.test.ts',
    // They need a server whose storage others try on both: who calls by what name and how often, what is refused before
    // it is asked, and what a client makes of its answers.
    'apps/server/tests/clientLive.test.ts',
    'apps/server/tests/input.test.ts',
    'apps/server/tests/limits.test.ts',
    'apps/server/tests/livePage.test.ts',
    'apps/server/tests/openMode.test.ts',
    'apps/server/tests/realProxies.test.ts',
  ],
  postgres: ['packages/db/tests/postgres/**', 'apps/server/tests/postgres/**'],
}

/** Tests that take long: `npm run test:full` and CI run them, `npm test` does not. */
const long = process.env.TEST_FULL ? [] : ['**/*.full.test.ts']

const sqlite = {
  name: 'sqlite',
  exclude: [...once.postgres, ...long],
  provide: { testTarget: { dialect: 'sqlite' as const } },
}

const postgres = {
  name: 'postgres',
  exclude: [...once.sqlite, ...long],
  globalSetup: 'packages/db/tests/postgresSetup.ts',
}

export default defineConfig({
  test: {
    include: ['packages/*/tests/**/*.test.ts', 'apps/*/tests/**/*.test.ts', 'tests/**/*.test.ts'],
    testTimeout: DEADLINE_MS,
    hookTimeout: DEADLINE_MS,
    teardownTimeout: DEADLINE_MS,
    // Less than a test has, so that a failure shows the last value.
    expect: { poll: { timeout: DEADLINE_MS - 30_000, interval: 20 } },
    // A worker imports the server once and not for each file: an import takes 1.4 s of CPU. So no module keeps state
    // that one file leaves to the next.
    isolate: false,
    // They wait as much as they work.
    maxWorkers: 3,
    setupFiles: ['apps/server/tests/printLogs.ts'],
    projects: [sqlite, postgres]
      .filter(({ name }) => databases.includes(name))
      .map((test) => ({ extends: true as const, test })),
  },
})
