import type { z } from 'zod'
import { appRouter, createCaller } from '../router.ts'
import { type Meta, router, wrapper } from '../trpc.ts'
import { restInput } from './wire.ts'

/**
 * REST by resource: each procedure of the app's router that has a path, under the same name, with an input that can be
 * read from a URL. What it does is the app's procedure and nothing else.
 */
export const v3Router = router(
  Object.fromEntries(
    Object.entries(appRouter._def.procedures)
      .filter(([, procedure]) => (procedure._def.meta as Meta | undefined)?.openapi)
      // The first path that fits wins, so a path without parameters comes before those that would swallow it.
      .sort(([, a], [, b]) => parametersOf(a) - parametersOf(b))
      .map(([name, procedure]) => [name, toRest(name as Name, procedure)]),
  ),
)

function parametersOf({ _def }: { _def: { meta?: unknown } }): number {
  return ((_def.meta as Meta).openapi?.path.split('{').length ?? 1) - 1
}

type Name = keyof typeof appRouter._def.procedures

function toRest(name: Name, procedure: (typeof appRouter._def.procedures)[Name]) {
  const { meta, inputs, type, output } = procedure._def as unknown as {
    meta: Meta
    inputs: [z.ZodObject]
    type: 'query' | 'mutation'
    output: z.ZodType
  }
  // Our documents name the errors and the security themselves: trpc-to-openapi keeps one text per code for all.
  const openapi = meta.openapi && { ...meta.openapi, errorResponses: [], protect: false }
  return wrapper(name)
    .meta({ ...meta, ...(openapi && { openapi }) })
    .input(restInput(inputs[0], !['GET', 'DELETE'].includes(openapi?.method ?? '')))
    .output(output)
    [type](({ ctx, input }) =>
      // The REST input only turned text into values: the procedure itself checks them.
      createCaller(ctx)[name](input as never),
    )
}

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
