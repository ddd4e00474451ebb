import { spawnSync } from 'node:child_process'
import {
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'

// Who may import whom is written in biome.json. Here every wall is run into, and every door walked through.

const root = fileURLToPath(new URL('..', import.meta.url))

const BY_NAME = 'Packages import each other by name, never by path.'
const STORAGE = 'packages/db is storage: it knows nothing of HTTP, tRPC or zod.'
const DRIVERS = 'Drivers are imported in engine/sqlite, engine/postgres and testing.ts only.'
const ONLY_DB = 'packages/api imports packages/db by its name, and no other package.'
const DOMAIN =
  "packages/api is the domain and the contract: transport is the server's, SQL is packages/db's."
const FEATURES =
  'Of another feature only its schema.ts and policy.ts are imported, of audit also append.ts, and nothing points back up.'
const SHARED = 'What every feature uses knows none of them.'
const BROWSER = 'packages/client runs in browsers: no server code, and of packages/api types only.'
const COMPOSES = 'The server composes packages/api and packages/db, by their names.'
const EXAMPLE = "An example imports what a reader's own program can: the client."

/** Where the source stands, what it imports, and the text of the wall; without a text it must pass. */
const cases: [from: string, specifier: string, wall?: string][] = [
  ['packages/db/src/probe.ts', 'kysely'],
  ['packages/db/src/probe.ts', 'kysely/migration'],
  ['packages/db/src/probe.ts', 'node:fs'],
  ['packages/db/src/queries/probe.ts', '../tables.ts'],
  ['packages/db/src/engine/sqlite/probe.ts', 'better-sqlite3'],
  ['packages/db/src/engine/postgres/probe.ts', 'pg'],
  ['packages/db/src/engine/postgres/probe.ts', 'pg-connection-string'],
  ['packages/db/src/engine/probe.ts', 'pg', DRIVERS],
  ['packages/db/src/probe.ts', 'better-sqlite3', DRIVERS],
  ['packages/db/src/queries/probe.ts', 'better-sqlite3', DRIVERS],
  ['packages/db/src/probe.ts', 'pg', DRIVERS],
  ['packages/db/src/probe.ts', 'pg/lib/client', DRIVERS],
  ['packages/db/src/probe.ts', 'express', STORAGE],
  ['packages/db/src/probe.ts', 'node:http', STORAGE],
  ['packages/db/src/probe.ts', 'node:http2', STORAGE],
  ['packages/db/src/probe.ts', 'zod', STORAGE],
  ['packages/db/src/probe.ts', 'zod/mini', STORAGE],
  ['packages/db/src/probe.ts', '@trpc/server', STORAGE],
  ['packages/db/src/probe.ts', '@dowell-chat/api', STORAGE],
  ['packages/db/src/engine/postgres/probe.ts', 'express', STORAGE],
  ['packages/db/src/probe.ts', '../../api/src/errors.ts', BY_NAME],

  ['packages/api/src/probe.ts', 'zod'],
  ['packages/api/src/probe.ts', '@trpc/server'],
  ['packages/api/src/probe.ts', '@dowell-chat/db'],
  ['packages/api/src/probe.ts', './errors.ts'],
  ['packages/api/src/probe.ts', './auth/actor.ts'],
  ['packages/api/src/router.ts', './rooms/index.ts'],
  ['packages/api/src/rest/probe.ts', '../rooms/createRoom.ts'],
  ['packages/api/src/rest/v2/probe.ts', '../../rooms/createRoom.ts'],
  ['packages/api/src/rooms/probe.ts', './createRoom.ts'],
  ['packages/api/src/rooms/probe.ts', '@dowell-chat/db'],
  ['packages/api/src/rooms/probe.ts', '../trpc.ts'],
  ['packages/api/src/rooms/probe.ts', '../auth/actor.ts'],
  ['packages/api/src/rooms/probe.ts', '../messages/schema.ts'],
  ['packages/api/src/rooms/probe.ts', '../audit/append.ts'],
  ['packages/api/src/rooms/probe.ts', '../messages/policy.ts'],
  ['packages/api/src/probe.ts', '@dowell-chat/db/testing', ONLY_DB],
  ['packages/api/src/rooms/probe.ts', '@dowell-chat/db/testing', ONLY_DB],
  ['packages/api/src/probe.ts', '@dowell-chat/client', ONLY_DB],
  ['packages/api/src/rest/probe.ts', '@dowell-chat/server', ONLY_DB],
  ['packages/api/src/probe.ts', 'express', DOMAIN],
  ['packages/api/src/rooms/probe.ts', 'express', DOMAIN],
  ['packages/api/src/rest/v2/probe.ts', 'express', DOMAIN],
  ['packages/api/src/probe.ts', 'pino', DOMAIN],
  ['packages/api/src/probe.ts', 'node:https', DOMAIN],
  ['packages/api/src/probe.ts', 'kysely', DOMAIN],
  ['packages/api/src/rooms/probe.ts', 'kysely/migration', DOMAIN],
  ['packages/api/src/probe.ts', 'better-sqlite3', DOMAIN],
  ['packages/api/src/rooms/probe.ts', '../messages/createMessage.ts', FEATURES],
  ['packages/api/src/rooms/probe.ts', '../messages/index.ts', FEATURES],
  ['packages/api/src/rooms/probe.ts', '../rest/wire.ts', FEATURES],
  ['packages/api/src/rooms/probe.ts', '../router.ts', FEATURES],
  ['packages/api/src/rooms/probe.ts', '../index.ts', FEATURES],
  ['packages/api/src/auth/probe.ts', '../rooms/createRoom.ts', FEATURES],
  ['packages/api/src/a-new-feature/probe.ts', '../rooms/createRoom.ts', FEATURES],
  ['packages/api/src/probe.ts', './rooms/createRoom.ts', SHARED],
  ['packages/api/src/probe.ts', './router.ts', SHARED],
  ['packages/api/src/rooms/probe.ts', '../../../db/src/queries/rooms.ts', BY_NAME],

  ['packages/client/src/probe.ts', '@trpc/client'],
  ['packages/client/src/probe.ts', 'superjson'],
  ['packages/client/src/probe.ts', '@dowell-chat/api'],
  ['packages/client/src/probe.ts', '@dowell-chat/db', BROWSER],
  ['packages/client/src/probe.ts', '@trpc/server', BROWSER],
  ['packages/client/src/probe.ts', '@trpc/server/http', BROWSER],
  ['packages/client/src/probe.ts', 'node:fs', BROWSER],
  ['packages/client/src/probe.ts', 'node:fs/promises', BROWSER],
  ['packages/client/src/probe.ts', 'zod', BROWSER],
  ['packages/client/src/probe.ts', 'express', BROWSER],
  ['packages/client/src/probe.ts', '../../api/src/router.ts', BY_NAME],

  ['apps/server/src/probe.ts', 'express'],
  ['apps/server/src/probe.ts', '@dowell-chat/api'],
  ['apps/server/src/probe.ts', '@dowell-chat/db'],
  ['apps/server/src/http/probe.ts', './errors.ts'],
  ['apps/server/src/probe.ts', '@dowell-chat/client', COMPOSES],
  ['apps/server/src/probe.ts', '@dowell-chat/db/testing', COMPOSES],
  ['apps/server/src/http/probe.ts', 'kysely', COMPOSES],
  ['apps/server/src/probe.ts', 'better-sqlite3', COMPOSES],
  ['apps/server/src/probe.ts', '../../../packages/db/src/queries/rooms.ts', BY_NAME],

  ['examples/probe.ts', '@dowell-chat/client'],
  ['examples/probe.ts', '@dowell-chat/api', EXAMPLE],
  ['examples/probe.ts', '../packages/client/src/client.ts', BY_NAME],
]

interface Finding {
  severity: string
  message: string
  location: { path: string; start: { line: number } }
}

/** One source a file, one case a line. */
const sources = new Map<string, string[]>()

function addLine(path: string, line: string): { path: string; line: number } {
  const lines = sources.get(path) ?? []
  sources.set(path, lines)
  return { path, line: lines.push(line) }
}

const walled = cases.map(([from, specifier, wall]) => ({
  from,
  specifier,
  wall,
  at: addLine(from, `export * as probe${sources.get(from)?.length ?? 0} from '${specifier}'`),
}))

/** Walls met by other words than an import's, and those that are not of imports. */
const worded: { path: string; source: string; message?: string }[] = [
  { path: 'packages/db/src/words.ts', source: "import express from 'express'", message: STORAGE },
  { path: 'packages/db/src/words.ts', source: "await import('express')", message: STORAGE },
  {
    path: 'packages/db/src/words.ts',
    source: "export type { Express } from 'express'",
    message: STORAGE,
  },
  {
    path: 'packages/db/src/words.ts',
    source: "import 'http'",
    message: 'A Node.js builtin module should be imported with the node: protocol.',
  },
  {
    path: 'packages/client/src/words.ts',
    source: "Buffer.from('')",
    message: 'Do not use the global variable Buffer.',
  },
  {
    path: 'packages/api/src/words.ts',
    source: 'process.env.HOME',
    message: "Don't use process.env.",
  },
  {
    path: 'apps/server/src/words.ts',
    source: 'process.env.HOME',
    message: "Don't use process.env.",
  },
  { path: 'apps/server/src/main.ts', source: 'process.env.HOME' },
]
const wordedAt = worded.map((one) => ({ ...one, at: addLine(one.path, one.source) }))

let findings: Finding[]

beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), 'dowell-chat-walls-'))
  try {
    for (const name of ['biome.json', '.gitignore']) cpSync(join(root, name), join(folder, name))
    for (const [path, lines] of sources) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), `${lines.join('\n')}\n`)
    }
    const biome = join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome')
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [biome, 'lint', '--reporter=json', '--max-diagnostics=none', '.'],
      { cwd: folder, encoding: 'utf8' },
    )
    if (!stdout.startsWith('{')) throw new Error(`biome gave no report: ${stdout}${stderr}`)
    findings = (JSON.parse(stdout) as { diagnostics: Finding[] }).diagnostics
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

/** The texts of what would fail a check; notices would not. Unused imports are not what is looked at here. */
function errorsAt({ path, line }: { path: string; line: number }): string[] {
  return findings
    .filter(({ severity, location }) => {
      return severity === 'error' && location.path === path && location.start.line === line
    })
    .map(({ message }) => message)
    .filter((message) => !/unused/i.test(message))
}

describe('the walls of biome.json', () => {
  it.each(walled.filter(({ wall }) => wall !== undefined))(
    'refuses $specifier in $from',
    ({ at, wall }) => expect(errorsAt(at)).toContain(wall),
  )

  it.each(walled.filter(({ wall }) => wall === undefined))('allows $specifier in $from', ({ at }) =>
    expect(errorsAt(at)).toEqual([]),
  )

  it.each(wordedAt.filter(({ message }) => message !== undefined))(
    'refuses $source in $path',
    ({ at, message }) => expect(errorsAt(at)).toEqual([message]),
  )

  it.each(wordedAt.filter(({ message }) => message === undefined))(
    'allows $source in $path',
    ({ at }) => expect(errorsAt(at)).toEqual([]),
  )

  it('has a case for every wall', () => {
    const { overrides } = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'))
    const texts = JSON.stringify(overrides).matchAll(/"group":\[[^\]]*\],"message":"([^"]*)"/g)
    const written = new Set([...texts].map(([, text]) => text))
    expect(written).toEqual(new Set(cases.flatMap(([, , wall]) => wall ?? [])))
  })
})

/** What the linter cannot say. */
describe('the sources', () => {
  const sourceFiles = globSync('{packages,apps}/*/src/**/*.ts', { cwd: root }).map((path) => ({
    path: path.replaceAll('\\', '/'),
    text: readFileSync(join(root, path), 'utf8'),
  }))

  /** Statements that load packages/api when the client runs. */
  function valuesOfApi(text: string): string[] {
    const statements = text.match(/(^(?:import|export)\b[^'"]*|import\()['"]@dowell-chat\/api.*/gm)
    return (statements ?? []).filter((statement) => !/^(import|export) type\b/.test(statement))
  }

  it('import only types of packages/api into packages/client', () => {
    expect(valuesOfApi("import type { A } from '@dowell-chat/api'")).toEqual([])
    expect(valuesOfApi("export type {\n  A,\n} from '@dowell-chat/api'")).toEqual([])
    expect(valuesOfApi("import { type A } from '@dowell-chat/api'")).toHaveLength(1)
    expect(valuesOfApi("import {\n  errorTable,\n} from '@dowell-chat/api'")).toHaveLength(1)
    expect(valuesOfApi("import '@dowell-chat/api'")).toHaveLength(1)
    expect(valuesOfApi("const api = await import('@dowell-chat/api')")).toHaveLength(1)

    const client = sourceFiles.filter(({ path }) => path.startsWith('packages/client/src/'))
    const users = client.filter(({ text }) => text.includes('@dowell-chat/api'))
    expect(users).not.toEqual([])
    expect(users.flatMap(({ text }) => valuesOfApi(text))).toEqual([])
  })

  it('read the environment in main.ts and cli.ts and nowhere else', () => {
    const reads = /\bprocess\s*(\?\.|\.)\s*env\b|\bprocess\s*\[|node:process|=\s*process\b(?!\.)/
    expect('const { env } = process').toMatch(reads)
    expect('process.exitCode = 1').not.toMatch(reads)
    const readers = sourceFiles.filter(({ text }) => reads.test(text)).map(({ path }) => path)
    expect(readers).toEqual(['apps/server/src/cli.ts', 'apps/server/src/main.ts'])
  })
})
