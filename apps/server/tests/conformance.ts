import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import type { TestApp } from './support.ts'

export type Json = Record<string, unknown>

interface Media {
  readonly schema: Json
  readonly example?: unknown
  readonly examples?: Record<string, { value: unknown }>
}

export interface DocumentedResponse {
  readonly headers?: Record<string, unknown>
  readonly content?: Record<string, Media>
}

/** Each is one way to be let in: the credentials that it needs. */
type Security = readonly Record<string, readonly string[]>[]

export interface DocumentedOperation {
  readonly operationId: string
  readonly security?: Security
  readonly parameters?: readonly {
    name: string
    in: string
    required?: boolean
    description?: string
    schema: Json
    example?: unknown
  }[]
  readonly requestBody?: { content: Record<string, Media> }
  readonly responses: Record<string, DocumentedResponse>
}

export interface OpenApi {
  readonly openapi: string
  readonly info: { version: string }
  readonly security: Security
  readonly paths: Record<string, Record<string, DocumentedOperation>>
  readonly components: { schemas: Record<string, Json> }
}

/** A response that was read to its end. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape
  readonly body: any
}

/**
 * Compares what a server answers with what its OpenAPI document says. Stricter than the document in one thing: a key that
 * the document does not name is a fault, so that it names them all.
 */
export class Conformance {
  /** What was met so far: the operation, the status and, of an error, the code. */
  readonly met = new Set<string>()
  readonly #document: OpenApi
  readonly #ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, strict: true })
  readonly #compiled = new Map<unknown, ValidateFunction>()
  readonly #paths: { pattern: RegExp; path: string }[]

  constructor(document: OpenApi) {
    this.#document = document
    formats.default(this.#ajv)
    this.#ajv.addVocabulary(['example', 'discriminator'])
    this.#ajv.addSchema({ $id: 'document', $defs: asJsonSchema(document.components.schemas) })
    this.#paths = Object.keys(document.paths).map((path) => ({
      path,
      pattern: new RegExp(`^${withoutSlash(path).replace(/\{\w+\}/g, '[^/]+')}$`),
    }))
  }

  /** @throws Error that says how the answer differs from the document */
  check(method: string, url: string, { status, headers, body }: Answer): void {
    const request = `${method} ${url} answered ${status}`
    const pathname = withoutSlash(url.replace(/\?.*$/s, ''))
    const path = this.#paths.find(({ pattern }) => pattern.test(pathname))?.path
    if (path === undefined) throw new Error(`${request}: the document has no such path`)
    const operation = this.#document.paths[path]?.[method.toLowerCase()]
    if (!operation) {
      this.#checkUndocumentedMethod(request, path, { status, headers, body })
      return
    }

    const documented = operation.responses[status]
    if (!documented)
      throw new Error(`${request}: ${operation.operationId} documents no such status`)
    for (const name of Object.keys(documented.headers ?? {})) {
      if (!headers.has(name)) throw new Error(`${request}: without the documented header ${name}`)
    }
    if (status === 304) {
      if (body !== undefined) throw new Error(`${request}: with a body`)
      this.met.add(`${operation.operationId} 304`)
      return
    }
    const type = headers.get('content-type')?.replace(/;.*$/s, '') ?? ''
    const media = documented.content?.[type]
    if (!media) throw new Error(`${request}: the document does not name the content type ${type}`)
    this.validate(request, media.schema, body)
    const code = status >= 400 ? (body as { code: string }).code : undefined
    if (code !== undefined && !Object.hasOwn(media.examples ?? {}, code)) {
      throw new Error(`${request}: ${operation.operationId} documents no ${code} for this status`)
    }
    this.met.add([operation.operationId, status, code].filter(Boolean).join(' '))
  }

  /** @throws Error when a value is not what a schema of the document says */
  validate(what: string, schema: Json, value: unknown): void {
    let validator = this.#compiled.get(schema)
    if (!validator) {
      validator = this.#ajv.compile(asJsonSchema(schema))
      this.#compiled.set(schema, validator)
    }
    if (validator(value)) return
    const faults = this.#ajv.errorsText(validator.errors, { dataVar: 'body' })
    throw new Error(`${what}: ${faults}\n${JSON.stringify(value, null, 2)}`)
  }

  /** A path takes the methods that it documents, and says so of every other. */
  #checkUndocumentedMethod(request: string, path: string, { status, headers, body }: Answer): void {
    if (status !== 405) throw new Error(`${request}: the document has no such method`)
    if (!headers.has('allow')) throw new Error(`${request}: without Allow`)
    const name = path.startsWith('/api/v2/') ? 'ErrorV2' : 'Error'
    this.validate(request, { $ref: `#/components/schemas/${name}` }, body)
  }
}

/** A schema of either OpenAPI version as JSON Schema 2020-12, with every object closed. */
function asJsonSchema<T>(schema: T): T {
  if (Array.isArray(schema)) return schema.map(asJsonSchema) as T
  if (typeof schema !== 'object' || schema === null) return schema
  const { ...copy } = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, asJsonSchema(value)]),
  ) as Json
  if (typeof copy.$ref === 'string') {
    copy.$ref = copy.$ref.replace('#/components/schemas/', 'document#/$defs/')
  }
  // A property may be called "properties", but none of ours is.
  if (copy.type === 'object' && copy.properties !== undefined) copy.additionalProperties = false
  if (copy.exclusiveMinimum === true) {
    copy.exclusiveMinimum = copy.minimum
    delete copy.minimum
  }
  return copy as T
}

function withoutSlash(path: string): string {
  return path.replace(/\/$/, '')
}

/** The body as JSON; of a stream, which does not end, the first event. */
async function bodyOf(response: Response): Promise<unknown> {
  if (response.headers.get('content-type') !== 'text/event-stream') return response.json()
  let text = ''
  for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += part
    const data = /^data: (.*)\n/m.exec(text)?.[1]
    if (data !== undefined) return JSON.parse(data)
  }
  throw new Error(`a stream ended without an event: ${text}`)
}

export interface CheckedApp {
  /** One for each version of the document: 3.1 and 3.0. */
  readonly documents: readonly OpenApi[]
  readonly conformances: readonly Conformance[]
  /**
   * Requests a REST path, of another server when one is given, and compares the answer with both documents; that it
   * still holds, too.
   */
  fetch(path: string, init?: RequestInit, other?: TestApp): Promise<Answer>
}

export async function createCheckedApp(app: TestApp): Promise<CheckedApp> {
  const documents = await Promise.all(
    ['/openapi.json', '/openapi-3.0.json'].map(
      async (path) => (await (await app.fetch(path)).json()) as OpenApi,
    ),
  )
  const conformances = documents.map((document) => new Conformance(document))
  return {
    documents,
    conformances,
    async fetch(path, init, other = app) {
      const response = await other.fetch(path, init)
      const answer = {
        status: response.status,
        headers: response.headers,
        body: await bodyOf(response),
      }
      const method = init?.method ?? 'GET'
      for (const each of conformances) each.check(method, path, answer)
      const tag = response.headers.get('etag')
      if (tag !== null && method === 'GET') {
        const headers = { ...init?.headers, 'If-None-Match': tag }
        const again = await other.fetch(path, { ...init, headers })
        const text = await again.text()
        const unchanged = {
          status: again.status,
          headers: again.headers,
          // Something may have changed meanwhile.
          body: text === '' ? undefined : JSON.parse(text),
        }
        for (const each of conformances) each.check(method, path, unchanged)
      }
      return answer
    },
  }
}
