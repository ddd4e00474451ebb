import { type AtVersion, matchV3 } from '@dowell-chat/api'
import { createBodyReader } from '../core/body.ts'
import { MethodNotAllowedError, plainErrorFormat } from '../core/errors.ts'
import type { Serve, Transport } from '../core/transport.ts'
import { createConditionalGet, queryKey } from './conditionalGet.ts'
import { decodeParameters, fieldsFrom, methodOf, pathAndQuery } from './input.ts'
import type { RestOptions } from './v2.ts'
import { writeOutput } from './write.ts'

/**
 * REST by resource: reads and deletes take a query, other writes a JSON body.
 *
 * @param fallback serves the other paths
 */
export function restV3({
  createContext,
  bodyLimit,
  fallback,
}: RestOptions & { readonly fallback: Serve }): Transport {
  const readBody = createBodyReader(bodyLimit, { forms: false })
  const conditionalGet = createConditionalGet()
  return {
    errorFormat: plainErrorFormat,
    async serve(request) {
      const { path, query } = pathAndQuery(request)
      const match = matchV3(path)
      if (!match) return fallback(request)
      const method = methodOf(request)
      const operation = match.operations.get(method)
      if (!operation) throw new MethodNotAllowedError(match.operations.keys())
      const context = await createContext(request)
      const fields = await context.readRequest(async (meter) =>
        fieldsFrom(
          method,
          query,
          await readBody(request.raw, meter),
          decodeParameters(match.parameters),
        ),
      )
      const call = (atVersion?: AtVersion) => operation.call({ ...context, atVersion }, fields)
      if (method !== 'GET') {
        const output = await call()
        return writeOutput(context, operation.created(output) ? 201 : 200, output)
      }
      const key = queryKey(operation.name, fields)
      return conditionalGet(request, { key, run: call, charge: context.charge })
    },
  }
}
