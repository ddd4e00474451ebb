import { copyFileSync, constants as fileConstants, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { startPostgres } from '../packages/db/tests/postgresServer.ts'
import { runCli, type Seed } from './seed.ts'

/** Creates the contenders' databases. */
export interface Databases extends AsyncDisposable {
  /** Creates a database with the rows of a seed. @returns its DATABASE_URL */
  create(seed: Seed, contender: string): Promise<string>
  /** Process of the database server; undefined for SQLite. */
  readonly pid: number | undefined
}

/** Copies the seed for each contender. */
export function copiedFiles(folder: string): Databases {
  return {
    async create(seed, contender) {
      const file = join(folder, `${contender}-${seed.messages}.db`)
      copyFileSync(seed.file, file, fileConstants.COPYFILE_FICLONE)
      return `sqlite:${file}`
    },
    pid: undefined,
    async [Symbol.asyncDispose]() {},
  }
}

/** Lets all contenders use the seed itself, which may be too large to copy. */
export const sharedFiles: Databases = {
  create: async (seed) => `sqlite:${seed.file}`,
  pid: undefined,
  async [Symbol.asyncDispose]() {},
}

/** Starts a PostgreSQL that syncs its commits, with a database for each contender. */
export async function postgresDatabases(folder: string, seed: Seed): Promise<Databases> {
  const server = await startPostgres({ folder, syncs: true })
  const urlOf = (database: string) => {
    const url = new URL(server.url)
    url.pathname = database
    return url.href
  }
  const execute = async (url: string, ...statements: string[]) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    for (const statement of statements) await client.query(statement)
    await client.end()
  }
  try {
    const template = urlOf('template')
    await execute(server.url, 'create database template')
    runCli(['copy', '--from', `sqlite:${seed.file}`, '--to', template])
    await execute(template, 'vacuum analyze', 'checkpoint')
  } catch (error) {
    await server.stop()
    throw error
  }
  return {
    async create(_, contender) {
      await execute(server.url, `create database "${contender}" template template`)
      return urlOf(contender)
    },
    pid: Number(readFileSync(join(server.folder, 'postmaster.pid'), 'utf8').split('\n')[0]),
    [Symbol.asyncDispose]: () => server.stop(),
  }
}
