import {
  AppError,
  type ErrorCode,
  errorTable,
  type PublicError,
  toPublicError,
} from '@dowell-chat/api'
import { type HeaderList, jsonReply, type MessageReply } from './reply.ts'
import type { HttpRequest } from './request.ts'

/** How a transport words a failure. REST v2 has its documented envelope, tRPC its own wire. */
export type ErrorFormat = (error: PublicError, requestId: string) => Record<string, unknown>

export const plainErrorFormat: ErrorFormat = ({ code, message, errors }, requestId) => ({
  code,
  message,
  requestId,
  ...(errors ? { errors } : {}),
})

/** 405. An OPTIONS request is answered with the same methods, and is no failure. */
export class MethodNotAllowedError extends AppError {
  readonly allow: string

  constructor(methods: Iterable<string>) {
    const listed = [...methods]
    const allow = [...listed, ...(listed.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
    super('METHOD_NOT_ALLOWED', { message: `This URL takes ${allow}` })
    this.allow = allow
  }
}

export function notFound(): AppError {
  return new AppError('NOT_FOUND', { message: 'There is nothing at this URL' })
}

/** The reply to a request that failed, in the words of its transport. */
export function toErrorReply(
  { id, method }: Pick<HttpRequest, 'id' | 'method'>,
  error: unknown,
  format: ErrorFormat,
): MessageReply {
  const refusal = replacedBy(error) ?? error
  const allow = refusal instanceof MethodNotAllowedError ? ['Allow', refusal.allow] : []
  if (method === 'OPTIONS' && refusal === error && allow.length > 0) {
    return { status: 204, headers: allow }
  }
  const publicError = fromHttpLibrary(error) ?? toPublicError(error)
  const { status, retryAfter } = publicError
  const { body, headers } = jsonReply(status, JSON.stringify(format(publicError, id)))
  return {
    status,
    headers: [
      ...headers,
      ...allow,
      ...challengeHeaders(error),
      ...(retryAfter === undefined ? [] : ['Retry-After', String(retryAfter)]),
    ],
    body,
    drainsRequest: true,
    ...(status >= 500 ? { failure: error } : {}),
  }
}

/** A 401 says which kind of credential is missing (RFC 9110, 11.6.1). */
export function challengeHeaders(error: unknown): HeaderList {
  const { code } = toPublicError(replacedBy(error) ?? error)
  return code === 'UNAUTHORIZED' ? ['WWW-Authenticate', 'Bearer realm="dowell-chat"'] : []
}

/** The refusal in whose place a 429 came. Its headers hold for the 429 as well. */
function replacedBy(error: unknown): AppError | undefined {
  if (!(error instanceof AppError) || error.code !== 'TOO_MANY_REQUESTS') return undefined
  return error.cause instanceof AppError ? error.cause : undefined
}

const codeOfStatus: Record<number, ErrorCode> = {
  413: 'PAYLOAD_TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
}

/** Failures of express and its body parsers, which carry a status and often a type. */
function fromHttpLibrary(error: unknown): PublicError | undefined {
  if (error instanceof AppError || !(error instanceof Error)) return undefined
  const { status: given, type } = error as { status?: unknown; type?: unknown }
  if (typeof given !== 'number' || given >= 500) return undefined
  const code =
    type === 'request.size.invalid' ? 'PARSE_ERROR' : (codeOfStatus[given] ?? 'BAD_REQUEST')
  const { status, text } = errorTable[code]
  return { code, status, message: text }
}
