import { chmodSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const results = join(root, 'bench', 'results')

/**
 * A folder for databases, removed at the end. Beside the results and not in the system's folder for temporary files,
 * which on many machines is memory: there a sync costs nothing, and syncs are what a write is made of.
 */
export function temporaryFolder(): Disposable & { readonly path: string } {
  mkdirSync(results, { recursive: true })
  const path = mkdtempSync(join(results, 'data-'))
  // A PostgreSQL in it runs as another user, who must find its own folder.
  chmodSync(path, 0o711)
  const remove = () => rmSync(path, { recursive: true, force: true })
  return { path, [Symbol.dispose]: remove }
}

export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path)
  return bavail * bsize
}
