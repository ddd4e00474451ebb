import type { rights } from '@dowell-chat/api'
import { onDatabase } from './command.ts'
import { required } from './usage.ts'

export const createKey = onDatabase(async (api, { org, right, name }) => {
  const { secret } = await api.createApiKey({
    orgId: required(org, '--org'),
    right: required(right, '--right') as (typeof rights)[number],
    ...(name === undefined ? {} : { name }),
  })
  return `${secret}\n`
})
