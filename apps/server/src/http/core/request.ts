import { Buffer } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dress } from './errors.ts'
import { bytesOf } from './utf8.ts'

export type Incoming = IncomingMessage

/** A response, and what the server knows of the request that it answers. */
export interface Outgoing extends ServerResponse<Incoming> {
  locals: Exchange
}

export interface Exchange {
  /** The request's id: in a header, in every error body and in the log. */
  readonly id: string
  /** The URL's path and query as they were sent, without what stands between. */
  readonly path: string
  readonly query: string
  /** How the surface words a failure. */
  dress: Dress
  /** Headers of every answer to this request: name, value, name, value. */
  headers: readonly string[]
  /** What the caller's budgets are, by name; told with the answer. */
  budgets?: Record<string, Budget>
  /** Resolves when the surface has done its work, whatever became of the connection. */
  served?: Promise<void>
  /** Bytes of the body that were read so far, as they are after decompression. */
  received?: number
  /** What went wrong, for the log. */
  failure?: Error
  /** Of an event stream: why it ended, and whether that is worth a warning. */
  streamEnd?: { readonly reason: string; readonly isFault: boolean }
  /** Set when somebody else than `answer` sends the headers: from then on each one must be in the response. */
  handedOver?: boolean
}

export interface Budget {
  readonly policy: string
  readonly state: string
}

/** How a surface serves a request: it answers, or throws what went wrong. */
export type Surface = (req: Incoming, res: Outgoing) => Promise<void> | void

const JSON_HEADERS = [
  'Cache-Control',
  'no-store',
  'Content-Type',
  'application/json; charset=utf-8',
] as const

/** Every value that a header was sent with. Node's `headers` keeps one of several, and `headersDistinct` sorts them all. */
export function valuesOf({ rawHeaders }: Incoming, name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const sent = rawHeaders[i] as string
    if (sent.length === name.length && sent.toLowerCase() === name) {
      values.push(rawHeaders[i + 1] as string)
    }
  }
  return values
}

/** Characters of a text whose bytes are made here: node itself has only the slow way for what is beyond Latin-1. */
const LONG = 4_096

/** Sends a whole answer, in JSON. */
export function answer(
  res: Outgoing,
  status: number,
  json: string | Buffer,
  headers: readonly string[] = JSON_HEADERS,
): void {
  const body = typeof json === 'string' && json.length >= LONG ? bytesOf(json) : json
  sendHead(res, status, Buffer.byteLength(body), headers)
  res.end(body)
}

/**
 * Sends the headers of an answer whose body is to follow. They go out in one list: set one by one they cost twice as
 * much. What was set in the response before stays, unless the list has it.
 *
 * @param length bytes of the body; undefined when there is none
 */
export function sendHead(
  res: Outgoing,
  status: number,
  length: number | undefined,
  headers: readonly string[] = JSON_HEADERS,
): void {
  const all = standing(res.locals)
  if (length !== undefined) all.push('Content-Length', String(length))
  all.push(...headers)
  res.writeHead(status, all)
}

/** Leaves the answer to a library that sets its headers in the response. */
export function handOver(res: Outgoing): void {
  const headers = standing(res.locals)
  for (let i = 0; i < headers.length; i += 2) {
    res.setHeader(headers[i] as string, headers[i + 1] as string)
  }
  res.locals.handedOver = true
}

/** Notes what a budget was and is, to be told with the answer. */
export function tellBudget(res: Outgoing, name: string, budget: Budget): void {
  const { locals } = res
  locals.budgets = { ...locals.budgets, [name]: budget }
  // A stream may have sent its headers before its last call is paid for.
  if (!locals.handedOver || res.headersSent) return
  const headers = budgetHeaders(locals.budgets)
  for (let i = 0; i < headers.length; i += 2) {
    res.setHeader(headers[i] as string, headers[i + 1] as string)
  }
}

function standing({ id, headers, budgets }: Exchange): string[] {
  const all = ['X-Request-Id', id, ...headers]
  return budgets ? all.concat(budgetHeaders(budgets)) : all
}

/** Both headers are lists. https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ */
function budgetHeaders(budgets: Record<string, Budget>): string[] {
  const told = Object.entries(budgets)
  return [
    'RateLimit-Policy',
    told.map(([name, { policy }]) => `"${name}";${policy}`).join(', '),
    'RateLimit',
    told.map(([name, { state }]) => `"${name}";${state}`).join(', '),
  ]
}
