import { onDatabase } from './command.ts'
import { required } from './usage.ts'

export const revokeKey = onDatabase(async (api, { id }) => {
  const key = await api.revokeApiKey({ keyId: required(id, '--id') })
  return `${key.id} is revoked\n`
})
