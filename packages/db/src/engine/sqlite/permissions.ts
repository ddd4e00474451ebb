import { closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** Read or write, for the group and for everyone. */
const OTHERS = 0o066

/**
 * Creates a folder that only its owner can enter. mkdir with `recursive` never returns below a folder that accepts none,
 * such as /proc.
 */
export function createFolder(folder: string): void {
  if (existsSync(folder)) return
  createFolder(dirname(folder))
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another process may have created it.
    if (!existsSync(folder)) throw error
  }
}

/**
 * Creates an empty file that only its owner can read. SQLite gives the write-ahead log the mode of the database. It never
 * opens a file that exists: closing that would drop the locks that SQLite holds on it in this process.
 */
export function createFile(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** Warns of a file that other users of the machine can read, through all folders above it. */
export function findExposure(file: string): string | undefined {
  // Windows has no modes.
  if (process.platform === 'win32') return undefined
  const mode = statSync(file).mode & 0o777
  let exposed = mode & OTHERS
  for (let folder = dirname(file); exposed !== 0; folder = dirname(folder)) {
    const { mode: ofFolder } = statSync(folder)
    if ((ofFolder & 0o010) === 0) exposed &= ~0o060
    if ((ofFolder & 0o001) === 0) exposed &= ~0o006
    if (folder === dirname(folder)) break
  }
  if (exposed === 0) return undefined
  const octal = mode.toString(8).padStart(4, '0')
  return `other users of this machine can read the database ${file} (mode ${octal}), with all messages and signing keys: run chmod 600 ${file}*`
}
