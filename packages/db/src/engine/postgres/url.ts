import { type ConnectionOptions, parse } from 'pg-connection-string'
import { DatabaseError } from '../errors.ts'

const URL_HELP =
  'DATABASE_URL must name a PostgreSQL server as postgres://chat:password@db.example.com:5432/chat'

/** None of these falls back to an unencrypted connection, as some of libpq do. */
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full']

/** @throws DatabaseError `bad-url` */
export function readUrl(url: string): ConnectionOptions {
  // Do not repeat the URL in errors: a misplaced part may belong to the password.
  if (!/^postgres(?:ql)?:\/\/(?:[^@/?#]*@)?[^@/?#]*(?:\/[^@/?#]*)?(?:\?[^@#]*)?$/.test(url)) {
    throw new DatabaseError(
      'bad-url',
      `${URL_HELP}; of other characters than letters and digits in a name or password, write the percent code`,
    )
  }
  let config: ConnectionOptions
  try {
    config = parse(url, { useLibpqCompat: true })
  } catch (error) {
    // Drop the cause, which may repeat the URL.
    const { code } = error as NodeJS.ErrnoException
    throw new DatabaseError(
      'bad-url',
      code === 'ENOENT' || code === 'EACCES'
        ? `${URL_HELP}; a certificate that it names cannot be read`
        : /verify-ca/.test(String(error))
          ? `${URL_HELP}; sslmode=verify-ca needs sslrootcert`
          : URL_HELP,
    )
  }
  const mode = config.sslmode
  if (mode !== undefined && !SSL_MODES.includes(String(mode))) {
    throw new DatabaseError(
      'bad-url',
      `${URL_HELP}; sslmode must be one of ${SSL_MODES.join(', ')}`,
    )
  }
  return config
}

/** The URL without its password. */
export function describeServer({ host, port, user, database }: ConnectionOptions): string {
  const name = host?.includes(':') ? `[${host}]` : (host ?? '')
  return `postgres://${user ? `${user}@` : ''}${name}${port ? `:${port}` : ''}/${database ?? ''}`
}
