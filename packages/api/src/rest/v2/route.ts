import { AppError } from '../../errors.ts'
import type { RestRoute } from '../route.ts'
import { type V2Method, type V2Operation, v2Operations } from './operations.ts'
import { innerPath } from './router.ts'

const byUrl = Map.groupBy(v2Operations, (operation) => operation.url)

/**
 * Which operation a request to a documented URL means, and the input it gets: the fields of the query and of the body
 * together, the body's first. Undefined when the URL is none of the documented ones.
 *
 * @throws AppError INVALID_REQUEST_TYPE; METHOD_NOT_ALLOWED with the methods that are
 */
export function routeV2(
  method: string,
  path: string,
  fields: Record<string, unknown>,
): RestRoute | undefined {
  const operations = byUrl.get(path.replace(/\/$/, ''))
  if (!operations) return undefined
  const allowed = [...new Set(operations.flatMap((operation) => operation.methods))]
  if (!(allowed as string[]).includes(method)) return { allowed }
  const operation = choose(operations, method as V2Method, fields)
  if (!(operation.methods as readonly string[]).includes(method)) {
    return { allowed: operation.methods }
  }
  const { type: _, ...input } = fields
  return { path: innerPath(operation), input }
}

function choose(
  operations: readonly V2Operation[],
  method: V2Method,
  fields: Record<string, unknown>,
): V2Operation {
  const [only] = operations
  if (only && only.type === undefined) return only
  const possible = operations.filter((operation) => operation.methods.includes(method))
  // A method that only one operation has says as much as its type would.
  if (fields.type === undefined && possible.length === 1 && possible[0]) return possible[0]
  const chosen = operations.find((operation) => operation.type === fields.type)
  if (!chosen) {
    throw new AppError('INVALID_REQUEST_TYPE', {
      errors: { type: [`must be one of ${possible.map(({ type }) => type).join(', ')}`] },
    })
  }
  return chosen
}
