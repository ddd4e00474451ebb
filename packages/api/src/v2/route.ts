import { createCoercer, type Fields } from '../encoding/coerce.ts'
import { AppError } from '../operation/errors.ts'
import { type V2Method, type V2Operation, v2Operations } from './operations.ts'

/** The operation of a request, or the allowed methods instead. */
type V2Match = V2Route | { readonly allowed: readonly string[] }

/** An operation at its documented URL. */
export interface V2Route {
  readonly name: string
  readonly operation: V2Operation
  /** Whether the operation only reads, with this method. */
  readonly isRead: boolean
  /** Converts text fields to the types of the input schema. */
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

/** Returns the methods of a documented URL, of all its types. @returns undefined for another path */
export function methodsAt(path: string): readonly string[] | undefined {
  return methodsByUrl.get(path.replace(/\/$/, ''))
}

/**
 * Finds the operation of a request to a documented URL.
 *
 * @param method one of the URL's methods, or HEAD
 * @param fields of the query and the body
 * @throws AppError INVALID_REQUEST_TYPE
 */
export function routeV2(method: string, path: string, fields: Fields): V2Match {
  const requestMethod = (method === 'HEAD' ? 'GET' : method) as V2Method
  const operation = selectOperation(byUrl.get(path.replace(/\/$/, '')) ?? [], requestMethod, fields)
  if (!operation.methods.includes(requestMethod)) return { allowed: operation.methods }
  // HEAD must be safe (RFC 9110, 9.2.1), even where the documented GET is not.
  const onlyReads = isRead(operation, requestMethod)
  if (method === 'HEAD' && !onlyReads) {
    return { allowed: operation.methods.filter((one) => one !== 'GET') }
  }
  const coerce = coercers.get(operation) as V2Route['coerce']
  return { name: operation.name, operation, isRead: onlyReads, coerce }
}

/** One documented GET writes: deleteRoom. */
export function isRead({ name }: V2Operation, method: V2Method): boolean {
  return method === 'GET' && name !== 'deleteRoom'
}

/** @throws AppError INVALID_REQUEST_TYPE */
function selectOperation(
  operations: readonly V2Operation[],
  method: V2Method,
  fields: Fields,
): V2Operation {
  const [only] = operations
  if (only && only.type === undefined) return only
  const candidates = operations.filter((operation) => operation.methods.includes(method))
  // If only one operation has the method, the type may be omitted.
  if (fields.type === undefined && candidates.length === 1 && candidates[0]) return candidates[0]
  const chosen = operations.find((operation) => operation.type === fields.type)
  if (!chosen) {
    throw new AppError('INVALID_REQUEST_TYPE', {
      errors: { type: [`must be one of ${candidates.map(({ type }) => type).join(', ')}`] },
    })
  }
  return chosen
}
