import { createCaller, type Deps } from '@dowell-chat/api'
import pino from 'pino'
import { readConfig } from '../config.ts'
import { createDeps } from '../deps.ts'

export type Options = Record<
  'org' | 'right' | 'name' | 'id' | 'from' | 'to',
  string | undefined
> & {
  readonly now: boolean | undefined
}

/** @returns the text to print */
export type Command = (options: Options, env: NodeJS.ProcessEnv) => Promise<string>

export type Caller = ReturnType<typeof createCliCaller>

/** The procedures, called with the operator's access and without limits. */
function createCliCaller(deps: Deps) {
  return createCaller({
    deps,
    actor: { kind: 'open', via: 'cli' },
    address: 'cli',
    requestId: 'cli',
    spend: async () => undefined,
    charge: async () => undefined,
    payForReplay: async () => undefined,
  })
}

/** A command that works on the database that DATABASE_URL names. */
export function onDatabase(
  run: (api: Caller, options: Options, deps: Deps) => Promise<string>,
): Command {
  return async (options, env) => {
    const deps = createDeps(readConfig(env), pino({ level: 'silent' }))
    try {
      await deps.db.migrateToLatest()
      return await run(createCliCaller(deps), options, deps)
    } finally {
      deps.live.close()
      await deps.db.close()
    }
  }
}
