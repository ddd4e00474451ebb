import { readFile, writeFile } from 'node:fs/promises'
import { createOpenApiDocument, type OpenApiVersion } from '../packages/api/src/index.ts'

/** `write` renews the committed OpenAPI documents; `check` fails when they are not what the procedures say. */
const files: [OpenApiVersion, string][] = [
  ['3.1.0', 'openapi.json'],
  ['3.0.3', 'openapi-3.0.json'],
]

const check = process.argv[2] === 'check'
for (const [version, name] of files) {
  const file = new URL(`../packages/api/openapi/${name}`, import.meta.url)
  const wanted = `${JSON.stringify(createOpenApiDocument(version), null, 2)}\n`
  if (!check) await writeFile(file, wanted)
  else if ((await readFile(file, 'utf8').catch(() => '')) !== wanted) {
    console.error(
      `packages/api/openapi/${name} is not what the procedures say; renew it with: npm run openapi:write`,
    )
    process.exitCode = 1
  }
}
