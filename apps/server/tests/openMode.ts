import { expect } from 'vitest'
import { request } from './sockets.ts'
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

export async function createKey(app: TestApp): Promise<{ secret: string; apiKey: { id: string } }> {
  const answer = await request(`${app.url}/api/v3/api-keys`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ orgId: 'DOWELL12345', right: 'admin' }),
  })
  expect(answer.status).toBe(201)
  return answer.json
}
