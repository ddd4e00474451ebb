import { Buffer } from 'node:buffer'
import { finished } from 'node:stream/promises'
import {
  AppError,
  assertNothingLost,
  findLosses,
  findOperation,
  hasFreeJson,
  toTrpcError,
} from '@dowell-chat/api'
import type { CreateContext } from '../caller/identity.ts'
import { createJsonTextReader } from '../core/body.ts'
import { challengeHeaders, MethodNotAllowedError } from '../core/errors.ts'
import {
  type HeaderList,
  jsonReply,
  type MessageReply,
  type Reply,
  type StreamReply,
} from '../core/reply.ts'
import type { HttpRequest } from '../core/request.ts'
import type { Transport } from '../core/transport.ts'
import { decodeUnreserved } from '../core/url.ts'
import { replyByAdapter } from './adapter.ts'
import { type CallFailure, callsOf, decodeName, executeCalls } from './calls.ts'
import { trpcErrorFormat } from './errorFormat.ts'

/** Opens a subscription. @returns undefined for any other request */
export type Subscribe = (
  request: HttpRequest,
  path: string,
  query: URLSearchParams,
) => Promise<StreamReply | undefined>

export interface TrpcOptions {
  readonly createContext: CreateContext
  /** Bytes. */
  readonly bodyLimit: number
  readonly subscribe: Subscribe
}

const METHODS = ['GET', 'POST']

/** One name, or several with commas: tRPC ignores what comes before the last slash. */
const PROCEDURES = /^\/[\w.,%-]*$/

/** Besides the Vary of every reply. */
const HEADERS: HeaderList = [
  'Cache-Control',
  'no-store',
  'Vary',
  'trpc-accept, accept',
  'Content-Type',
  'application/json',
]

/**
 * The procedures on tRPC's own wire, with superjson. Requests that are invalid as HTTP never reach tRPC: it would replace
 * invalid UTF-8 by U+FFFD, and answer some methods with a 500.
 */
export function trpc({ createContext, bodyLimit, subscribe }: TrpcOptions): Transport {
  const readBody = createJsonTextReader(bodyLimit)
  return {
    errorFormat: trpcErrorFormat,
    async serve(request): Promise<Reply> {
      const { method } = request
      if (method !== 'HEAD' && !METHODS.includes(method)) throw new MethodNotAllowedError(METHODS)
      const path = decodeUnreserved(request.path).slice('/trpc'.length)
      if (!PROCEDURES.test(path)) throw new AppError('NOT_FOUND')
      const names = path.slice(1)
      const query = new URLSearchParams(request.query)
      const subscription = await subscribe(request, names, query)
      if (subscription) return subscription
      const calls = callsOf(request.raw, names, query)
      let refusal: unknown
      const context = await createContext(request).catch((error: unknown) => {
        refusal = error
        return undefined
      })
      let text: string | undefined = query.get('input') ?? ''
      if (method === 'POST') {
        if (context) {
          text = await context.readRequest((meter) => readBody(request.raw, meter))
        } else {
          await discardBody(request)
          text = ''
        }
      }
      if (!context || !calls || text === undefined) {
        if (text) assertExactText(names, text)
        return replyByAdapter(request, {
          path: names,
          // tRPC answers a refused caller with an error for each call, and needs a body for that.
          contentType: context ? request.raw.headers['content-type'] : 'application/json',
          body: text,
          createContext: async () => context ?? Promise.reject(toTrpcError(refusal) ?? refusal),
          headers: context ? [] : challengeHeaders(refusal),
        })
      }
      const { status, body, failures } = await executeCalls(calls, text, context)
      await context.charge(Buffer.byteLength(body))
      const reply = jsonReply(status, body, HEADERS)
      return failures.length === 0 ? reply : withFailures(reply, failures)
    },
  }
}

/** Refuses the whole request: tRPC parses the text itself. @throws AppError BAD_REQUEST */
function assertExactText(names: string, text: string): void {
  const operations = decodeName(names).split(',').map(findOperation)
  if (!operations.some((operation) => operation && hasFreeJson(operation))) return
  if (isJson(text)) assertNothingLost(findLosses(text))
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function withFailures(reply: MessageReply, failures: readonly CallFailure[]): MessageReply {
  const fault = failures.findLast(({ publicError }) => publicError.status >= 500)
  const retryAfter = failures.findLast(({ publicError }) => publicError.retryAfter !== undefined)
    ?.publicError.retryAfter
  return {
    ...reply,
    headers:
      retryAfter === undefined
        ? reply.headers
        : [...reply.headers, 'Retry-After', String(retryAfter)],
    failure: fault?.error,
  }
}

/** @throws AppError BAD_REQUEST when the client leaves before the end */
async function discardBody({ raw }: HttpRequest): Promise<void> {
  await finished(raw.resume()).catch(() => undefined)
  if (!raw.complete) throw new AppError('BAD_REQUEST')
}
