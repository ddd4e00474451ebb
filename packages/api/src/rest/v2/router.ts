import { type Meta, router, wrapper } from '../../trpc.ts'
import { type V2Method, type V2Operation, v2Operations } from './operations.ts'

/**
 * The documented operations as procedures: one for each operation and method. Several of them share a documented URL,
 * which trpc-to-openapi does not allow, so each has a path of its own inside, `<url>/<type>`; `routeV2` leads from the
 * documented URL to it, and nothing else does.
 */
export const v2Router = router(
  Object.fromEntries(
    v2Operations.flatMap((operation) =>
      operation.methods.map((method) => [
        `${operation.name}${method}`,
        wrapper(operation.name)
          .meta(metaOf(operation, method))
          .input(operation.input)
          .output(operation.output)
          [isRead(operation, method) ? 'query' : 'mutation'](({ ctx, input }) =>
            operation.run(ctx, input as never),
          ),
      ]),
    ),
  ),
)

/** One documented GET changes something. */
export function isRead({ name }: V2Operation, method: V2Method): boolean {
  return method === 'GET' && name !== 'deleteRoom'
}

function metaOf(operation: V2Operation, method: V2Method): Meta {
  const { summary, description, errors, example } = operation
  return {
    openapi: {
      method,
      path: innerPath(operation),
      tags: ['v2'],
      summary,
      errorResponses: [],
      protect: false,
      ...(description === undefined ? {} : { description }),
    },
    ...(errors === undefined ? {} : { errors }),
    example,
  }
}

export function innerPath(operation: V2Operation): `/${string}` {
  return `${operation.url}${operation.type === undefined ? '' : `/${operation.type}`}` as `/${string}`
}
