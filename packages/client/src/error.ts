import type { AppRouter, ErrorCode, FieldErrors } from '@dowell-chat/api'
import { TRPCClientError } from '@trpc/client'
import { parseRetryAfter } from './backoff.ts'

/** The server's error codes, and `NETWORK` for a missing or unreadable response. */
export type DowellChatErrorCode = ErrorCode | 'NETWORK'

/** A failed call or feed. Branch on `code`; `message` is for people. */
export class DowellChatError extends Error {
  override readonly name = 'DowellChatError'
  readonly code: DowellChatErrorCode
  /** HTTP status of the response; undefined with `NETWORK`. */
  readonly status: number | undefined
  /** Problems of the input, by field. */
  readonly errors: FieldErrors | undefined
  /** Id of the request in the server's log. */
  readonly requestId: string | undefined
  /** Delay before the next try that the server asks for (ms). */
  readonly retryAfter: number | undefined

  constructor(
    code: DowellChatErrorCode,
    message: string,
    details: {
      status?: number | undefined
      errors?: FieldErrors | undefined
      requestId?: string | undefined
      retryAfter?: number | undefined
      cause?: unknown
    } = {},
  ) {
    super(message, { cause: details.cause })
    this.code = code
    this.status = details.status
    this.errors = details.errors
    this.requestId = details.requestId
    this.retryAfter = details.retryAfter
  }

  /** True if the same request may succeed later. */
  get isPassing(): boolean {
    return (
      this.status === undefined || this.status >= 500 || this.status === 408 || this.status === 429
    )
  }
}

/** Converts the failure of a call to a {@link DowellChatError}; an aborted call fails with its signal's reason. */
export function toDowellChatError(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason
  if (!(error instanceof TRPCClientError)) return error
  const { data, cause, meta } = error as TRPCClientError<AppRouter>
  if (!data) return new DowellChatError('NETWORK', error.message, { cause: cause ?? error })
  const response = meta?.response instanceof Response ? meta.response : undefined
  return new DowellChatError(data.code, error.message, {
    status: data.httpStatus,
    errors: data.errors,
    requestId: data.requestId,
    retryAfter: parseRetryAfter(response?.headers.get('Retry-After')),
    cause: error,
  })
}

/** Reads the error from a failed response; `NETWORK` if the body is not this server's, for example a proxy's page. */
export async function readFailure(response: Response): Promise<DowellChatError> {
  const retryAfter = parseRetryAfter(response.headers.get('Retry-After'))
  const text = await response.text()
  try {
    const { code, message, requestId, errors } = JSON.parse(text)
    if (typeof code === 'string') {
      return new DowellChatError(code as ErrorCode, message, {
        status: response.status,
        errors,
        requestId,
        retryAfter,
      })
    }
  } catch {
    // Not JSON: falls through to NETWORK.
  }
  return new DowellChatError(
    'NETWORK',
    `The server responded ${response.status} without an error code`,
    {
      retryAfter,
    },
  )
}
