import { AppError } from '../../errors.ts'
import { type V2Method, type V2Operation, v2Operations } from './operations.ts'
import { innerPath, isRead } from './router.ts'

/** Where a request to a documented URL leads: to a procedure's own path with its input, or nowhere with this method. */
type V2Route =
  | { readonly path: string; readonly input: Record<string, unknown> }
  | { readonly allowed: readonly string[] }

const byUrl = Map.groupBy(v2Operations, (operation) => operation.url)

function operationsAt(path: string): readonly V2Operation[] {
  return byUrl.get(path.replace(/\/$/, '')) ?? []
}

/** The methods that a documented URL has, whatever `type` says. @returns undefined when it is none of them */
export function matchV2(path: string): { readonly methods: readonly string[] } | undefined {
  const methods = new Set(operationsAt(path).flatMap((operation) => operation.methods))
  return methods.size === 0 ? undefined : { methods: [...methods] }
}

/**
 * Which operation a request to a documented URL, with one of its methods, means, and the input it gets: the fields of
 * the query and of the body together, the body's first.
 *
 * @throws AppError INVALID_REQUEST_TYPE
 */
export function routeV2(method: string, path: string, fields: Record<string, unknown>): V2Route {
  const asked = (method === 'HEAD' ? 'GET' : method) as V2Method
  const operation = choose(operationsAt(path), asked, fields)
  if (!operation.methods.includes(asked)) return { allowed: operation.methods }
  // HEAD asks what GET would answer and must change nothing (RFC 9110, 9.2.1), whatever GET does here.
  if (method === 'HEAD' && !isRead(operation, asked)) {
    return { allowed: operation.methods.filter((one) => one !== 'GET') }
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
