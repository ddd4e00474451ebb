import { Buffer } from 'node:buffer'
import { finished } from 'node:stream'
import {
  AppError,
  type ErrorCode,
  errorTable,
  type PublicError,
  toPublicError,
} from '@dowell-chat/api'
import { answer, handOver, type Outgoing, sendHead } from './request.ts'

/** How a surface words a failure. REST v2 has its documented envelope, tRPC its own wire. */
export type Dress = (error: PublicError, requestId: string) => Record<string, unknown>

export const plain: Dress = ({ code, message, errors }, requestId) => ({
  code,
  message,
  requestId,
  ...(errors ? { errors } : {}),
})

/** `{success: false, message, code, errors}`, with the documented names of the fields. */
export const envelope: Dress = (error, requestId) => {
  const { errors, ...rest } = plain(error, requestId) as { errors?: Record<string, string[]> }
  const named = errors && Object.entries(errors).map(([key, texts]) => [snakeCase(key), texts])
  return { success: false, ...rest, ...(named ? { errors: Object.fromEntries(named) } : {}) }
}

function snakeCase(name: string): string {
  return name.replace(/[a-z][A-Z]/g, ([a, b]) => `${a}_${b?.toLowerCase()}`)
}

/** Answers with a failure, in the words of the surface. The only place that does, outside tRPC's procedures. */
export function sendError(res: Outgoing, error: unknown): void {
  // Already answered, because the request took too long to arrive.
  if (res.headersSent) return
  // OPTIONS asks for nothing but the methods, and here they are.
  if (res.req.method === 'OPTIONS' && res.hasHeader('Allow')) {
    handOver(res)
    res.writeHead(204).end()
    return
  }
  const told = fromHttp(error) ?? toPublicError(error)
  if (told.status >= 500) noteFailure(res, error)
  if (told.retryAfter !== undefined) res.setHeader('Retry-After', told.retryAfter)
  const text = JSON.stringify(res.locals.dress(told, res.locals.id))
  if (res.req.complete) {
    answer(res, told.status, text)
    return
  }
  // The client is still sending. If the socket closed under it, it would meet a reset and never see the answer: so the
  // answer goes out now, and ends when the rest of the body was read and thrown away.
  sendHead(res, told.status, Buffer.byteLength(text))
  res.write(text)
  finished(res.req.resume(), () => res.end())
}

/** What went wrong, for the line that the log has of the request. */
export function noteFailure(res: Outgoing, error: unknown): void {
  res.locals.failure = error instanceof Error ? error : new Error(String(error))
}

const codeOfStatus: Record<number, ErrorCode> = {
  413: 'PAYLOAD_TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
}

/** Failures of express and its body parsers, which carry a status and often a type. */
function fromHttp(error: unknown): PublicError | undefined {
  if (error instanceof AppError || !(error instanceof Error)) return undefined
  const { status, type } = error as { status?: unknown; type?: unknown }
  if (typeof status !== 'number' || status >= 500) return undefined
  const code =
    type === 'request.size.invalid' ? 'PARSE_ERROR' : (codeOfStatus[status] ?? 'BAD_REQUEST')
  const { status: told, text } = errorTable[code]
  return { code, status: told, message: text }
}

/** 405 with the methods that there are. */
export function methodNotAllowed(res: Outgoing, allowed: Iterable<string>): AppError {
  const methods = [...allowed]
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
  res.setHeader('Allow', allow)
  return new AppError('METHOD_NOT_ALLOWED', { message: `This URL takes ${allow}` })
}

export function nothingHere(): AppError {
  return new AppError('NOT_FOUND', { message: 'There is nothing at this URL' })
}
