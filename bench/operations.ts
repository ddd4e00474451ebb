import { Buffer } from 'node:buffer'
import { createRandom, createTexts, PORTFOLIO, PRODUCT, type Seed, userAt } from './seed.ts'

/** Operations and their descriptions. */
export const operations = {
  R: 'newest 50 of a room',
  RC: 'R with If-None-Match, if the server sent an ETag',
  RS: 'R spread over the busy rooms',
  P: 'an older page of the same room, by cursor',
  PS: 'P spread over the busy rooms',
  L: 'newest 50 rooms of the organisation',
  CF: 'createRoom of an existing room',
  W: 'store one message',
  WR: 'W into the room of R',
  M: '80 % R and 20 % W, spread over the busy rooms',
  CN: 'createRoom of a new room',
} as const
export type Operation = keyof typeof operations

export type Protocol = 'v2' | 'v3' | 'trpc' | 'batch'

/** Calls per HTTP request of the protocol `batch`. */
const BATCH_SIZE = 10
const PAGE_SIZE = 50

export function callsPerRequest(protocol: Protocol): number {
  return protocol === 'batch' ? BATCH_SIZE : 1
}

/** A request in bytes, and its expected response. */
export interface PreparedRequest {
  readonly bytes: Buffer
  /** Offsets of the twelve digits that must be new in every request. */
  readonly counters: readonly number[]
  readonly statuses: readonly number[]
  /** Minimum size of the body. */
  readonly minBytes: number
}

/** Placeholder for a counter. */
const COUNTER = '000000000000'

const OK = [200, 201]

/** Writes new numbers into the counters of a request. */
export function renewCounters(request: PreparedRequest, number: () => number): void {
  for (const at of request.counters) {
    request.bytes.write(String(number()).padStart(COUNTER.length, '0'), at, 'latin1')
  }
}

/** A call, independent of the protocol. */
type Call =
  | { readonly name: 'createMessage'; readonly roomId: string; readonly text: string }
  | { readonly name: 'getMessages'; readonly roomId: string; readonly before?: string }
  | { readonly name: 'listRooms'; readonly orgId: string }
  | { readonly name: 'createRoom'; readonly orgId: string; readonly userId: string }

/** Prepares the requests of an operation, to be sent in a loop. Rooms and pages are the same in every run. */
export function prepareRequests(
  operation: Operation,
  protocol: Protocol,
  seed: Seed,
  /** ETag to send with RC; without it, RC equals R. */
  etag?: string,
): PreparedRequest[] {
  const random = createRandom(42)
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T
  const texts = createTexts(64)
  const read = (roomId: string) => ({ name: 'getMessages' as const, roomId })
  const write = (roomId: string): Call => ({ name: 'createMessage', roomId, text: pick(texts) })
  const { orgId, newOrgId, roomId, busyRoomIds } = seed
  /** A full page that ends in the middle half of a room, if the room is long enough. */
  const older = (room: string, messages: number): Call => {
    const [min, max] = [Math.max(PAGE_SIZE, messages / 4), Math.max(PAGE_SIZE, (messages * 3) / 4)]
    return { ...read(room), before: encodeCursor(Math.floor(min + random() * (max - min))) }
  }
  const plans: Record<Operation, { count: number; make: () => Call }> = {
    R: { count: 1, make: () => read(roomId) },
    RC: { count: 1, make: () => read(roomId) },
    RS: { count: 200, make: () => read(pick(busyRoomIds)) },
    P: { count: 2_000, make: () => older(roomId, seed.messages) },
    PS: { count: 2_000, make: () => older(pick(busyRoomIds), seed.busyMessages) },
    L: { count: 1, make: () => ({ name: 'listRooms', orgId }) },
    CF: {
      count: 200,
      make: () => ({
        name: 'createRoom',
        orgId,
        userId: userAt(1 + Math.floor(random() * seed.rooms)),
      }),
    },
    W: { count: 200, make: () => write(pick(busyRoomIds)) },
    WR: { count: 200, make: () => write(roomId) },
    M: {
      count: 1000,
      make: () => (random() < 0.8 ? read(pick(busyRoomIds)) : write(pick(busyRoomIds))),
    },
    CN: {
      count: 1,
      make: () => ({ name: 'createRoom', orgId: newOrgId, userId: `NEW${COUNTER}` }),
    },
  }
  const { count, make } = plans[operation]
  const key = operation === 'CN' ? seed.newKey : seed.key
  return Array.from({ length: count }, () => {
    const first = make()
    const calls = [first]
    // A batch contains only queries or only mutations.
    while (calls.length < callsPerRequest(protocol)) {
      const next = make()
      if (next.name === first.name) calls.push(next)
    }
    const head = [`Authorization: Bearer ${key}`]
    const isTagged = operation === 'RC' && etag !== undefined
    if (isTagged) head.push(`If-None-Match: ${etag}`)
    return encodeRequest(protocol, calls, head, isTagged)
  })
}

function encodeRequest(
  protocol: Protocol,
  calls: readonly Call[],
  head: string[],
  isUnchanged: boolean,
): PreparedRequest {
  const { method, path, body } = formatCalls(protocol, calls)
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: 127.0.0.1', 'Accept: application/json']
  if (body !== undefined) {
    lines.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`)
  }
  const bytes = Buffer.from(`${[...lines, ...head].join('\r\n')}\r\n\r\n${body ?? ''}`)
  const counters: number[] = []
  for (let at = bytes.indexOf(COUNTER); at >= 0; at = bytes.indexOf(COUNTER, at + COUNTER.length)) {
    counters.push(at)
  }
  const isPage = calls[0]?.name === 'getMessages' || calls[0]?.name === 'listRooms'
  return {
    bytes,
    counters,
    statuses: isUnchanged ? [304] : OK,
    minBytes: isUnchanged ? 0 : (isPage ? 5000 : 40) * calls.length,
  }
}

interface FormattedRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: string
}

function formatCalls(protocol: Protocol, calls: readonly Call[]): FormattedRequest {
  const [call] = calls as [Call]
  switch (protocol) {
    case 'v2':
      return formatV2(call)
    case 'v3':
      return formatV3(call)
    case 'trpc':
      return formatTrpc(call.name, '', { json: inputOf(call) })
    case 'batch': {
      const names = calls.map(({ name }) => name).join(',')
      const inputs = calls.map((each, index) => [index, { json: inputOf(each) }])
      return formatTrpc(names, 'batch=1', Object.fromEntries(inputs))
    }
  }
}

function formatV2(call: Call): FormattedRequest {
  switch (call.name) {
    case 'createMessage': {
      const { roomId: room_id, text: message_data } = call
      const message = { message_data, side: true, author: 'client', message_type: 'text' }
      return post('/api/v2/room-service/', { type: 'create_message', room_id, ...message })
    }
    case 'getMessages': {
      const { roomId: room_id, before } = call
      const page = before === undefined ? {} : { before }
      return get('/api/v2/room-service/', {
        type: 'get_messages',
        room_id,
        limit: PAGE_SIZE,
        ...page,
      })
    }
    case 'listRooms':
      return get('/api/v2/room-list/', { org_id: call.orgId, limit: PAGE_SIZE })
    case 'createRoom': {
      const names = { portfolio_name: PORTFOLIO, product_name: PRODUCT }
      return post('/api/v2/room-control/', { user_id: call.userId, org_id: call.orgId, ...names })
    }
  }
}

function formatV3(call: Call): FormattedRequest {
  const { roomId, ...input } = inputOf(call)
  switch (call.name) {
    case 'createMessage':
      return post(`/api/v3/rooms/${roomId}/messages`, input)
    case 'getMessages':
      return get(`/api/v3/rooms/${roomId}/messages`, input)
    case 'listRooms':
      return get('/api/v3/rooms', input)
    case 'createRoom':
      return post('/api/v3/rooms', input)
  }
}

function formatTrpc(names: string, query: string, input: unknown): FormattedRequest {
  const text = JSON.stringify(input)
  const path = `/trpc/${names}?${query}`
  return names.startsWith('create')
    ? { method: 'POST', path, body: text }
    : { method: 'GET', path: `${path}&input=${encodeURIComponent(text)}` }
}

/** Returns the input of a call for tRPC and REST v3. */
function inputOf(call: Call): Record<string, string | boolean> {
  switch (call.name) {
    case 'createMessage': {
      const { roomId, text } = call
      return { roomId, messageData: text, side: true, author: 'client', messageType: 'text' }
    }
    case 'getMessages':
      return { roomId: call.roomId, ...(call.before === undefined ? {} : { before: call.before }) }
    case 'listRooms':
      return { orgId: call.orgId }
    case 'createRoom': {
      const { orgId, userId } = call
      return { userId, orgId, portfolioName: PORTFOLIO, productName: PRODUCT }
    }
  }
}

function get(path: string, query: Record<string, string | number | boolean>): FormattedRequest {
  const text = new URLSearchParams(
    Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
  ).toString()
  return { method: 'GET', path: text === '' ? path : `${path}?${text}` }
}

function post(path: string, body: unknown): FormattedRequest {
  return { method: 'POST', path, body: JSON.stringify(body) }
}

/** Encodes a cursor after the message at this position, as every contender reads it. */
function encodeCursor(position: number): string {
  return Buffer.from(`m:${position}`).toString('base64url')
}

type Json = Record<string, unknown>

/**
 * Returns the essential content of a response in one format for all protocols, to compare contenders.
 *
 * @throws Error if it is not a correct response to the operation
 */
export function digestResponse(operation: Operation, protocol: Protocol, body: string): unknown {
  const parsed = JSON.parse(body) as Json | Json[]
  if (protocol === 'batch') {
    const results = parsed as Json[]
    expect(results.length === BATCH_SIZE, `${results.length} results for a batch of ${BATCH_SIZE}`)
    return results.map((each) => digestResult(operation, protocol, dataOf(each)))[0]
  }
  return digestResult(
    operation,
    protocol,
    protocol === 'trpc' ? dataOf(parsed as Json) : (parsed as Json),
  )
}

function dataOf(response: Json): Json {
  const { result } = response as { result?: { data: { json: Json } } }
  expect(result !== undefined, 'a tRPC response without a result')
  return (result as { data: { json: Json } }).data.json
}

function digestResult(operation: Operation, protocol: Protocol, result: Json): unknown {
  const isV2 = protocol === 'v2'
  switch (operation) {
    case 'R':
    case 'RC':
    case 'RS':
    case 'P':
    case 'PS':
    case 'M':
    case 'L': {
      const items = (isV2 ? (result.response ?? result.rooms) : result.items) as Json[] | undefined
      expect(items?.length === PAGE_SIZE, `a page of ${items?.length}`)
      // Contenders have written different numbers of messages by now.
      if (operation === 'M') return undefined
      return items?.map((item) =>
        isV2
          ? [item._id, item.message_data, item.created_at]
          : [item.id, item.messageData, item.createdAt],
      )
    }
    case 'W':
    case 'WR': {
      const stored = (isV2 ? result.response : result.message) as Json | undefined
      expect(Number.isInteger(stored?.seq), 'no stored message')
      return undefined
    }
    case 'CF':
    case 'CN': {
      const room = (isV2 ? result.response : result.room) as Json | undefined
      const created = isV2 ? result.message === 'Room created successfully' : result.created
      expect(created === (operation === 'CN'), `created is ${created}`)
      return operation === 'CN' ? undefined : (room?.id ?? room?._id)
    }
  }
}

/** Returns the keys of a value with their types; for a list, its distinct shapes. */
export function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return [...new Set(value.map((each) => JSON.stringify(shapeOf(each))))]
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, each]) => [key, shapeOf(each)]))
}

function expect(condition: boolean, text: string): void {
  if (!condition) throw new Error(text)
}
