import { setImmediate as nextTurn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { z } from 'zod'
import { authorise } from './access.ts'
import type { Context, Cost } from './context.ts'
import { AppError } from './errors.ts'
import type { Executable } from './operation.ts'
import { fieldErrors } from './publicError.ts'

/** Quota points by cost. */
const POINTS: Record<Cost, number> = { read: 1, write: 2, issue: 20 }

/** The quota points that a call consumes. */
export function pointsOf(cost: Cost): number {
  return POINTS[cost]
}

/** A read that took longer yields to the event loop before its output is encoded. */
const LONG_READ_MS = 3

/**
 * Runs an operation. Every surface calls it: quota, input, access, run, output check, in this order.
 *
 * @param readInput returns or resolves to the input as sent; called once the quota is consumed
 * @throws AppError TOO_MANY_REQUESTS, BAD_REQUEST, FORBIDDEN, and what `readInput` and `run` throw
 */
export async function execute<Input extends z.ZodObject, Output>(
  ctx: Context,
  operation: Executable<Input, Output>,
  readInput: () => unknown,
): Promise<Output> {
  await ctx.spend(operation.cost)
  const input = operation.input.safeParse(await readInput())
  if (!input.success) throw new AppError('BAD_REQUEST', { errors: fieldErrors(input.error) })
  const scope = authorise(ctx.actor, operation.access)
  const startedAt = performance.now()
  const output = await operation.run({ ...ctx, scope }, input.data)
  if (operation.cost === 'read' && performance.now() - startedAt > LONG_READ_MS) await nextTurn()
  if (ctx.deps.checkOutputs && operation.output) assertOutput(operation.output, output)
  return output
}

/** @throws Error for an output that does not match its schema, or has keys that the schema does not name */
function assertOutput(schema: z.ZodType, output: unknown): void {
  if (isDeepStrictEqual(schema.parse(output), output)) return
  throw new Error('the output has keys that its schema does not name')
}
