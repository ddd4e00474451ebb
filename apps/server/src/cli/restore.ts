import { chmod, copyFile, rename, rm, stat } from 'node:fs/promises'
import { startEpoch } from '@dowell-chat/db'
import { readConfig } from '../config.ts'
import { type Command, onDatabase } from './command.ts'
import { UsageError } from './usage.ts'

const SQLITE = 'sqlite:'

const beginEpoch = onDatabase(async (_api, _options, { db }) => {
  const epoch = await db.write(startEpoch)
  return `Epoch ${epoch} has begun: readers with an older cursor are told to read again\n`
})

const noOptions = {} as Parameters<Command>[0]

/** Puts a copy of an SQLite file in place, if one is named, and refuses all cursors from before. */
export const restore: Command = async (options, env) => {
  const { from } = options
  if (from !== undefined) await replaceFile(from, readConfig(env).DATABASE_URL)
  return beginEpoch(options, env)
}

/** The copy is complete before it takes the file's place, and the old file's -wal does not belong to it. */
async function replaceFile(from: string, url: string): Promise<void> {
  if (!url.startsWith(SQLITE)) {
    throw new UsageError('--from is for SQLite; restore PostgreSQL with its own tools first')
  }
  const file = url.slice(SQLITE.length)
  const copy = `${file}.restoring`
  try {
    const { size } = await stat(from).catch(() => ({ size: 0 }))
    if (size === 0) throw new UsageError(`--from must be a copy of the database; ${from} is none`)
    await copyFile(from, copy)
    await chmod(copy, 0o600)
    // Fails for a file that is no database of this server, while the present one is still in place.
    await onDatabase(async () => '')(noOptions, { DATABASE_URL: `${SQLITE}${copy}` })
    for (const suffix of ['-wal', '-shm']) await rm(file + suffix, { force: true })
    await rename(copy, file)
  } finally {
    for (const suffix of ['', '-wal', '-shm']) await rm(copy + suffix, { force: true })
  }
}
