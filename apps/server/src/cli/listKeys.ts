import { type Caller, onDatabase } from './command.ts'
import { required } from './usage.ts'

export const listKeys = onDatabase(async (api, { org }) => {
  const lines: string[] = []
  let before: string | undefined
  for (;;) {
    const page = await api.listApiKeys({ orgId: required(org, '--org'), limit: 200, before })
    lines.unshift(...page.items.map(describeKey))
    if (!page.hasBefore) return lines.join('')
    before = page.before
  }
})

function describeKey(key: Awaited<ReturnType<Caller['listApiKeys']>>['items'][number]): string {
  const state = key.revokedAt
    ? `revoked ${key.revokedAt.toISOString()}`
    : `last used ${key.lastUsedAt?.toISOString() ?? 'never'}`
  return `${key.id}  ${key.right.padEnd(7)}  ${state}  ${key.name}\n`
}
