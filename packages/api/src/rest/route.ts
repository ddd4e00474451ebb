import type { Meta } from '../trpc.ts'
import { v3Router } from './v3.ts'

/** Where a REST request leads: to a procedure's own path with its input, or nowhere with this method. */
export type RestRoute =
  | { readonly path: string; readonly input: Record<string, unknown> }
  | { readonly allowed: readonly string[] }

/** A path of REST v3 and the methods it has. */
const v3Paths = Map.groupBy(
  Object.values(v3Router._def.procedures).map((procedure) => {
    const { openapi } = procedure._def.meta as Required<Pick<Meta, 'openapi'>>
    return { path: openapi.path, method: openapi.method as string }
  }),
  ({ path }) => path,
)

const v3Patterns = [...v3Paths].map(([path, operations]) => ({
  keys: [...path.matchAll(/\{(\w+)\}/g)].map(([, key]) => key as string),
  pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
  methods: operations.map(({ method }) => method),
}))

/**
 * Finds the path of REST v3 that a URL names.
 *
 * @returns its methods and the names of its parameters, or undefined when there is none
 */
export function matchV3(
  path: string,
): { readonly methods: readonly string[]; readonly keys: readonly string[] } | undefined {
  return v3Patterns.find(({ pattern }) => pattern.test(path.replace(/(.)\/$/, '$1')))
}
