import { typeOf } from '../encoding/coerce.ts'
import { findLosses, type Loss } from '../encoding/exactJson.ts'
import { AppError } from './errors.ts'
import { operationNamed, operationNames } from './operations.ts'
import { toFieldErrors } from './publicError.ts'

/** The operations whose input has a field of any JSON, which is kept exactly or refused. */
const withFreeJson: ReadonlySet<unknown> = new Set(
  operationNames
    .map(operationNamed)
    .filter(({ input }) => Object.values(input.shape).some((field) => typeOf(field) === 'custom')),
)

export function hasFreeJson(operation: object): boolean {
  return withFreeJson.has(operation)
}

/**
 * Refuses an input of which the parser lost something.
 *
 * @param losses of the whole text
 * @param prefix where the input is in it
 * @throws AppError BAD_REQUEST, with the path of each value
 */
export function assertNothingLost(losses: readonly Loss[], prefix: readonly string[] = []): void {
  const issues = losses
    .filter(({ path }) => prefix.every((key, at) => at >= path.length || path[at] === key))
    .map(({ path, problem }) => ({ path: path.slice(prefix.length), problem }))
  if (issues.length > 0) throw new AppError('BAD_REQUEST', { errors: toFieldErrors(issues) })
}

/** The same for a JSON body that is the input. */
export function assertExactBody(operation: object, text: string): void {
  if (hasFreeJson(operation)) assertNothingLost(findLosses(text))
}
