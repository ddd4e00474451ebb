import { AppError, errorTable, type PublicError, toPublicError } from '@dowell-chat/api'
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express'

/** How a surface words a failure. REST v2 has its documented envelope. */
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

/** Words every failure of the requests that it sees, whatever it is that fails: an unknown URL too. */
export function wordedAs(dress: Dress): RequestHandler {
  return (_req, res, next) => {
    res.locals.dress = dress
    next()
  }
}

/** Answers with a failure. The only place that does, outside tRPC's own wire. */
export function sendError(res: Response, error: unknown): void {
  const told = fromHttp(error) ?? toPublicError(error)
  if (told.status >= 500) res.locals.failure = error
  if (told.retryAfter !== undefined) res.setHeader('Retry-After', told.retryAfter)
  // What was not read of a refused body must not be taken for the next request.
  if (!res.req.complete) res.setHeader('Connection', 'close')
  res.setHeader('Cache-Control', 'no-store')
  const dress: Dress = res.locals.dress ?? plain
  res.status(told.status).json(dress(told, requestIdOf(res)))
}

export function requestIdOf(res: Response): string {
  return String(res.req.id)
}

/** Failures of express and its body parsers, which carry a status and often a type. */
function fromHttp(error: unknown): PublicError | undefined {
  if (error instanceof AppError || !(error instanceof Error)) return undefined
  const { status, type } = error as { status?: unknown; type?: unknown }
  if (typeof status !== 'number' || status >= 500) return undefined
  const code =
    type === 'entity.parse.failed' || type === 'request.size.invalid'
      ? 'PARSE_ERROR'
      : status === 413
        ? 'PAYLOAD_TOO_LARGE'
        : status === 415
          ? 'UNSUPPORTED_MEDIA_TYPE'
          : 'BAD_REQUEST'
  return { code, ...errorTable[code], message: errorTable[code].text }
}

/** 405 with the methods that there are. */
export function methodNotAllowed(res: Response, allowed: readonly string[]): AppError {
  const withHead = allowed.includes('GET') ? [...allowed, 'HEAD'] : allowed
  const allow = [...withHead, 'OPTIONS'].join(', ')
  res.setHeader('Allow', allow)
  return new AppError('METHOD_NOT_ALLOWED', { message: `This URL takes ${allow}` })
}

export const notFound: RequestHandler = (_req, res) => {
  sendError(res, new AppError('NOT_FOUND', { message: 'There is nothing at this URL' }))
}

export const lastErrorHandler: ErrorRequestHandler = (error, _req: Request, res, next) => {
  if (res.headersSent) next(error)
  else sendError(res, error)
}
