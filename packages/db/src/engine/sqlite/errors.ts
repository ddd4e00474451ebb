import Sqlite from 'better-sqlite3'

/** True for a result code and its extended codes. */
export function hasCode(error: unknown, code: string): boolean {
  if (!(error instanceof Sqlite.SqliteError)) return false
  return error.code === code || error.code.startsWith(`${code}_`)
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
