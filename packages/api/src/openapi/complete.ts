import type { MergePatch } from '../operation/operation.ts'

/** A part of an OpenAPI document, as trpc-to-openapi generates it and we complete it. */
export type Json = Record<string, unknown>

export type Operation = Json & {
  operationId: string
  parameters?: Json[]
  requestBody?: { required?: boolean; content: Record<string, Json> }
  responses: Record<string, Json & { content?: Record<string, Json> }>
}
/** By path, then by method in lower case. */
export type Paths = Record<string, Record<string, Operation>>
/** The document's named schemas. */
export type Schemas = Record<string, Json>

export const requestIdHeader = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } }

/** Names the schema of a request body: client generators use the name. */
export function nameBody(operation: Operation, name: string, schemas: Schemas): void {
  const json = operation.requestBody?.content['application/json']
  if (!json) return
  const schema = json.schema as { required?: string[]; properties?: Record<string, Json> }
  for (const property of Object.values(schema.properties ?? {})) tellDefault(property)
  schemas[name] = schema
  json.schema = { $ref: `#/components/schemas/${name}` }
  if (operation.requestBody) operation.requestBody.required = Boolean(schema.required?.length)
}

/** Moves a default to the description: client generators take a field with a `default` for one that is always there. */
function tellDefault(property: Json): void {
  if (!('default' in property)) return
  property.description = [property.description, `Default: ${property.default}.`].join(' ').trim()
  delete property.default
}

/** Adds descriptions of parameters, and examples of the request and the response. */
export function explain(
  operation: Operation,
  example: { parameters: Json; body: Json; answer: unknown },
): void {
  for (const parameter of operation.parameters ?? []) {
    parameter.schema = inUrl(parameter.schema as Json)
    parameter.description ??= (parameter.schema as Json).description
    const value = example.parameters[parameter.name as string]
    if (value !== undefined) parameter.example = value
    // Client generators repeat the key. Commas are accepted as well.
    if ((parameter.schema as Json).type === 'array') {
      Object.assign(parameter, { style: 'form', explode: true })
    }
  }
  const body = operation.requestBody?.content['application/json']
  if (body) body.example = example.body
  const { 200: answer } = operation.responses
  if (answer) {
    operation.responses[200] = { ...withExample(answer, example.answer), headers: requestIdHeader }
  }
}

/** The schema of a parameter: in a URL a single value is a list of one, and null is empty. */
function inUrl(schema: Json): Json {
  const { anyOf = [], nullable, ...rest } = schema as Json & { anyOf?: Json[] }
  const list = anyOf.find(({ type }) => type === 'array')
  if (list) return { ...list, ...rest }
  const text = anyOf.some(({ type }) => type === 'null') ? anyOf[0] : nullable && rest
  return text ? { ...text, ...rest, minLength: 0 } : schema
}

/**
 * Documents `ETag`, `If-None-Match` and 304 of a read.
 *
 * @param always false if only some responses have an `ETag`
 */
export function conditional(operation: Operation, always = true): void {
  const headers = { ...requestIdHeader, ETag: { $ref: '#/components/headers/ETag' } }
  const { 200: answer, ...failures } = operation.responses
  operation.parameters = [
    ...(operation.parameters ?? []),
    {
      in: 'header',
      name: 'If-None-Match',
      description: 'The `ETag` of a stored response. 304 if nothing changed.',
      schema: { type: 'string' },
    },
  ]
  operation.responses = {
    200: { ...answer, headers: always ? headers : requestIdHeader },
    304: { description: 'Not changed', headers },
    ...failures,
  }
}

/** Documents the `ETag` of a write's responses, and `If-Match` if the write takes it. */
export function tagged(operation: Operation, takesIfMatch: boolean): void {
  for (const status of ['200', '201']) {
    const response = operation.responses[status]
    if (!response) continue
    response.headers = { ...requestIdHeader, ETag: { $ref: '#/components/headers/ETag' } }
  }
  if (!takesIfMatch) return
  operation.parameters = [
    ...(operation.parameters ?? []),
    {
      in: 'header',
      name: 'If-Match',
      description:
        'The `ETag` of what you have read, several, or `*`. 412 if the object has another version now. The version at the end of a tag is compared.',
      schema: { type: 'string' },
    },
  ]
}

/** Documents a JSON merge patch as a second kind of body. */
export function patchable(operation: Operation, patch: MergePatch, schemas: Schemas): void {
  const json = operation.requestBody?.content['application/json']
  const { $ref = '' } = (json?.schema ?? {}) as { $ref?: string }
  const name = $ref.split('/').at(-1) ?? ''
  const { properties } = schemas[name] as { properties: Record<string, Json> }
  const schema = name.replace('Request', 'MergePatch')
  schemas[schema] = {
    type: 'object',
    description: 'A JSON merge patch (RFC 7396). Members that you leave out do not change.',
    properties: Object.fromEntries(
      patch.members.map((member) => {
        const { description, ...rest } = properties[member] as Json
        if (!(member in (patch.removed ?? {}))) return [member, properties[member]]
        const what = patch.merged?.[member] ? 'An object is merged' : 'A value replaces'
        return [
          member,
          rest.nullable ? properties[member] : { description: `${what}; null clears.` },
        ]
      }),
    ),
    additionalProperties: false,
  }
  const content = operation.requestBody?.content
  if (content) {
    content['application/merge-patch+json'] = {
      schema: { $ref: `#/components/schemas/${schema}` },
    }
  }
}

/** The same JSON response with another example. */
export function withExample(
  response: Json,
  example: unknown,
): Json & { content: Record<string, Json> } {
  const { 'application/json': json } = response.content as Record<string, Json>
  return { ...response, content: { 'application/json': { ...json, example } } }
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

export function sortKeys<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}

const METHODS = ['post', 'get', 'put', 'patch', 'delete']

/** Sorts the paths by name, and the operations of each by method: no order depends on the list of operations. */
export function sortPaths(paths: Paths): Paths {
  const sorted = Object.entries(sortKeys(paths)).map(([path, operations]) => [
    path,
    Object.fromEntries(
      Object.entries(operations).sort(([a], [b]) => METHODS.indexOf(a) - METHODS.indexOf(b)),
    ),
  ])
  return Object.fromEntries(sorted)
}
