import { mkdirSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { root } from './folders.ts'

let pending: Promise<string> | undefined

/** Bundles this server, once per process. @returns the file */
export function buildBundle(folder: string): Promise<string> {
  pending ??= bundle(join(folder, 'bundle'))
  return pending
}

/** Packages that load files next to themselves, with the package that depends on each. */
const EXTERNAL = {
  'better-sqlite3': join(root, 'packages', 'db', 'package.json'),
  'swagger-ui-dist': join(root, 'apps', 'server', 'package.json'),
}

async function bundle(folder: string): Promise<string> {
  const outfile = join(folder, 'main.mjs')
  mkdirSync(join(folder, 'node_modules'), { recursive: true })
  for (const [name, from] of Object.entries(EXTERNAL)) {
    const main = createRequire(from).resolve(`${name}/package.json`)
    symlinkSync(dirname(main), join(folder, 'node_modules', name), 'junction')
  }
  await build({
    entryPoints: [join(root, 'apps', 'server', 'src', 'main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    external: Object.keys(EXTERNAL),
    // Bundled CommonJS code requires Node's modules.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  })
  return outfile
}
