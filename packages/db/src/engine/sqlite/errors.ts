import Sqlite from 'better-sqlite3'
import { DatabaseError } from '../errors.ts'

/** True for a result code and its extended codes. */
export function hasCode(error: unknown, code: string): boolean {
  if (!(error instanceof Sqlite.SqliteError)) return false
  return error.code === code || error.code.startsWith(`${code}_`)
}

/** What the file system refuses, in words; undefined for errors that the statement itself caused. */
const REFUSALS = {
  SQLITE_FULL: 'the disk is full',
  SQLITE_READONLY: 'the file cannot be written',
  SQLITE_IOERR: 'the disk reports an error',
  SQLITE_CANTOPEN: 'the file cannot be opened',
}

/** Converts an error of the file system, after which the same statement may succeed later. */
export function fromFileSystem(error: unknown): unknown {
  for (const [code, text] of Object.entries(REFUSALS)) {
    if (!hasCode(error, code)) continue
    return new DatabaseError('unavailable', `the database cannot be used: ${text}`, {
      cause: error,
    })
  }
  return error
}

/** The cause in words for an operator. */
export function explain(error: unknown, folder: string): string {
  const { code, message } = error as NodeJS.ErrnoException
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `this user may not write in ${folder}`
    case 'ENOTDIR':
    case 'EEXIST':
      return `${folder} is not a folder`
    case 'ENOENT':
      return `the folder ${folder} cannot be created`
    case 'SQLITE_CANTOPEN':
      return `no file can be created in ${folder}`
    case 'SQLITE_NOTADB':
      return 'the file is not an SQLite database'
    case 'SQLITE_BUSY':
      return 'another process holds it'
    default:
      return message
  }
}
