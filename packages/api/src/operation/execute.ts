import { setImmediate as turn } from 'node:timers/promises'
import type { z } from 'zod'
import { isRead, type ProcedureName } from './access.ts'
import { checkAnswer } from './answers.ts'
import type { Context } from './context.ts'
import { AppError } from './errors.ts'
import { fieldErrors } from './publicError.ts'

/** A read that takes longer lets others have their turn of the event loop before its answer is written. */
const LONG_MS = 3

/** What is called once and answers once: a procedure, or an operation of REST v2. */
export interface Callable {
  readonly name: ProcedureName
  readonly input: z.ZodType
  readonly output: z.ZodType
  run(ctx: Context, input: never): Promise<unknown>
}

/**
 * Calls it as the middlewares of a procedure do, at a fifth of their cost: paid for before its input is looked at, and
 * its answer compared with its schema where `deps.checkAnswers` says so.
 *
 * @param read the input as it was sent
 * @throws AppError TOO_MANY_REQUESTS, BAD_REQUEST, and what `read` and the callable throw
 */
export async function call(
  ctx: Context,
  { name, input, output, run }: Callable,
  read: () => unknown,
): Promise<unknown> {
  await ctx.spend(name)
  const checked = input.safeParse(read())
  if (!checked.success) throw new AppError('BAD_REQUEST', { errors: fieldErrors(checked.error) })
  const begun = performance.now()
  const answer = await run(ctx, checked.data as never)
  // A large answer took a while to read and takes as long to write: others have their turn between.
  if (isRead(name) && performance.now() - begun > LONG_MS) await turn()
  if (ctx.deps.checkAnswers) checkAnswer(output, answer)
  return answer
}
