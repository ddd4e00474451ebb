import { Buffer } from 'node:buffer'
import {
  AppError,
  type AtVersion,
  type Context,
  callV2,
  type Fields,
  matchV3,
  methodsAt,
  routeV2,
  toJson,
} from '@dowell-chat/api'
import type { ContextOf } from '../caller/identity.ts'
import { createBodyReader, fieldsOf } from '../core/body.ts'
import { methodNotAllowed, nothingHere } from '../core/errors.ts'
import { answer, type Incoming, type Outgoing, type Surface } from '../core/request.ts'
import { createReadAnswers } from './conditionalGet.ts'

export interface RestOptions {
  readonly contextOf: ContextOf
  /** Bytes that a request body may have. */
  readonly bodyLimit: number
}

/** The documented URLs: fields come from the query and from a body of any documented kind, `type` chooses. */
export function restV2({ contextOf, bodyLimit }: RestOptions): Surface {
  const readBody = createBodyReader(bodyLimit, { forms: true })
  const answerRead = createReadAnswers()
  return async (req, res) => {
    const { path, query } = partsOf(res)
    const methods = methodsAt(path)
    if (!methods) throw nothingHere()
    if (!methods.includes(methodOf(req))) throw methodNotAllowed(res, methods)
    // Before the body: who is not let in need not be read.
    const context = await contextOf(req, res)
    const { operation, reads, fields } = await context.reading(async () => {
      const fields: Fields = { ...query, ...(await readBody(req, res)) }
      // v2 ignores keys that it does not know, and this one must not reach plain objects.
      Reflect.deleteProperty(fields, '__proto__')
      const route = routeV2(req.method as string, path, fields)
      if ('allowed' in route) throw methodNotAllowed(res, route.allowed)
      return { ...route, fields }
    })
    const call = (atVersion?: AtVersion) => callV2({ ...context, atVersion }, operation, fields)
    if (reads) {
      const question = questionOf(operation, fields)
      await answerRead(req, res, { question, answer: call, charge: context.charge })
    } else await answerWrite(res, context, 200, await call())
  }
}

/**
 * REST by resource: a query for what reads and deletes, a JSON body for what writes.
 *
 * @param otherwise serves what is none of these
 */
export function restV3({
  contextOf,
  bodyLimit,
  otherwise,
}: RestOptions & { readonly otherwise: Surface }): Surface {
  const readBody = createBodyReader(bodyLimit, { forms: false })
  const answerRead = createReadAnswers()
  return async (req, res) => {
    const { path, query } = partsOf(res)
    const match = matchV3(path)
    if (!match) return otherwise(req, res)
    const method = methodOf(req)
    const operation = match.operations.get(method)
    if (!operation) throw methodNotAllowed(res, match.operations.keys())
    const context = await contextOf(req, res)
    const fields = await context.reading(async () =>
      fieldsFrom(method, query, await readBody(req, res), decodeParameters(match.parameters)),
    )
    const call = (atVersion?: AtVersion) => operation.call({ ...context, atVersion }, fields)
    if (method === 'GET') {
      const question = questionOf(operation, fields)
      await answerRead(req, res, { question, answer: call, charge: context.charge })
    } else {
      const output = await call()
      await answerWrite(res, context, operation.created(output) ? 201 : 200, output)
    }
  }
}

function questionOf({ name }: { readonly name: string }, fields: Fields): string {
  return `${name} ${JSON.stringify(fields)}`
}

async function answerWrite(
  res: Outgoing,
  { charge }: Context,
  status: number,
  output: unknown,
): Promise<void> {
  const json = toJson(output)
  await charge(Buffer.byteLength(json))
  answer(res, status, json)
}

/** What a v3 call is given: the path's parameters, and the rest from the one place where its method has it. @throws AppError BAD_REQUEST */
export function fieldsFrom(
  method: string,
  query: Record<string, string>,
  body: Fields | undefined,
  parameters: Readonly<Record<string, string>>,
): Fields {
  const takesBody = method === 'POST' || method === 'PATCH' || method === 'PUT'
  if (!takesBody && body) throw bodyNotTaken(method)
  refuseKeys(takesBody ? Object.keys(query) : [], 'must be in the body')
  const fields = takesBody ? (body ?? {}) : query
  refuseKeys(
    Object.keys(fields).filter((key) => Object.hasOwn(parameters, key)),
    'is taken from the path',
  )
  if (Object.hasOwn(fields, '__proto__')) {
    throw new AppError('BAD_REQUEST', { errors: { '"__proto__"': ['is not a known key'] } })
  }
  return { ...fields, ...parameters }
}

export function bodyNotTaken(method: string): AppError {
  return new AppError('BAD_REQUEST', { message: `A ${method} request takes no body here` })
}

function refuseKeys(keys: string[], text: string): void {
  if (keys.length === 0) return
  const errors = Object.fromEntries(keys.slice(0, 20).map((key) => [key.slice(0, 100), [text]]))
  throw new AppError('BAD_REQUEST', { errors })
}

/** HEAD is GET whose body node leaves out. */
function methodOf(req: Incoming): string {
  return req.method === 'HEAD' ? 'GET' : (req.method as string)
}

export function partsOf({ locals }: Outgoing): { path: string; query: Record<string, string> } {
  return { path: decodeUnreserved(locals.path), query: fieldsOf(locals.query) }
}

/** Percent-encoded letters and digits mean themselves (RFC 3986, 2.3). */
export function decodeUnreserved(path: string): string {
  if (!path.includes('%')) return path
  return path.replace(/%[0-9a-f]{2}/gi, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return /[\w.~-]/.test(character) ? character : encoded
  })
}

/** Decodes the parameters of a path, which may be names with any characters. @throws AppError PARSE_ERROR for what is not UTF-8 */
export function decodeParameters(
  parameters: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  if (!Object.values(parameters).some((value) => value.includes('%'))) return parameters
  try {
    return Object.fromEntries(
      Object.entries(parameters).map(([key, value]) => [key, decodeURIComponent(value)]),
    )
  } catch {
    throw new AppError('PARSE_ERROR', { message: 'What is percent-encoded must be UTF-8' })
  }
}
