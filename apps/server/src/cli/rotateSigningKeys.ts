import * as api from '@dowell-chat/api'
import { onDatabase } from './command.ts'

export const rotateSigningKeys = onDatabase(
  async (_api, _options, deps) => `${await api.rotateSigningKeys(deps)} signs from now on\n`,
)
