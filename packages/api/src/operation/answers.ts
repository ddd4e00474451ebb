import { isDeepStrictEqual } from 'node:util'
import type { z } from 'zod'

/** @throws Error for an answer that is not as its schema says, or has keys that the schema does not name */
export function checkAnswer(schema: z.ZodType, answer: unknown): void {
  if (isDeepStrictEqual(schema.parse(answer), answer)) return
  throw new Error('the answer has keys that its schema does not name')
}
