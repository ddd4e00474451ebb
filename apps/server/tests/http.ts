import { type Agent, type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { expect } from 'vitest'

/** Any JSON, for tests to look into. */
export interface Json {
  readonly [key: string]: Json
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The text as JSON; undefined when it is none. */
  readonly body: Json | undefined
}

/** Headers of a request; a list sends the header more than once. */
export type SentHeaders = Record<string, string | string[]>

export interface Outgoing {
  readonly path: string
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer | undefined
  /** Sends the body in chunks, without saying how long it is. */
  readonly chunked?: boolean
  /** Keeps connections; without one the request has its own. */
  readonly agent?: Agent
}

/** Sends one request as it is told to: fetch has opinions about methods, headers and bodies. */
export function send(
  { url }: { url: string },
  outgoing: Omit<Outgoing, 'headers'> & { readonly headers?: SentHeaders },
): Promise<Answer> {
  const { path, method = 'GET', headers = {}, body, chunked = false, agent = false } = outgoing
  const { hostname, port } = new URL(url)
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const framing: Record<string, string> = chunked
    ? { 'Transfer-Encoding': 'chunked' }
    : { 'Content-Length': String(bytes?.length) }
  return new Promise((resolve, reject) => {
    const req = request({
      hostname,
      port,
      path,
      method,
      agent,
      headers: { ...(bytes ? framing : {}), ...headers },
    })
    // A server may answer and close before it has read everything; then the answer counts.
    let answered = false
    req.on('error', (error) => answered || reject(error))
    req.on('response', (res) => {
      answered = true
      const parts: Buffer[] = []
      res.on('data', (part: Buffer) => parts.push(part))
      res.on('error', reject)
      res.on('end', () => {
        const text = Buffer.concat(parts).toString()
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text, body: parsed(text) })
      })
    })
    req.end(bytes)
  })
}

export function sendJson(
  app: { url: string },
  path: string,
  body: unknown,
  method = 'POST',
): Promise<Answer> {
  const headers = { 'Content-Type': 'application/json' }
  return send(app, { path, method, headers, body: JSON.stringify(body) })
}

/** Writes bytes to the server's port and answers what comes back until the server closes. */
export function raw(
  { url }: { url: string },
  bytes: string | Buffer,
  options: { hangUp?: boolean } = {},
): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname)
    const parts: Buffer[] = []
    socket.on('data', (part) => parts.push(part))
    // A reset is one way of closing; what came before it is the answer.
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(Buffer.concat(parts).toString()))
    socket.write(bytes)
    if (options.hangUp) socket.end()
  })
}

/** Reads what `raw` answered, when it is one response. */
export function parseRaw(text: string): Answer {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [start = '', ...lines] = head.split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  const body = rest.join('\r\n\r\n')
  return { status: Number(start.split(' ')[1]), headers, text: body, body: parsed(body) }
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export type Surface = 'v2' | 'v3' | 'trpc'

/** A failure as its surface tells it, checked in full. The names of a request's fields may be told, nothing internal. */
export function expectFailure(
  surface: Surface,
  answer: Answer,
  expected: { status?: number; code?: string; errors?: Record<string, unknown> } = {},
): void {
  const { status, headers, text, body } = answer
  if (expected.status !== undefined) expect(status, text).toBe(expected.status)
  expect(status, text).toBeGreaterThanOrEqual(400)
  expect(headers['content-type'], text).toMatch(/^application\/json\b/)
  expect(body, text).toBeTypeOf('object')
  // A batch whose calls all failed alike has their status, and a body for each.
  for (const part of Array.isArray(body) ? body : [body]) {
    const told = surface === 'trpc' ? toldByTrpc(part) : (part as Told)
    expect(told.code, text).toMatch(/^[A-Z]+(_[A-Z]+)*$/)
    expect(told.message, text).toMatch(/\w/)
    expect(told.requestId, text).toBe(headers['x-request-id'])
    if (surface === 'v2') expect(part, text).toMatchObject({ success: false })
    if (surface === 'trpc') expect(told.httpStatus, text).toBe(status)
    if (expected.code !== undefined) expect(told.code, text).toBe(expected.code)
    if (expected.errors !== undefined) expect(told.errors, text).toMatchObject(expected.errors)
    for (const texts of Object.values(told.errors ?? {})) {
      expect(texts, text).toEqual(expect.arrayContaining([expect.any(String)]))
    }
  }
  expect(text).not.toMatch(INTERNAL)
}

/** What only a stack trace or the text of an unexpected error would say. */
const INTERNAL =
  /\\n {4}at |node_modules|node:internal|\.m?[jt]s:\d|SQLITE|Sqlite|Kysely|ZodError|TRPCError|AppError|RangeError|TypeError|SyntaxError|Unexpected token|stack/

interface Told {
  code: string
  message: string
  requestId: string
  httpStatus?: number
  errors?: Record<string, string[]>
}

function toldByTrpc(body: Json | undefined): Told {
  const { message, data } = (body?.error?.json ?? {}) as unknown as { message: string; data: Told }
  return { ...data, message }
}
