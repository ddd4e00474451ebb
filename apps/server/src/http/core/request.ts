import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AuthFailure, Role } from '@dowell-chat/api'
import { QuotaHeaders } from './quotaHeaders.ts'

/** Who sent a request, as far as it is known by now. For the log. */
export interface RequestCaller {
  /** Behind trusted proxies. `unknown` if it is no IP address. */
  readonly address: string
  role?: Role
  orgId?: string
  /** The API key, or the one that issued the user token. */
  keyId?: string
  authFailure?: AuthFailure
}

/** One request, as the transports see it. */
export interface HttpRequest {
  readonly raw: IncomingMessage
  /** Also in the reply's X-Request-Id, in every error body and in the log. */
  readonly id: string
  readonly method: string
  /** The URL's path and query, still percent-encoded, without the `?`. */
  readonly path: string
  readonly query: string
  readonly quota: QuotaHeaders
  readonly caller: RequestCaller
  /** Resolves when the transport is done, even if the client has left. */
  readonly served: Promise<void>
  isAbandoned(): boolean
  /** Resolves when the reply was handed to the system, or the client has left. */
  whenSent(): Promise<void>
}

/**
 * @param address the caller's
 * @returns the request, and what resolves its `served`
 */
export function createRequest(
  raw: IncomingMessage,
  res: ServerResponse,
  address: string,
): { readonly request: HttpRequest; readonly markServed: () => void } {
  const { method = '', url = '' } = raw
  const sentId = raw.headers['x-request-id']
  const end = url.search(/[?#]/)
  const { promise: served, resolve: markServed } = Promise.withResolvers<void>()
  const request: HttpRequest = {
    raw,
    id: typeof sentId === 'string' && /^[\w.-]{1,64}$/.test(sentId) ? sentId : randomUUID(),
    method,
    path: end < 0 ? url : url.slice(0, end),
    query: url[end] === '?' ? url.slice(end + 1) : '',
    quota: new QuotaHeaders(),
    caller: { address },
    served,
    isAbandoned: () => res.closed || res.destroyed,
    whenSent: () => whenSent(res, served),
  }
  return { request, markServed }
}

export async function whenSent(res: ServerResponse, served: Promise<void>): Promise<void> {
  await served
  if (res.writableFinished || res.closed) return
  await new Promise<void>((resolve) => {
    res.once('finish', resolve)
    res.once('close', resolve)
  })
}

/** Every value of a header. Node's `headers` keeps one of several, and `headersDistinct` sorts them all. */
export function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const sent = rawHeaders[i] as string
    if (sent.length === name.length && sent.toLowerCase() === name) {
      values.push(rawHeaders[i + 1] as string)
    }
  }
  return values
}
