import { errorTable } from '@dowell-chat/api'
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc'
import type { ErrorFormat } from '../core/errors.ts'

/** As tRPC's clients read it: one body for the whole request, batch or not. */
export const trpcErrorFormat: ErrorFormat = ({ code, status, message, errors }, requestId) => ({
  error: {
    json: {
      message,
      code: TRPC_ERROR_CODES_BY_KEY[errorTable[code].trpc],
      data: { code, httpStatus: status, requestId, ...(errors ? { errors } : {}) },
    },
  },
})
