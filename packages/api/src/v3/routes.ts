import { createCoercer, type Fields } from '../encoding/coerce.ts'
import type { Operation } from '../operation/operation.ts'
import { type OperationName, operationNamed, operationNames } from '../operation/operations.ts'

/** An operation at its URL of REST v3. */
export interface V3Route {
  readonly name: OperationName
  readonly operation: Operation
  /** Turns fields that were sent as text into the values that the input's schema wants. */
  readonly coerce: (fields: Fields) => Fields
}

const routes: readonly V3Route[] = operationNames.map((name) => {
  const operation = operationNamed(name)
  const { method } = operation.rest
  const isBody = method !== 'GET' && method !== 'DELETE'
  return { name, operation, coerce: createCoercer(operation.input, isBody) }
})

const places = [...Map.groupBy(routes, ({ operation }) => operation.rest.path)]
  // The first match wins, so a path without parameters precedes those that would swallow it.
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

/** The routes at a path. @returns undefined when there are none */
export function matchV3(path: string): V3Match | undefined {
  for (const { pattern, routes } of places) {
    const found = pattern.exec(path)
    if (found) return { routes, parameters: found.groups ?? {} }
  }
  return undefined
}
