import { type Fields, textReader } from '../encoding/coerce.ts'
import type { Context } from '../operation/context.ts'
import { call } from '../operation/execute.ts'
import { type V2Operation, v2Operations } from './operations.ts'

const readers = new Map(v2Operations.map((operation) => [operation, textReader(operation.input)]))

/**
 * Calls an operation with what was sent, text or values.
 *
 * @throws AppError TOO_MANY_REQUESTS, BAD_REQUEST, and what the operation throws
 */
export function callV2(ctx: Context, operation: V2Operation, fields: Fields): Promise<unknown> {
  const read = readers.get(operation) as (fields: Fields) => Fields
  return call(ctx, operation, () => read(fields))
}
