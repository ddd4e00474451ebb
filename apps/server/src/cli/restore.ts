import { RestoreError, restoreFile, startEpoch } from '@dowell-chat/db'
import { readConfig } from '../config.ts'
import { type Command, onDatabase } from './command.ts'
import { UsageError } from './usage.ts'

const SQLITE = 'sqlite:'

const beginEpoch = onDatabase(async (_api, _options, { db }) => {
  const epoch = await db.write(startEpoch)
  return `Epoch ${epoch} has begun: readers with an older cursor are told to read again\n`
})

/** Puts a copy of an SQLite file in place, if one is named, and refuses all cursors from before. */
export const restore: Command = async (options, env) => {
  const { from } = options
  if (from === undefined) return beginEpoch(options, env)
  const { DATABASE_URL: url } = readConfig(env)
  if (!url.startsWith(SQLITE)) {
    throw new UsageError('--from is for SQLite; restore PostgreSQL with its own tools first')
  }
  try {
    // The epoch begins in the copy: the database is never in place with the old one.
    return await restoreFile(from, url.slice(SQLITE.length), (copy) =>
      beginEpoch(options, { DATABASE_URL: `${SQLITE}${copy}` }),
    )
  } catch (error) {
    throw error instanceof RestoreError ? new UsageError(error.message) : error
  }
}
