import { Buffer } from 'node:buffer'
import type { ServerResponse } from 'node:http'
import { finished, pipeline, type Readable } from 'node:stream'
import { finished as whenFinished } from 'node:stream/promises'
import type { HttpRequest } from './request.ts'
import { toUtf8 } from './utf8.ts'

/** Names and values in turn: Node writes such a list at half the cost of headers set one by one. */
export type HeaderList = readonly string[]

export interface StreamEnd {
  readonly reason: string
  /** Whether the log warns of it. */
  readonly isFault: boolean
}

/** The part of a reply that is logged. Read when the response closes: a stream learns its end late. */
export interface Outcome {
  readonly failure?: unknown
  readonly streamEnd?: StreamEnd | undefined
}

/** A reply with a body, or with none. */
export interface MessageReply extends Outcome {
  readonly status: number
  readonly headers: HeaderList
  readonly body?: string | Buffer | undefined
  /** Whether the reply ends only when the request's body was read: closing earlier would reset the connection. */
  readonly drainsRequest?: boolean
}

/** A reply whose body is written as it comes. */
export interface StreamReply {
  readonly status: number
  readonly headers: HeaderList
  /** Writes the body after the headers, and ends the response. */
  start(res: ServerResponse): Outcome
  /** Called instead of `start` when nobody reads the body. */
  cancel(): Outcome
  /** Resolves when the body is made, if that is work which the request still counts for. */
  readonly done?: Promise<void>
}

/** Leaves the response to a library. It has the default headers already. */
export interface DelegatedReply {
  /** Resolves when the response is closed. Rejects with what the caller is to answer. */
  delegate(res: ServerResponse): Promise<void>
}

export type Reply = MessageReply | StreamReply | DelegatedReply

/** The headers of JSON that is not stored: of writes and errors. */
export const noStoreJson: HeaderList = [
  'Cache-Control',
  'no-store',
  'Content-Type',
  'application/json; charset=utf-8',
]

/** From this length on, `toUtf8` is faster than Node's own conversion. */
const LONG_CHARS = 4_096

export function jsonReply(
  status: number,
  json: string | Buffer,
  headers: HeaderList = noStoreJson,
): MessageReply {
  const body = typeof json === 'string' && json.length >= LONG_CHARS ? toUtf8(json) : json
  return { status, headers, body }
}

/** A reply with a body that a stream makes, sent in chunks. */
export function readableReply(
  status: number,
  headers: HeaderList,
  body: Readable,
  outcome: Outcome,
): StreamReply {
  return {
    status,
    headers,
    start(res) {
      // A failure closes the connection, which is all that the client can still be shown.
      pipeline(body, res, () => undefined)
      return outcome
    },
    cancel() {
      body.destroy()
      return outcome
    },
    done: whenFinished(body).catch(() => undefined),
  }
}

/** Writes a reply, unless the request was answered meanwhile. The only place that sends headers. */
export function writeReply(
  res: ServerResponse,
  request: HttpRequest,
  defaultHeaders: HeaderList,
  reply: MessageReply | StreamReply,
): Outcome {
  if (res.headersSent) {
    if ('cancel' in reply) reply.cancel()
    return {}
  }
  const { status, headers } = reply
  const all = ['X-Request-Id', request.id, ...defaultHeaders]
  request.quota.appendTo(all)
  if ('cancel' in reply) {
    res.writeHead(status, all.concat(headers))
    if (request.method !== 'HEAD' && !res.destroyed) return reply.start(res)
    const outcome = reply.cancel()
    res.end()
    return outcome
  }
  const { body } = reply
  if (body !== undefined) all.push('Content-Length', String(Buffer.byteLength(body)))
  all.push(...headers)
  res.writeHead(status, all)
  if (reply.drainsRequest && !request.raw.complete) {
    res.write(body)
    finished(request.raw.resume(), () => res.end())
  } else res.end(body)
  return reply
}

/** Gives a library the response with the headers that every reply has. */
export function delegateReply(
  res: ServerResponse,
  request: HttpRequest,
  defaultHeaders: HeaderList,
  reply: DelegatedReply,
): Promise<void> {
  const headers = ['X-Request-Id', request.id, ...defaultHeaders]
  request.quota.appendTo(headers)
  for (let i = 0; i < headers.length; i += 2) {
    res.setHeader(headers[i] as string, headers[i + 1] as string)
  }
  return reply.delegate(res)
}
