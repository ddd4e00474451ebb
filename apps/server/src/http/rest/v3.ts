import { type AtVersion, execute, matchV3 } from '@dowell-chat/api'
import { createBodyReader } from '../core/body.ts'
import { MethodNotAllowedError, notFound, plainErrorFormat } from '../core/errors.ts'
import type { Transport } from '../core/transport.ts'
import { decodeUnreserved } from '../core/url.ts'
import type { ServeStream } from '../streams/sse.ts'
import { createConditionalGet, readKey } from './conditionalGet.ts'
import { decodeParameters, fieldsFrom, methodOf, queryOf } from './input.ts'
import type { RestOptions } from './v2.ts'
import { writeOutput } from './write.ts'

/**
 * REST by resource: reads and deletes take a query, other writes a JSON body.
 *
 * @param serveStream serves subscriptions
 */
export function restV3({
  createContext,
  bodyLimit,
  serveStream,
}: RestOptions & { readonly serveStream: ServeStream }): Transport {
  const readBody = createBodyReader(bodyLimit, { forms: false })
  const conditionalGet = createConditionalGet()
  return {
    errorFormat: plainErrorFormat,
    async serve(request) {
      const match = matchV3(decodeUnreserved(request.path))
      if (!match) throw notFound()
      const method = methodOf(request)
      const route = match.routes.get(method)
      if (!route) throw new MethodNotAllowedError(match.routes.keys())
      const { name, operation, coerce, lists } = route
      if (operation.kind === 'subscription') return serveStream(request, route, match.parameters)
      const context = await createContext(request)
      const fields = await context.readRequest(async (meter) =>
        fieldsFrom(
          method,
          queryOf(request.query, lists),
          await readBody(request.raw, meter),
          decodeParameters(match.parameters),
        ),
      )
      const call = (atVersion?: AtVersion) =>
        execute({ ...context, atVersion }, operation, () => coerce(fields))
      if (method !== 'GET') {
        const output = await call()
        return writeOutput(context, operation.rest.created?.(output) ? 201 : 200, output)
      }
      const key = readKey(name, fields)
      return conditionalGet(request, { key, run: call, charge: context.charge })
    },
  }
}
