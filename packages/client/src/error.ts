import type { AppRouter, ErrorCode, FieldErrors } from '@dowell-chat/api'
import { TRPCClientError } from '@trpc/client'

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

  constructor(
    code: DowellChatErrorCode,
    message: string,
    details: {
      status?: number | undefined
      errors?: FieldErrors | undefined
      requestId?: string | undefined
      cause?: unknown
    } = {},
  ) {
    super(message, { cause: details.cause })
    this.code = code
    this.status = details.status
    this.errors = details.errors
    this.requestId = details.requestId
  }
}

/** Any failure of a call as the one error that callers meet. A call that its caller aborted stays an AbortError. */
export function toDowellChatError(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason
  if (!(error instanceof TRPCClientError)) return error
  const { data, cause } = error as TRPCClientError<AppRouter>
  if (!data) return new DowellChatError('NETWORK', error.message, { cause: cause ?? error })
  return new DowellChatError(data.code, error.message, {
    status: data.httpStatus,
    errors: data.errors,
    requestId: data.requestId,
    cause: error,
  })
}
