import { existsSync, realpathSync } from 'node:fs'
import { chmod, chown, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import Sqlite from 'better-sqlite3'
import { createFile } from '../engine/sqlite/permissions.ts'

/** Why a file is not restored. The message is for the operator. */
export class RestoreError extends Error {
  override readonly name = 'RestoreError'
}

/**
 * Puts a copy of an SQLite database in the place of another. The copy has what the source's -wal has too. It is complete,
 * and keeps the owner and the mode of the file that it replaces.
 *
 * @param from the file to copy
 * @param to the file to replace; it may be missing
 * @param prepare called with the path of the copy before that takes its place; if it fails, nothing is replaced
 * @throws RestoreError when `from` is no database of this server, or is `to` itself; when a process has `to` open
 */
export async function restoreFile<Result>(
  from: string,
  to: string,
  prepare: (copy: string) => Promise<Result>,
): Promise<Result> {
  const source = await stat(from).catch(() => undefined)
  if (!source?.isFile() || source.size === 0) throw new RestoreError(`${from} is no database`)
  const file = existsSync(to) ? realpathSync(to) : to
  if (realpathSync(from) === file) {
    throw new RestoreError(`${from} is in place already; leave out --from`)
  }
  const copy = `${file}.restoring`
  const removeCopy = async () => {
    for (const suffix of ['', '-wal', '-shm', '-journal']) await rm(copy + suffix, { force: true })
  }
  // A restore that was killed may have left a copy, and its -wal would be applied to this one.
  await removeCopy()
  try {
    createFile(copy)
    await copyDatabase(from, copy)
    const result = await prepare(copy)
    const replaced = await stat(file).catch(() => undefined)
    if (replaced) {
      closeDatabase(file)
      await chmod(copy, replaced.mode & 0o777)
      if (process.getuid?.() === 0) await chown(copy, replaced.uid, replaced.gid)
    }
    await sync(copy)
    for (const suffix of ['-wal', '-shm']) await rm(file + suffix, { force: true })
    await rename(copy, file)
    await sync(dirname(file))
    return result
  } finally {
    await removeCopy()
  }
}

async function copyDatabase(from: string, copy: string): Promise<void> {
  const source = openDatabase(from)
  try {
    await source.backup(copy)
  } catch (cause) {
    throw new RestoreError(`${from} cannot be copied: ${(cause as Error).message}`, { cause })
  } finally {
    source.close()
  }
}

/** @throws RestoreError when a file has not the tables of this server */
function openDatabase(file: string): Sqlite.Database {
  let database: Sqlite.Database | undefined
  try {
    database = new Sqlite(file, { fileMustExist: true })
    database.prepare('select 1 from schema_migrations join rooms on false').all()
    return database
  } catch (cause) {
    database?.close()
    throw new RestoreError(`${file} is no database of this server: ${(cause as Error).message}`, {
      cause,
    })
  }
}

/** Folds the -wal into the file. Leaving its mode fails while another process has it open. A damaged file may be replaced. */
function closeDatabase(file: string): void {
  let database: Sqlite.Database | undefined
  try {
    database = new Sqlite(file, { timeout: 0 })
    database.pragma('journal_mode = delete')
  } catch (cause) {
    if (String((cause as { code?: unknown }).code).startsWith('SQLITE_BUSY')) {
      throw new RestoreError(`${file} is in use: stop all servers and other programs first`, {
        cause,
      })
    }
  } finally {
    database?.close()
  }
}

/** Writes a file or the names in a folder to the disk. Windows has no such call for a folder. */
async function sync(path: string): Promise<void> {
  if (process.platform === 'win32' && (await stat(path)).isDirectory()) return
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
