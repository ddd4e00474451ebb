/**
 * Every error of the API by its code: HTTP status, the code in tRPC's own format, and the default text. Clients test the
 * code; texts may change.
 */
export const errorTable = {
  BAD_REQUEST: { status: 400, trpc: 'BAD_REQUEST', text: 'The input is not valid' },
  INVALID_REQUEST_TYPE: { status: 400, trpc: 'BAD_REQUEST', text: 'Invalid request type' },
  PARSE_ERROR: { status: 400, trpc: 'PARSE_ERROR', text: 'The request body cannot be read' },
  UNAUTHORIZED: { status: 401, trpc: 'UNAUTHORIZED', text: 'No valid credential was sent' },
  FORBIDDEN: { status: 403, trpc: 'FORBIDDEN', text: 'The credential does not allow this' },
  NOT_FOUND: { status: 404, trpc: 'NOT_FOUND', text: 'Not found' },
  METHOD_NOT_ALLOWED: {
    status: 405,
    trpc: 'METHOD_NOT_SUPPORTED',
    text: 'This method is not allowed here',
  },
  TIMEOUT: { status: 408, trpc: 'TIMEOUT', text: 'The request took too long to arrive' },
  CONFLICT: { status: 409, trpc: 'CONFLICT', text: 'The request conflicts with what is stored' },
  ROOM_CLOSED: {
    status: 409,
    trpc: 'CONFLICT',
    text: 'The room is deleted and takes no new messages',
  },
  MESSAGE_DELETED: { status: 409, trpc: 'CONFLICT', text: 'The message is deleted' },
  ROOM_ALREADY_ACTIVE: {
    status: 409,
    trpc: 'CONFLICT',
    text: 'Another room of the same user, portfolio and product is active',
  },
  IDEMPOTENCY_CONFLICT: {
    status: 409,
    trpc: 'CONFLICT',
    text: 'The same client message id was used for another message',
  },
  CURSOR_TOO_OLD: {
    status: 409,
    trpc: 'CONFLICT',
    text: 'The cursor is too old: its events are gone, or the database was restored',
  },
  PRECONDITION_FAILED: {
    status: 412,
    trpc: 'PRECONDITION_FAILED',
    text: 'This was changed since you read it: read it again, and repeat the change if it is still right',
  },
  PAYLOAD_TOO_LARGE: {
    status: 413,
    trpc: 'PAYLOAD_TOO_LARGE',
    text: 'The request body is too large',
  },
  URI_TOO_LONG: { status: 414, trpc: 'BAD_REQUEST', text: 'The URL is too long' },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    trpc: 'UNSUPPORTED_MEDIA_TYPE',
    text: 'The content type of the body is not supported',
  },
  UNPROCESSABLE_CONTENT: {
    status: 422,
    trpc: 'UNPROCESSABLE_CONTENT',
    text: 'The input cannot be processed',
  },
  TOO_MANY_REQUESTS: { status: 429, trpc: 'TOO_MANY_REQUESTS', text: 'Too many requests' },
  HEADERS_TOO_LARGE: {
    status: 431,
    trpc: 'BAD_REQUEST',
    text: 'The request headers are too large',
  },
  INTERNAL_SERVER_ERROR: {
    status: 500,
    trpc: 'INTERNAL_SERVER_ERROR',
    text: 'Something went wrong on the server',
  },
  SERVICE_UNAVAILABLE: {
    status: 503,
    trpc: 'SERVICE_UNAVAILABLE',
    text: 'The server cannot take the request now; try again',
  },
} as const

export type ErrorCode = keyof typeof errorTable

/** Errors of the input, by the field name that the caller sent. */
export type FieldErrors = Record<string, string[]>

/** An error with a code for the caller. Every other thrown error becomes INTERNAL_SERVER_ERROR. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly errors: FieldErrors | undefined
  /** Seconds after which the same request may succeed. */
  readonly retryAfter: number | undefined

  constructor(
    code: ErrorCode,
    options: {
      message?: string
      errors?: FieldErrors
      retryAfter?: number
      cause?: unknown
    } = {},
  ) {
    super(options.message ?? errorTable[code].text, { cause: options.cause })
    this.code = code
    this.errors = options.errors
    this.retryAfter = options.retryAfter
  }
}

/** An input error of one field. `text` completes a sentence that begins with the field's name. */
export function badField(field: string, text: string): AppError {
  return new AppError('BAD_REQUEST', { errors: { [field]: [text] } })
}
