import type { AppRouter, ErrorCode, FieldErrors } from '@dowell-chat/api'
import { TRPCClientError } from '@trpc/client'
import { parseRetryAfter } from './backoff.ts'

/** The server's codes, and `NETWORK` for a request that got no answer that could be read. */
export type DowellChatErrorCode = ErrorCode | 'NETWORK'

/** Why a call failed. Test `code`; `message` is for people. */
export class DowellChatError extends Error {
  override readonly name = 'DowellChatError'
  readonly code: DowellChatErrorCode
  /** The HTTP status of the server's answer; undefined with `NETWORK`. */
  readonly status: number | undefined
  /** What is wrong with the input, by field. */
  readonly errors: FieldErrors | undefined
  /** Names the request in the server's log. */
  readonly requestId: string | undefined
  /** How long the server asks to wait before the next try, in milliseconds. */
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

  /** Whether the same request may succeed later. */
  get isPassing(): boolean {
    return (
      this.status === undefined || this.status >= 500 || this.status === 408 || this.status === 429
    )
  }
}

/** Any failure of a call as the one error that callers meet. A call that its caller aborted stays an AbortError. */
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

/** The failure that an answer without success tells; `NETWORK` when it is no answer of this server's, but say a proxy's. */
export async function failureOf(response: Response): Promise<DowellChatError> {
  const retryAfter = parseRetryAfter(response.headers.get('Retry-After'))
  const text = await response.text()
  try {
    const { code, message, requestId, errors } = JSON.parse(text)
    if (typeof code === 'string') {
      const status = response.status
      return new DowellChatError(code as ErrorCode, message, {
        status,
        errors,
        requestId,
        retryAfter,
      })
    }
  } catch {
    // Said below.
  }
  return new DowellChatError('NETWORK', `The answer was ${response.status} without a reason`, {
    retryAfter,
  })
}
