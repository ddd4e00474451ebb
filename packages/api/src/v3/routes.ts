import { type Fields, textReader } from '../encoding/coerce.ts'
import type { CallName } from '../operation/access.ts'
import type { Context } from '../operation/context.ts'
import { call } from '../operation/execute.ts'
import { callableProcedures } from '../operation/operations.ts'

/** REST by resource: a procedure of the app's router that has a path. */
export interface V3Operation {
  readonly name: CallName
  readonly method: string
  /** With its parameters as `{name}`. */
  readonly path: string
  /** Calls the procedure with what was sent, text or values. */
  call(ctx: Context, fields: Fields): Promise<unknown>
  /** Whether this answer made something new: then the status is 201. */
  created(output: unknown): boolean
}

export const v3Operations: readonly V3Operation[] = [...callableProcedures.values()]
  .flatMap((procedure) => {
    const { name, input, meta } = procedure
    const { openapi, rest } = meta
    if (!openapi) return []
    const inBody = openapi.method !== 'GET' && openapi.method !== 'DELETE'
    const read = textReader(input, inBody)
    const operation: V3Operation = {
      name,
      method: openapi.method,
      path: openapi.path,
      call: (ctx, fields) => call(ctx, procedure, () => read(fields)),
      created: (output) => rest?.created?.(output as never) ?? false,
    }
    return [operation]
  })
  // The first path that fits wins, so a path without parameters comes before those that would swallow it.
  .sort((a, b) => parametersIn(a.path).length - parametersIn(b.path).length)

function parametersIn(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string)
}

const places = [...Map.groupBy(v3Operations, ({ path }) => path)].map(([path, operations]) => ({
  pattern: new RegExp(`^${path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}/?$`),
  operations: new Map(operations.map((operation) => [operation.method, operation])),
}))

/** A path of REST v3 that a URL names. */
export interface V3Match {
  /** By method. */
  readonly operations: ReadonlyMap<string, V3Operation>
  /** The path's parameters, as they were sent. */
  readonly parameters: Readonly<Record<string, string>>
}

export function matchV3(path: string): V3Match | undefined {
  for (const { pattern, operations } of places) {
    const found = pattern.exec(path)
    if (found) return { operations, parameters: found.groups ?? {} }
  }
  return undefined
}
