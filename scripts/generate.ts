import { readFile, writeFile } from 'node:fs/promises'
import { callNames, createOpenApiDocument, operationNamed } from '../packages/api/src/index.ts'
import { type Checksums, migrationChecksums } from '../packages/db/src/index.ts'
import { checksums as recorded, released } from '../packages/db/src/migrations/checksums.ts'

// `write` writes the files that are generated from the operations and the migrations; `check` fails when one is out of
// date. `release` also marks every migration as released.

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/** Whether tRPC's client calls an operation by `query` or by `mutate`. */
function operationKinds(): string {
  const lines = callNames.toSorted().map((name) => {
    return `  ${name}: '${operationNamed(name).kind === 'query' ? 'query' : 'mutate'}',`
  })
  return `// Generated from the list of operations by \`npm run build\`. Do not edit.
export const operationKinds = {
${lines.join('\n')}
} as const
`
}

/** The checksums of all migrations. Those of released ones stay as they were recorded. */
function migrationRecord(all: Record<string, Checksums>): string {
  const newest = process.argv[2] === 'release' ? Object.keys(all).at(-1) : released
  const lines = Object.entries(all).map(([name, computed]) => {
    const { sqlite, postgres } = (name <= released && recorded[name]) || computed
    return `  '${name}': {
    sqlite: '${sqlite}',
    postgres: '${postgres}',
  },`
  })
  return `// Generated from the migrations by \`npm run build\`. Do not edit.
import type { Checksums } from './checksumOf.ts'

/** Migrations up to this one are released. Databases have run them, so they never change. */
export const released = '${newest}'

/** SHA-256 of the SQL of each migration. */
export const checksums: Readonly<Record<string, Checksums | undefined>> = {
${lines.join('\n')}
}
`
}

const computed = await migrationChecksums()
for (const [name, { sqlite, postgres }] of Object.entries(recorded as Record<string, Checksums>)) {
  if (name > released) continue
  if (computed[name]?.sqlite === sqlite && computed[name]?.postgres === postgres) continue
  console.error(
    `the migration ${name} is released and must not change; undo the change and write another migration`,
  )
  process.exitCode = 1
}

const files: Record<string, string> = {
  'packages/api/openapi/openapi.json': json(createOpenApiDocument('3.1.0')),
  'packages/api/openapi/openapi-3.0.json': json(createOpenApiDocument('3.0.3')),
  'packages/client/src/operationKinds.ts': operationKinds(),
  'packages/db/src/migrations/checksums.ts': migrationRecord(computed),
}

const isCheck = process.argv[2] === 'check'
for (const [path, contents] of Object.entries(files)) {
  const file = new URL(`../${path}`, import.meta.url)
  if (!isCheck) await writeFile(file, contents)
  else if ((await readFile(file, 'utf8').catch(() => '')) !== contents) {
    console.error(`${path} does not match its source; renew it with: npm run build`)
    process.exitCode = 1
  }
}
