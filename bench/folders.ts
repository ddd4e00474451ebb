import { chmodSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const results = join(root, 'bench', 'results')

/**
 * Creates a folder for databases, and removes it on disposal. It is next to the results because the system's folder for
 * temporary files is often in memory, where the sync of a write costs nothing.
 */
export function createTemporaryFolder(): Disposable & { readonly path: string } {
  mkdirSync(results, { recursive: true })
  const path = mkdtempSync(join(results, 'data-'))
  // PostgreSQL may run as another user, which must reach its folder.
  chmodSync(path, 0o711)
  const remove = () => rmSync(path, { recursive: true, force: true })
  return { path, [Symbol.dispose]: remove }
}

export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path)
  return bavail * bsize
}
