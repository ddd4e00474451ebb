import { type Answer, request } from './sockets.ts'
import { documentedRoom, type TestApp } from './support.ts'

export const ROOMS = '/api/v3/rooms?orgId=DOWELL12345'
export const V2_ROOM = '/api/v2/room-control/'
export const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' }
export const form = new URLSearchParams(documentedRoom).toString()

/** One request for each surface that a caller without a credential might come by. */
export const surfaces = [
  ['REST v3', ROOMS],
  ['REST v2', '/api/v2/room-list/?org_id=DOWELL12345'],
  ['tRPC', `/trpc/listRooms?input=${encodeURIComponent('{"json":{"orgId":"DOWELL12345"}}')}`],
  [
    'a tRPC batch',
    `/trpc/listRooms,listRooms?batch=1&input=${encodeURIComponent('{"0":{"json":{"orgId":"DOWELL12345"}},"1":{"json":{"orgId":"DOWELL12345"}}}')}`,
  ],
] as const

/** The message of an error, whatever surface told it. */
export function messageOf(body: unknown): string {
  const error = Array.isArray(body) ? body[0] : body
  return error?.error?.json?.message ?? error?.message ?? error?.error?.message
}

export async function roomsOf(app: TestApp): Promise<unknown[]> {
  return (await request(`${app.url}${ROOMS}`)).json.items
}

/** Every request that manages keys and tokens, over REST v3 and tRPC, alone and in a batch, without a credential. */
export async function manageKeys(
  url: string,
  options: { localAddress?: string; headers?: Record<string, string> } = {},
  keyId = '0'.repeat(24),
): Promise<Answer[]> {
  const orgId = 'DOWELL12345'
  const reads = { listApiKeys: { orgId }, listAuditEvents: { orgId } }
  const writes = {
    createApiKey: { orgId, right: 'admin' },
    createUserToken: { orgId, userId: 'a', side: true },
    revokeApiKey: { keyId },
  }
  const input = (value: unknown) => encodeURIComponent(JSON.stringify(value))
  const requests: [method: string, path: string, body?: unknown][] = [
    ['POST', '/api/v3/api-keys', writes.createApiKey],
    ['POST', '/api/v3/user-tokens', writes.createUserToken],
    ['DELETE', `/api/v3/api-keys/${keyId}`],
    ['GET', `/api/v3/api-keys?orgId=${orgId}`],
    ['GET', `/api/v3/audit-events?orgId=${orgId}`],
    ...Object.entries(writes).flatMap(([name, json]): typeof requests => [
      ['POST', `/trpc/${name}`, { json }],
      ['POST', `/trpc/${name}?batch=1`, { 0: { json } }],
    ]),
    ...Object.entries(reads).flatMap(([name, json]): typeof requests => [
      ['GET', `/trpc/${name}?input=${input({ json })}`],
      ['GET', `/trpc/${name}?batch=1&input=${input({ 0: { json } })}`],
    ]),
  ]
  const answers = requests.map(([method, path, body]) =>
    request(`${url}${path}`, {
      ...options,
      method,
      headers: { 'Content-Type': 'application/json', ...options.headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }),
  )
  return await Promise.all(answers)
}
