import {
  AppError,
  type Context,
  type Meta,
  matchV2,
  matchV3,
  routeV2,
  v2Router,
  v3Router,
} from '@dowell-chat/api'
import type { Request, RequestHandler, Response } from 'express'
import { createOpenApiNodeHttpHandler } from 'trpc-to-openapi'
import { createBodyReader, type Fields, fieldsOf } from './body.ts'
import { methodNotAllowed, sendError } from './errors.ts'
import type { ContextOf } from './identity.ts'

export interface RestOptions {
  readonly contextOf: ContextOf
  /** Bytes that a request body may have. */
  readonly bodyLimit: number
}

/** The documented URLs: fields come from the query and from a body of any documented kind, `type` chooses. */
export function restV2(options: RestOptions): RequestHandler {
  const readBody = createBodyReader(options.bodyLimit, { forms: true })
  const call = createCaller(v2Router)
  return answering(async (req, res) => {
    const { path, query } = partsOf(req)
    const match = matchV2(path)
    if (!match) return false
    const method = methodOf(req)
    if (!match.methods.includes(method)) throw methodNotAllowed(res, match.methods)
    // Before the body: who is not let in need not be read.
    const context = await options.contextOf(req, res)
    const route = await context.reading(async () => {
      const fields = { ...query, ...(await readBody(req, res)) }
      // v2 ignores keys that it does not know, and this one must not reach plain objects.
      Reflect.deleteProperty(fields, '__proto__')
      const found = routeV2(req.method, path, fields)
      if ('allowed' in found) throw methodNotAllowed(res, found.allowed)
      return found
    })
    await call(req, res, { context, method, path: route.path, input: route.input })
    return true
  })
}

/** REST by resource: a query for what reads and deletes, a JSON body for what writes. */
export function restV3(options: RestOptions): RequestHandler {
  const readBody = createBodyReader(options.bodyLimit, { forms: false })
  const call = createCaller(v3Router)
  return answering(async (req, res) => {
    const { path, query } = partsOf(req)
    const match = matchV3(path)
    if (!match) return false
    const method = methodOf(req)
    if (!match.methods.includes(method)) throw methodNotAllowed(res, match.methods)
    const context = await options.contextOf(req, res)
    const input = await context.reading(async () =>
      inputOf(method, query, await readBody(req, res), match.keys),
    )
    await call(req, res, { context, method, path, input })
    return true
  })
}

/** The input of a v3 call, from the one place where its method has it. @throws AppError BAD_REQUEST */
export function inputOf(
  method: string,
  query: Record<string, string>,
  body: Fields | undefined,
  keysOfPath: readonly string[],
): Fields {
  const takesBody = method === 'POST' || method === 'PATCH' || method === 'PUT'
  if (!takesBody && body) {
    throw new AppError('BAD_REQUEST', { message: `A ${method} request takes no body here` })
  }
  refuseKeys(takesBody ? Object.keys(query) : [], 'must be in the body')
  const input = takesBody ? (body ?? {}) : query
  refuseKeys(
    Object.keys(input).filter((key) => keysOfPath.includes(key)),
    'is taken from the path',
  )
  if (Object.hasOwn(input, '__proto__')) {
    throw new AppError('BAD_REQUEST', { errors: { '"__proto__"': ['is not a known key'] } })
  }
  return input
}

function refuseKeys(keys: string[], text: string): void {
  if (keys.length === 0) return
  const errors = Object.fromEntries(keys.slice(0, 20).map((key) => [key.slice(0, 100), [text]]))
  throw new AppError('BAD_REQUEST', { errors })
}

export function answering(
  handle: (req: Request, res: Response) => Promise<boolean>,
): RequestHandler {
  return async (req, res, next) => {
    try {
      if (!(await handle(req, res))) next()
    } catch (error) {
      sendError(res, error)
    }
  }
}

/** HEAD is GET whose body node leaves out. */
function methodOf(req: Request): string {
  return req.method === 'HEAD' ? 'GET' : req.method
}

export function partsOf(req: Request): { path: string; query: Record<string, string> } {
  const [, ...query] = req.originalUrl.split('?')
  return {
    // Not originalUrl, which may be a whole URL with its host.
    path: decodeUnreserved(req.baseUrl + req.path),
    query: fieldsOf(query.join('?')),
  }
}

/** Percent-encoded letters and digits mean themselves (RFC 3986, 2.3), and trpc-to-openapi decodes nothing. */
function decodeUnreserved(path: string): string {
  return path.replace(/%[0-9a-f]{2}/gi, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return /[\w.~-]/.test(character) ? character : encoded
  })
}

interface Call {
  readonly context: Context
  readonly method: string
  /** The procedure's own path, with its parameters in place. */
  readonly path: string
  readonly input: Fields
}

/**
 * Calls a procedure through trpc-to-openapi's handler. The handler gets a request that leaves it nothing to guess: body
 * and query already parsed, the one content type that it accepts. Its answer is collected and not sent, because of a
 * failure it would send less than our table says.
 */
function createCaller(
  router: typeof v2Router | typeof v3Router,
): (req: Request, res: Response, call: Call) => Promise<void> {
  const failures = new WeakMap<Request, unknown>()
  const handler = createOpenApiNodeHttpHandler<typeof router, Request, Response>({
    router,
    createContext: ({ res }) => Promise.resolve(res.locals.context),
    responseMeta: ({ paths, data, errors }) => {
      const meta = router._def.procedures[paths?.[0] ?? '']?._def.meta as Meta | undefined
      return errors.length === 0 && meta?.rest?.created?.(data[0] as never) ? { status: 201 } : {}
    },
    onError: ({ error, req }) => {
      failures.set(req, error)
    },
  })
  return async (req, res, call) => {
    prepare(req, call)
    res.locals.context = call.context
    const answer = { statusCode: 200, body: '' }
    await handler(req, collecting(res, answer))
    const failure = failures.get(req)
    if (failure) throw failure
    res.setHeader('Cache-Control', 'no-store')
    res.status(answer.statusCode).type('application/json').send(answer.body)
  }
}

function prepare(req: Request, { method, path, input }: Call): void {
  req.method = method
  req.url = path
  req.headers['content-type'] = 'application/json'
  req.body = input
  // For an abort signal that nobody uses the handler writes the body as JSON once more, which is dear, and overflows the
  // stack when it is nested deeply.
  Object.defineProperty(input, 'toJSON', { value: () => undefined, configurable: true })
  // Of a query the handler drops what is empty or false, unless it stands in a list.
  const query = Object.fromEntries(Object.entries(input).map(([key, value]) => [key, [value]]))
  Object.defineProperty(req, 'query', { value: query, configurable: true })
}

/** The response as the handler needs it, except that what it would send ends up in `answer`. */
function collecting(res: Response, answer: { statusCode: number; body: string }): Response {
  return Object.create(res, {
    statusCode: {
      set(status: number) {
        answer.statusCode = status
      },
    },
    setHeader: { value: () => undefined },
    end: {
      value: (body: string) => {
        answer.body = body
      },
    },
  })
}
