import { type ConnectionOptions, parse } from 'pg-connection-string'
import { DatabaseError } from '../errors.ts'

const URL_HELP =
  'DATABASE_URL must name a PostgreSQL server as postgres://chat:password@db.example.com:5432/chat'

/** The parameters that have an effect here. Others of libpq would be ignored without a word. */
const PARAMETERS = [
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'application_name',
  'options',
  'host',
  'port',
  'user',
  'password',
]

/** With these libpq chooses one of several servers. */
const CHOOSES_SERVER = ['target_session_attrs', 'load_balance_hosts', 'hostaddr']

const ONE_SERVER =
  'DATABASE_URL must name one PostgreSQL server, because this server does not choose between several; for a cluster, name what always leads to its primary: a proxy such as HAProxy or PgBouncer, or a virtual address'

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
  refuseSeveralServers(url)
  for (const name of parametersOf(url).keys()) {
    if (PARAMETERS.includes(name)) continue
    throw new DatabaseError(
      'bad-url',
      `${URL_HELP}; the parameter ${name} is not supported; these are: ${PARAMETERS.join(', ')}`,
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

function parametersOf(url: string): URLSearchParams {
  return new URLSearchParams(/\?([^#]*)$/.exec(url)?.[1])
}

/** @throws DatabaseError `bad-url` */
function refuseSeveralServers(url: string): void {
  const parameters = parametersOf(url)
  const hosts = /^[a-z]+:\/\/(?:[^@/?#]*@)?([^@/?#]*)/.exec(url)?.[1] ?? ''
  const chosen = CHOOSES_SERVER.find((name) => parameters.has(name))
  if (chosen !== undefined) {
    throw new DatabaseError('bad-url', `${ONE_SERVER} (the parameter ${chosen} has no effect)`)
  }
  if (/,|%2c/i.test(hosts) || parameters.get('host')?.includes(',')) {
    throw new DatabaseError('bad-url', `${ONE_SERVER} (it names several hosts)`)
  }
}

/** The URL without its password. */
export function describeServer({ host, port, user, database }: ConnectionOptions): string {
  const name = host?.includes(':') ? `[${host}]` : (host ?? '')
  return `postgres://${user ? `${user}@` : ''}${name}${port ? `:${port}` : ''}/${database ?? ''}`
}
