import { type AtVersion, assertExactBody, execute, matchV3 } from '@dowell-chat/api'
import { createBodyReader, isMergePatch } from '../core/body.ts'
import { MethodNotAllowedError, notFound, plainErrorFormat } from '../core/errors.ts'
import type { Transport } from '../core/transport.ts'
import { decodeUnreserved } from '../core/url.ts'
import type { ServeStream } from '../streams/sse.ts'
import { createConditionalGet, readKey } from './conditionalGet.ts'
import { ifMatchNotTaken, readIfMatch } from './ifMatch.ts'
import { decodeParameters, fieldsFrom, methodOf, queryOf } from './input.ts'
import { fieldsOfPatch, namedAsInPatch } from './mergePatch.ts'
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
      const { rest } = operation
      const mergePatch = isMergePatch(request.raw) ? rest.mergePatch : undefined
      const fields = await context.readRequest(async (meter) => {
        const body = await readBody(request.raw, meter, (text) => assertExactBody(operation, text))
        const patch = body && mergePatch ? fieldsOfPatch(body, mergePatch) : body
        return fieldsFrom(
          method,
          queryOf(request.query, lists),
          patch,
          decodeParameters(match.parameters),
        )
      })
      if (method === 'GET') {
        const run = (atVersion: AtVersion) =>
          execute({ ...context, atVersion }, operation, () => coerce(fields))
        const key = readKey(name, fields)
        const { resource } = rest
        return conditionalGet(request, { key, run, resource, charge: context.charge })
      }
      const ifMatch = readIfMatch(request.raw.headers['if-match'])
      if (ifMatch && !('ifVersion' in operation.input.shape)) throw ifMatchNotTaken()
      try {
        const output = await execute({ ...context, ifMatch }, operation, () => coerce(fields))
        const status = rest.created?.(output) ? 201 : 200
        return await writeOutput(context, status, output, rest.resource?.(output))
      } catch (error) {
        throw mergePatch ? namedAsInPatch(error, mergePatch) : error
      }
    },
  }
}
