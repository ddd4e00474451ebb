import { copyFileSync, constants as fileConstants, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { startPostgres } from '../packages/db/tests/postgresServer.ts'
import { runCli, type Seed } from './seed.ts'

/** Where the contenders' databases come from. */
export interface Databases extends AsyncDisposable {
  /** @returns the DATABASE_URL of a database with the rows of a seed, for a contender */
  create(seed: Seed, contender: string): Promise<string>
  /** The process of the database server; undefined where a contender is its own. */
  readonly pid: number | undefined
}

/** Each contender has a file of its own. */
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

/** All contenders use the seed itself, for seeds too large to copy. */
export const sharedFiles: Databases = {
  create: async (seed) => `sqlite:${seed.file}`,
  pid: undefined,
  async [Symbol.asyncDispose]() {},
}

/** Each contender has a database of its own on one PostgreSQL, which syncs its commits to disk. */
export async function postgresDatabases(folder: string, seed: Seed): Promise<Databases> {
  const server = await startPostgres({ folder, syncs: true })
  const urlOf = (database: string) => {
    const url = new URL(server.url)
    url.pathname = database
    return url.href
  }
  const at = async (url: string, ...statements: string[]) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    for (const statement of statements) await client.query(statement)
    await client.end()
  }
  try {
    const template = urlOf('template')
    await at(server.url, 'create database template')
    runCli(['copy', '--from', `sqlite:${seed.file}`, '--to', template])
    await at(template, 'vacuum analyze', 'checkpoint')
  } catch (error) {
    await server.stop()
    throw error
  }
  return {
    async create(_, contender) {
      await at(server.url, `create database "${contender}" template template`)
      return urlOf(contender)
    },
    pid: Number(readFileSync(join(server.folder, 'postmaster.pid'), 'utf8').split('\n')[0]),
    [Symbol.asyncDispose]: () => server.stop(),
  }
}
