import { Buffer } from 'node:buffer'
import { messageTexts, PORTFOLIO, PRODUCT, randomNumbers, type Seed, userAt } from './seed.ts'

export const operations = {
  R: 'newest 50 of a room',
  RC: 'R unchanged, with If-None-Match where the server sent a tag',
  RS: 'R spread over the busy rooms',
  P: 'an older page of the same room, by cursor',
  PS: 'P spread over the busy rooms',
  L: 'newest 50 rooms of the organisation',
  CF: 'createRoom, found',
  W: 'store one message',
  WR: 'W into the room that is read',
  M: '80 % R and 20 % W, spread over the busy rooms',
  CN: 'createRoom, new',
} as const
export type Operation = keyof typeof operations

export const wires = ['v2', 'v3', 'trpc', 'batch'] as const
export type Wire = (typeof wires)[number]

/** Calls in one HTTP request of the wire `batch`. */
export const BATCH = 10
export const PAGE = 50

export function callsPerRequest(wire: Wire): number {
  return wire === 'batch' ? BATCH : 1
}

/** One request, ready to be sent, and what its answer must be. */
export interface Shot {
  readonly bytes: Buffer
  /** Where twelve digits stand that must be new in every request. */
  readonly counters: readonly number[]
  readonly statuses: readonly number[]
  /** An answer with a shorter body is wrong. */
  readonly leastBytes: number
}

/** The twelve digits that a counter takes the place of. */
const COUNTER = '000000000000'

const OK = [200, 201]

/** Puts new numbers into a request. */
export function renew(shot: Shot, number: () => number): void {
  for (const at of shot.counters) {
    shot.bytes.write(String(number()).padStart(COUNTER.length, '0'), at, 'latin1')
  }
}

/** One call, whatever the wire. */
type Call =
  | { readonly name: 'createMessage'; readonly roomId: string; readonly text: string }
  | { readonly name: 'getMessages'; readonly roomId: string; readonly before?: string }
  | { readonly name: 'listRooms'; readonly orgId: string }
  | { readonly name: 'createRoom'; readonly orgId: string; readonly userId: string }

/**
 * The requests of an operation, to be sent in this order and over again. Which rooms and which pages they ask for is
 * the same in every run.
 */
export function shotsOf(
  operation: Operation,
  wire: Wire,
  seed: Seed,
  /** The entity tag to send with RC; without one, it is R. */
  etag?: string,
): Shot[] {
  const random = randomNumbers(42)
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T
  const texts = messageTexts(64)
  const read = (roomId: string) => ({ name: 'getMessages' as const, roomId })
  const write = (roomId: string): Call => ({ name: 'createMessage', roomId, text: pick(texts) })
  const { orgId, newOrgId, roomId, busyRoomIds } = seed
  /** A page that ends somewhere in the middle half of a room, or above where it would not be full. */
  const older = (room: string, messages: number): Call => {
    const [least, most] = [Math.max(PAGE, messages / 4), Math.max(PAGE, (messages * 3) / 4)]
    return { ...read(room), before: cursor(Math.floor(least + random() * (most - least))) }
  }
  const makers: Record<Operation, { count: number; make: () => Call }> = {
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
  const { count, make } = makers[operation]
  const key = operation === 'CN' ? seed.newKey : seed.key
  return Array.from({ length: count }, () => {
    const first = make()
    const calls = [first]
    // The calls of a batch are of one kind: it is either a query or a mutation.
    while (calls.length < callsPerRequest(wire)) {
      const next = make()
      if (next.name === first.name) calls.push(next)
    }
    const head = [`Authorization: Bearer ${key}`]
    const isTagged = operation === 'RC' && etag !== undefined
    if (isTagged) head.push(`If-None-Match: ${etag}`)
    return shotOf(wire, calls, head, isTagged)
  })
}

function shotOf(wire: Wire, calls: readonly Call[], head: string[], unchanged: boolean): Shot {
  const { method, path, body } = describe(wire, calls)
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: 127.0.0.1', 'Accept: application/json']
  if (body !== undefined) {
    lines.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`)
  }
  const bytes = Buffer.from(`${[...lines, ...head].join('\r\n')}\r\n\r\n${body ?? ''}`)
  const counters: number[] = []
  for (let at = bytes.indexOf(COUNTER); at >= 0; at = bytes.indexOf(COUNTER, at + COUNTER.length)) {
    counters.push(at)
  }
  const long = calls[0]?.name === 'getMessages' || calls[0]?.name === 'listRooms'
  return {
    bytes,
    counters,
    statuses: unchanged ? [304] : OK,
    leastBytes: unchanged ? 0 : (long ? 5000 : 40) * calls.length,
  }
}

interface Description {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: string
}

function describe(wire: Wire, calls: readonly Call[]): Description {
  const [call] = calls as [Call]
  switch (wire) {
    case 'v2':
      return describeV2(call)
    case 'v3':
      return describeV3(call)
    case 'trpc':
      return describeTrpc(call.name, '', { json: inputOf(call) })
    case 'batch': {
      const names = calls.map(({ name }) => name).join(',')
      const inputs = calls.map((each, index) => [index, { json: inputOf(each) }])
      return describeTrpc(names, 'batch=1', Object.fromEntries(inputs))
    }
  }
}

function describeV2(call: Call): Description {
  switch (call.name) {
    case 'createMessage': {
      const { roomId: room_id, text: message_data } = call
      const message = { message_data, side: true, author: 'client', message_type: 'text' }
      return post('/api/v2/room-service/', { type: 'create_message', room_id, ...message })
    }
    case 'getMessages': {
      const { roomId: room_id, before } = call
      const place = before === undefined ? {} : { before }
      return get('/api/v2/room-service/', { type: 'get_messages', room_id, limit: PAGE, ...place })
    }
    case 'listRooms':
      return get('/api/v2/room-list/', { org_id: call.orgId, limit: PAGE })
    case 'createRoom': {
      const names = { portfolio_name: PORTFOLIO, product_name: PRODUCT }
      return post('/api/v2/room-control/', { user_id: call.userId, org_id: call.orgId, ...names })
    }
  }
}

function describeV3(call: Call): Description {
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

function describeTrpc(names: string, query: string, input: unknown): Description {
  const text = JSON.stringify(input)
  const path = `/trpc/${names}?${query}`
  return names.startsWith('create')
    ? { method: 'POST', path, body: text }
    : { method: 'GET', path: `${path}&input=${encodeURIComponent(text)}` }
}

/** A call's input in the names of tRPC and REST v3. */
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

function get(path: string, query: Record<string, string | number | boolean>): Description {
  const text = new URLSearchParams(
    Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
  ).toString()
  return { method: 'GET', path: text === '' ? path : `${path}?${text}` }
}

function post(path: string, body: unknown): Description {
  return { method: 'POST', path, body: JSON.stringify(body) }
}

/** A cursor that lies after the message at this position, as every contender reads it. */
function cursor(position: number): string {
  return Buffer.from(`m:${position}`).toString('base64url')
}

type Json = Record<string, unknown>

/**
 * What an answer says, in one form for all wires, so that those of two contenders can be compared.
 *
 * @throws Error when the answer is not what the operation must be answered with
 */
export function digest(operation: Operation, wire: Wire, body: string): unknown {
  const parsed = JSON.parse(body) as Json | Json[]
  if (wire === 'batch') {
    const answers = parsed as Json[]
    expect(answers.length === BATCH, `${answers.length} answers to a batch of ${BATCH}`)
    return answers.map((answer) => digestOne(operation, wire, dataOf(answer)))[0]
  }
  return digestOne(operation, wire, wire === 'trpc' ? dataOf(parsed as Json) : (parsed as Json))
}

function dataOf(answer: Json): Json {
  const { result } = answer as { result?: { data: { json: Json } } }
  expect(result !== undefined, 'a tRPC answer without a result')
  return (result as { data: { json: Json } }).data.json
}

function digestOne(operation: Operation, wire: Wire, answer: Json): unknown {
  const v2 = wire === 'v2'
  switch (operation) {
    case 'R':
    case 'RC':
    case 'RS':
    case 'P':
    case 'PS':
    case 'M':
    case 'L': {
      const items = (v2 ? (answer.response ?? answer.rooms) : answer.items) as Json[] | undefined
      expect(items?.length === PAGE, `a page of ${items?.length}`)
      // By now each contender has written to the rooms as fast as it can.
      if (operation === 'M') return undefined
      return items?.map((item) =>
        v2
          ? [item._id, item.message_data, item.created_at]
          : [item.id, item.messageData, item.createdAt],
      )
    }
    case 'W':
    case 'WR': {
      const stored = (v2 ? answer.response : answer.message) as Json | undefined
      expect(Number.isInteger(stored?.seq), 'no stored message')
      return undefined
    }
    case 'CF':
    case 'CN': {
      const room = (v2 ? answer.response : answer.room) as Json | undefined
      const created = v2 ? answer.message === 'Room created successfully' : answer.created
      expect(created === (operation === 'CN'), `created is ${created}`)
      return operation === 'CN' ? undefined : (room?.id ?? room?._id)
    }
  }
}

/** The keys of an answer with the types of their values; of a list, the shapes that are in it. */
export function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return [...new Set(value.map((each) => JSON.stringify(shapeOf(each))))]
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, each]) => [key, shapeOf(each)]))
}

function expect(condition: boolean, text: string): void {
  if (!condition) throw new Error(text)
}
