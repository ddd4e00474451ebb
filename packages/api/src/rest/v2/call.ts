import type { z } from 'zod'
import { checkAnswer } from '../../answers.ts'
import type { Context } from '../../context.ts'
import { AppError } from '../../errors.ts'
import { fieldErrors } from '../../publicError.ts'
import { type Fields, textReader } from '../wire.ts'
import { type V2Operation, v2Operations } from './operations.ts'

const readers = new Map(v2Operations.map((operation) => [operation, textReader(operation.input)]))

/**
 * Calls an operation with what was sent, text or values. It is paid for before its input is looked at.
 *
 * @throws AppError TOO_MANY_REQUESTS, BAD_REQUEST, and what the operation throws
 */
export async function callV2(
  ctx: Context,
  operation: V2Operation,
  fields: Fields,
): Promise<unknown> {
  await ctx.spend(operation.name)
  const read = readers.get(operation) as (fields: Fields) => Fields
  const input: z.ZodSafeParseResult<unknown> = operation.input.safeParse(read(fields))
  if (!input.success) throw new AppError('BAD_REQUEST', { errors: fieldErrors(input.error) })
  const answer = await operation.run(ctx, input.data as never)
  if (ctx.deps.checkAnswers) checkAnswer(operation.output, answer)
  return answer
}
