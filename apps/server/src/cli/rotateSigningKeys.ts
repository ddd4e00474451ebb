import * as api from '@dowell-chat/api'
import { ConfigError, readConfig } from '../config.ts'
import { type Command, onDatabase } from './command.ts'

const rotate = onDatabase(async (_api, { now }, deps) => {
  // By a wrong clock of this machine, older keys would be deleted too early, or sign for longer.
  const time = await deps.db.clock?.()
  const clock = time === undefined ? deps.clock : () => time
  const id = await api.rotateSigningKeys({ ...deps, clock }, { endAll: now === true })
  return now
    ? `${id} signs from now on. All older keys are deleted: their tokens, and the streams that these opened, end\n`
    : `${id} signs from now on. Tokens that older keys have signed stay valid until they expire, a day at most. After a leak, end them: npm run cli -- signing-keys rotate --now\n`
})

/** @throws ConfigError when the settings have the keys: those in the database are not in use then */
export const rotateSigningKeys: Command = async (options, env) => {
  if (readConfig(env).TOKEN_SIGNING_KEYS.length > 0) {
    throw new ConfigError(
      'TOKEN_SIGNING_KEYS has the signing keys, so a rotation in the database would have no effect. Put a new key first in TOKEN_SIGNING_KEYS, and restart the servers. Remove the old key a day later, or at once if it has leaked',
    )
  }
  return rotate(options, env)
}
