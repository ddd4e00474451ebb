import { readFile, writeFile } from 'node:fs/promises'
import { callNames, createOpenApiDocument, operationNamed } from '../packages/api/src/index.ts'

// `write` writes the files that are generated from the list of operations; `check` fails when one is out of date.

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

const files: Record<string, string> = {
  'packages/api/openapi/openapi.json': json(createOpenApiDocument('3.1.0')),
  'packages/api/openapi/openapi-3.0.json': json(createOpenApiDocument('3.0.3')),
  'packages/client/src/operationKinds.ts': operationKinds(),
}

const isCheck = process.argv[2] === 'check'
for (const [path, contents] of Object.entries(files)) {
  const file = new URL(`../${path}`, import.meta.url)
  if (!isCheck) await writeFile(file, contents)
  else if ((await readFile(file, 'utf8').catch(() => '')) !== contents) {
    console.error(`${path} does not match the operations; renew it with: npm run build`)
    process.exitCode = 1
  }
}
