import { createCoercer, type Fields } from '../encoding/coerce.ts'
import { AppError } from '../operation/errors.ts'
import { type V2Method, type V2Operation, v2Operations } from './operations.ts'

/** The operation of a request, or the methods that are allowed instead. */
type V2Match = V2Route | { readonly allowed: readonly string[] }

/** An operation at its documented URL. */
export interface V2Route {
  readonly name: string
  readonly operation: V2Operation
  /** Whether this method only reads. */
  readonly isRead: boolean
  /** Turns fields that were sent as text into the values that the input's schema wants. */
  readonly coerce: (fields: Fields) => Fields
}

const coercers = new Map(
  v2Operations.map((operation) => [operation, createCoercer(operation.input)]),
)

const byUrl = Map.groupBy(v2Operations, (operation) => operation.url)

const methodsByUrl = new Map(
  [...byUrl].map(([url, operations]) => [
    url,
    [...new Set(operations.flatMap(({ methods }) => methods))] as readonly string[],
  ]),
)

/** The methods of a documented URL, for every `type`. @returns undefined for another path */
export function methodsAt(path: string): readonly string[] | undefined {
  return methodsByUrl.get(path.replace(/\/$/, ''))
}

/**
 * Which operation a request to a documented URL means, with one of its methods and the fields of query and body.
 *
 * @throws AppError INVALID_REQUEST_TYPE
 */
export function routeV2(method: string, path: string, fields: Fields): V2Match {
  const asked = (method === 'HEAD' ? 'GET' : method) as V2Method
  const operation = choose(byUrl.get(path.replace(/\/$/, '')) ?? [], asked, fields)
  if (!operation.methods.includes(asked)) return { allowed: operation.methods }
  // HEAD asks what GET would answer and must change nothing (RFC 9110, 9.2.1), whatever GET does here.
  const reads = isRead(operation, asked)
  if (method === 'HEAD' && !reads) {
    return { allowed: operation.methods.filter((one) => one !== 'GET') }
  }
  const coerce = coercers.get(operation) as V2Route['coerce']
  return { name: operation.name, operation, isRead: reads, coerce }
}

/** One documented GET changes something. */
export function isRead({ name }: V2Operation, method: V2Method): boolean {
  return method === 'GET' && name !== 'deleteRoom'
}

function choose(operations: readonly V2Operation[], method: V2Method, fields: Fields): V2Operation {
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
