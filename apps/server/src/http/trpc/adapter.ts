import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import {
  appRouter,
  type Context,
  ReadBudget,
  streamNames,
  toPublicError,
  withRequestId,
} from '@dowell-chat/api'
import { resolveResponse } from '@trpc/server/http'
import { firstEvent } from '../core/firstEvent.ts'
import { type HeaderList, type Reply, readableReply } from '../core/reply.ts'
import type { HttpRequest } from '../core/request.ts'
import { decodeName, MAX_BATCH_SIZE } from './calls.ts'

export interface AdapterOptions {
  /** The names of the procedures, as the URL has them. */
  readonly path: string
  readonly contentType: string | undefined
  /** Undefined for a request without one. */
  readonly body: string | undefined
  /** Called only if tRPC needs it. */
  readonly createContext: () => Promise<Context>
  /** Added to tRPC's. */
  readonly headers: HeaderList
}

/** Falls back to tRPC's own handling for uncommon or malformed requests. It is complete, and slow. */
export async function replyByAdapter(
  request: HttpRequest,
  options: AdapterOptions,
): Promise<Reply> {
  const reads = new ReadBudget()
  let failure: unknown
  const response = await withRequestId(request.id, () =>
    resolveResponse({
      router: appRouter,
      req: toFetchRequest(request, options),
      path: options.path,
      error: null,
      createContext: async () => ({ ...(await options.createContext()), reads }),
      maxBatchSize: MAX_BATCH_SIZE,
      // The adapter would open a stream by POST, too, and miss when its client leaves.
      allowMethodOverride: !namesStream(options.path),
      responseMeta({ data, errors, eagerGeneration }) {
        const publicErrors = errors.map((error) => toPublicError(error))
        const { retryAfter } = publicErrors.find((error) => error.retryAfter !== undefined) ?? {}
        const [only] = data.length === 1 ? publicErrors : []
        return {
          headers: {
            'Cache-Control': 'no-store',
            // For a request that it cannot read tRPC would declare text.
            ...(eagerGeneration ? {} : { 'Content-Type': 'application/json' }),
            ...(retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) }),
          },
          // A batch with different statuses keeps tRPC's 207; a single failure has the status of our table.
          ...(only ? { status: only.status } : {}),
        }
      },
      onError({ error }) {
        if (toPublicError(error).status >= 500) failure = error
      },
    }),
  )
  const { status, body } = response
  // Node frames the body as the version of HTTP allows; tRPC would send chunks to HTTP/1.0 as well.
  response.headers.delete('Transfer-Encoding')
  const headers = [...[...response.headers].flat(), ...options.headers]
  if (!body) return { status, headers }
  // A streamed batch may fail later.
  const outcome = {
    get failure() {
      return failure
    },
  }
  const stream = Readable.fromWeb(body as ReadableStream)
  // The first call of a streamed batch has consumed quota by then, which the headers report.
  await firstEvent(stream, ['readable', 'end', 'error', 'close'])
  return readableReply(status, headers, stream, outcome)
}

function namesStream(path: string): boolean {
  return streamNames.some((name) => decodeName(path).includes(name))
}

function toFetchRequest(
  { raw, method }: HttpRequest,
  { contentType, body }: AdapterOptions,
): Request {
  const headers = new Headers()
  for (const [name, value = []] of Object.entries(raw.headers)) {
    for (const one of [value].flat()) headers.append(name, one)
  }
  headers.delete('content-type')
  if (method !== 'POST') return new Request(urlOf(raw), { method, headers })
  if (contentType !== undefined) headers.set('content-type', contentType)
  return new Request(urlOf(raw), { method, headers, ...(body === undefined ? {} : { body }) })
}

function urlOf({ url = '', headers }: HttpRequest['raw']): URL {
  return new URL(url, `http://${headers.host ?? 'localhost'}`)
}
