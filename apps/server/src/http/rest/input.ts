import { AppError, type Fields } from '@dowell-chat/api'
import { pairsOf } from '../core/body.ts'
import type { HttpRequest } from '../core/request.ts'

/**
 * Reads the query of a v3 call. A list may be repeated, also as `name[]`, which some HTTP clients write for it.
 *
 * @param lists the names of its list fields
 * @throws AppError BAD_REQUEST naming every other key that is repeated; PARSE_ERROR
 */
export function queryOf(query: string, lists: ReadonlySet<string>): Fields {
  const fields = new Map<string, string | string[]>()
  const repeated: string[] = []
  for (const [key, value] of pairsOf(query)) {
    const listName = key.endsWith('[]') ? key.slice(0, -2) : key
    const isList = lists.has(listName)
    const name = isList ? listName : key
    const earlier = fields.get(name)
    if (earlier === undefined) fields.set(name, value)
    else if (!isList) repeated.push(name)
    else if (Array.isArray(earlier)) earlier.push(value)
    else fields.set(name, [earlier, value])
  }
  refuseKeys(repeated, 'must be given only once')
  return Object.fromEntries(fields)
}

/** HEAD is served like GET: node leaves the body out. */
export function methodOf({ method }: HttpRequest): string {
  return method === 'HEAD' ? 'GET' : method
}

/**
 * The input of a v3 call: the path's parameters, and the fields from the query or, for a method that takes a body, from
 * the body.
 *
 * @throws AppError BAD_REQUEST
 */
export function fieldsFrom(
  method: string,
  query: Fields,
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

/** Decodes the parameters of a path: names may have any character. @throws AppError PARSE_ERROR for invalid UTF-8 */
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
