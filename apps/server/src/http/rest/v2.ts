import { type AtVersion, execute, type Fields, methodsAt, routeV2 } from '@dowell-chat/api'
import type { CreateContext } from '../caller/identity.ts'
import { createBodyReader, fieldsOf } from '../core/body.ts'
import { MethodNotAllowedError, notFound } from '../core/errors.ts'
import type { Transport } from '../core/transport.ts'
import { decodeUnreserved } from '../core/url.ts'
import { createConditionalGet, readKey } from './conditionalGet.ts'
import { v2ErrorFormat } from './errorFormat.ts'
import { methodOf } from './input.ts'
import { writeOutput } from './write.ts'

export interface RestOptions {
  readonly createContext: CreateContext
  /** Bytes. */
  readonly bodyLimit: number
}

/** The documented URLs: fields come from the query and from a body of any documented kind, `type` chooses the operation. */
export function restV2({ createContext, bodyLimit }: RestOptions): Transport {
  const readBody = createBodyReader(bodyLimit, { forms: true })
  const conditionalGet = createConditionalGet()
  return {
    errorFormat: v2ErrorFormat,
    async serve(request) {
      const path = decodeUnreserved(request.path)
      const methods = methodsAt(path)
      if (!methods) throw notFound()
      if (!methods.includes(methodOf(request))) throw new MethodNotAllowedError(methods)
      // Before the body: a caller that is refused gets nothing read.
      const context = await createContext(request)
      const { name, operation, coerce, isRead, fields } = await context.readRequest(
        async (meter) => {
          const fields: Fields = {
            ...fieldsOf(request.query),
            ...(await readBody(request.raw, meter)),
          }
          // v2 ignores unknown keys, and this one must not reach plain objects.
          Reflect.deleteProperty(fields, '__proto__')
          const route = routeV2(request.method, path, fields)
          if ('allowed' in route) throw new MethodNotAllowedError(route.allowed)
          return { ...route, fields }
        },
      )
      const call = (atVersion?: AtVersion) =>
        execute({ ...context, atVersion }, operation, () => coerce(fields))
      if (!isRead) return writeOutput(context, 200, await call())
      const key = readKey(name, fields)
      return conditionalGet(request, { key, run: call, charge: context.charge })
    },
  }
}
