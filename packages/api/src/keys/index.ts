import { createApiKeyProcedure } from './createApiKey.ts'
import { createUserTokenProcedure } from './createUserToken.ts'
import { listApiKeysProcedure } from './listApiKeys.ts'
import { revokeApiKeyProcedure } from './revokeApiKey.ts'

export const keyProcedures = {
  createApiKey: createApiKeyProcedure,
  listApiKeys: listApiKeysProcedure,
  revokeApiKey: revokeApiKeyProcedure,
  createUserToken: createUserTokenProcedure,
}
