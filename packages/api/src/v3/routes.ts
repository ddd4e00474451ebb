import { createCoercer, type Fields, listFields } from '../encoding/coerce.ts'
import type { Operation } from '../operation/operation.ts'
import { type OperationName, operationNamed, operationNames } from '../operation/operations.ts'

/** An operation at its URL of REST v3. */
export interface V3Route {
  readonly name: OperationName
  readonly operation: Operation
  /** Converts text fields to the types of the input schema. */
  readonly coerce: (fields: Fields) => Fields
  /** The fields that a query may repeat. */
  readonly lists: ReadonlySet<string>
}

const routes: readonly V3Route[] = operationNames.map((name) => {
  const operation = operationNamed(name)
  const { method } = operation.rest
  const hasBody = method !== 'GET' && method !== 'DELETE'
  const { input } = operation
  return { name, operation, coerce: createCoercer(input, hasBody), lists: listFields(input) }
})

const paths = [...Map.groupBy(routes, ({ operation }) => operation.rest.path)]
  // The first match wins, so fixed paths precede those with parameters.
  .sort(([a], [b]) => parameterCount(a) - parameterCount(b))
  .map(([path, routes]) => ({
    pattern: new RegExp(`^${path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}/?$`),
    routes: new Map<string, V3Route>(routes.map((route) => [route.operation.rest.method, route])),
  }))

function parameterCount(path: string): number {
  return path.split('{').length - 1
}

export interface V3Match {
  /** By method. */
  readonly routes: ReadonlyMap<string, V3Route>
  /** The parameters of the path, still percent-encoded. */
  readonly parameters: Readonly<Record<string, string>>
}

/** Finds the routes of a path. @returns undefined when there are none */
export function matchV3(path: string): V3Match | undefined {
  for (const { pattern, routes } of paths) {
    const match = pattern.exec(path)
    if (match) return { routes, parameters: match.groups ?? {} }
  }
  return undefined
}
