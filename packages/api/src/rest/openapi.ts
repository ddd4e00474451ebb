import { generateOpenApiDocument, type OpenAPIObject } from 'trpc-to-openapi'
import { type ErrorCode, errorTable } from '../errors.ts'
import type { Meta } from '../trpc.ts'
import { type V2Method, type V2Operation, v2Operations } from './v2/operations.ts'
import { innerPath, v2Router } from './v2/router.ts'
import { v3Router } from './v3.ts'

type Json = Record<string, unknown>
type Operation = Json & {
  operationId: string
  parameters?: Json[]
  requestBody?: { required?: boolean; content: Record<string, Json> }
  responses: Record<string, Json & { content?: Record<string, Json> }>
}
type Paths = Record<string, Record<string, Operation>>
type Schemas = Record<string, Json>

export type OpenApiVersion = '3.1.0' | '3.0.3'

/** The version of the REST API, not of the software. */
const API_VERSION = '3.0.0'

const description = `Support chat: an end user of some product opens a **room** with an organisation, and both sides write **messages**.

- **v3** names things by resource: \`/api/v3/rooms\`.
- **v2** is the documented DowellChat API at its documented URLs. Where several operations share one URL, \`type\` chooses. Bodies may be JSON, urlencoded or multipart; a trailing slash makes no difference.

Every error body has a \`code\` for programs, a \`message\` for people and a \`requestId\` for the log.`

/** The OpenAPI document of both REST surfaces, made from the procedures by trpc-to-openapi. */
export function createOpenApiDocument(version: OpenApiVersion): OpenAPIObject {
  const options = {
    title: 'Dowell Chat',
    description,
    version: API_VERSION,
    baseUrl: '/',
    openApiVersion: version,
    license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
    securitySchemes: {
      bearer: {
        type: 'http',
        scheme: 'bearer',
        description: 'An API key (`dck_…`) for servers, or a user token for one person.',
      },
    },
  } as const
  const v3 = generateOpenApiDocument(v3Router, options)
  const v2 = generateOpenApiDocument(v2Router, options)
  const schemas = {
    ...v3.components?.schemas,
    ...v2.components?.schemas,
    ...errorSchemas,
  } as Schemas

  return {
    ...v3,
    tags: [
      { name: 'rooms', description: 'Conversations of one user with one organisation.' },
      { name: 'messages', description: 'What the two sides write in a room.' },
      { name: 'access', description: 'API keys, user tokens and the audit log.' },
      { name: 'v2', description: 'The documented DowellChat v2 API.' },
    ],
    // In open mode a caller on the server's own machine needs none.
    security: [{ bearer: [] }, {}],
    paths: {
      ...v3Paths(v3.paths as Paths, schemas),
      ...v2Paths(v2.paths as Paths, schemas),
    } as NonNullable<OpenAPIObject['paths']>,
    components: {
      securitySchemes: options.securitySchemes,
      schemas: sortKeys(schemas) as never,
      headers: {
        RequestId: {
          description: 'Names this request in the log and in an error body.',
          schema: { type: 'string' },
        },
        Allow: { description: 'The methods that there are.', schema: { type: 'string' } },
        RetryAfter: {
          description: 'Seconds after which the same request may succeed.',
          schema: { type: 'integer' },
        },
      },
    },
  }
}

function v3Paths(paths: Paths, schemas: Schemas): Paths {
  for (const [name, procedure] of Object.entries(v3Router._def.procedures)) {
    const meta = procedure._def.meta as Meta
    if (!meta.openapi) continue
    const { path } = meta.openapi
    const method = meta.openapi.method.toLowerCase()
    const operation = paths[path]?.[method]
    if (!operation) throw new Error(`${name} is missing from the generated document`)
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, key]) => key)
    const example = meta.example?.input ?? {}
    nameBody(operation, `${capital(name)}Request`, schemas)
    explain(operation, {
      parameters: example,
      body: Object.fromEntries(Object.entries(example).filter(([key]) => !inPath.includes(key))),
      answer: meta.example?.output,
    })
    const { 200: success, ...rest } = operation.responses
    operation.responses = {
      ...(meta.rest?.created
        ? {
            ...(meta.rest.repeated !== undefined && {
              200: {
                ...withExample(success as Json, meta.rest.repeated),
                description: 'It was there already',
              },
            }),
            201: { ...success, description: 'It was made' } as Json,
          }
        : { 200: { ...success, description: 'The answer' } as Json }),
      ...rest,
      ...errorResponses(operation, 'Error', {
        errors: meta.errors,
        wrong: wrongField(operation, schemas),
      }),
    }
  }
  return sortKeys(paths)
}

/** The documented URLs: what shares a URL and a method becomes one operation, with `type` to choose. */
function v2Paths(inner: Paths, schemas: Schemas): Paths {
  const paths: Paths = {}
  for (const [url, operations] of Map.groupBy(v2Operations, ({ url }) => url)) {
    const item: Record<string, Operation> = {}
    const methods = new Set(operations.flatMap(({ methods }) => methods))
    for (const method of methods) {
      const sharing = operations.filter((operation) => operation.methods.includes(method))
      const generated = sharing.map((operation) => {
        const found = inner[innerPath(operation)]?.[method.toLowerCase()]
        if (!found) throw new Error(`${operation.name} is missing from the generated document`)
        return prepareV2(operation, method, found, schemas)
      })
      item[method.toLowerCase()] =
        operations.length === 1 && generated[0]
          ? { ...generated[0], operationId: `${operations[0]?.name}V2` }
          : mergeByType(method, sharing, generated, schemas)
    }
    paths[`${url}/`] = item
  }
  return paths
}

const BODY_KINDS = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data']

function prepareV2(
  definition: V2Operation,
  method: V2Method,
  operation: Operation,
  schemas: Schemas,
): Operation {
  const body = operation.requestBody?.content['application/json']
  if (body && definition.type !== undefined) addType(body.schema as Json, definition.type)
  nameBody(operation, `${capital(definition.name)}V2Request`, schemas)
  explain(operation, {
    parameters: definition.example.input,
    body: definition.example.input,
    answer: definition.example.output,
  })
  operation.operationId = `${definition.name}${method}`
  operation.responses = {
    200: { ...operation.responses[200], description: definition.summary },
    ...errorResponses(operation, 'ErrorV2', {
      errors: definition.errors,
      wrong: wrongField(operation, schemas),
    }),
  }
  if (operation.requestBody && body) {
    operation.requestBody.content = Object.fromEntries(BODY_KINDS.map((kind) => [kind, body]))
  }
  return operation
}

function addType(schema: Json, type: string): void {
  schema.properties = {
    type: { type: 'string', enum: [type] },
    ...(schema.properties as Json),
  }
  schema.required = ['type', ...((schema.required as string[] | undefined) ?? [])]
}

function mergeByType(
  method: V2Method,
  definitions: V2Operation[],
  operations: Operation[],
  schemas: Schemas,
): Operation {
  const types = definitions.map(({ type }) => type as string)
  const merged: Operation = {
    operationId: `${method.toLowerCase()}RoomServiceV2`,
    tags: ['v2'],
    summary: definitions.map(({ summary }) => summary).join('; '),
    description: `\`type\` chooses the operation:\n\n${definitions
      .map(({ type, summary, description }) =>
        `- \`${type}\`: ${summary}. ${description ?? ''}`.trim(),
      )
      .join('\n')}`,
    responses: {},
  }
  const alone = definitions.length === 1
  if (method === 'POST') {
    const bodies = operations.map((operation) => operation.requestBody?.content['application/json'])
    const refs = bodies.map((body) => (body?.schema as { $ref: string } | undefined)?.$ref)
    const name = `${capital(method.toLowerCase())}RoomServiceV2Request`
    schemas[name] = {
      type: 'object',
      oneOf: refs.map(($ref) => ({ $ref })),
      discriminator: {
        propertyName: 'type',
        mapping: Object.fromEntries(types.map((type, index) => [type, refs[index]])),
      },
    }
    const body = {
      schema: { $ref: `#/components/schemas/${name}` },
      examples: Object.fromEntries(
        types.map((type, index) => [type, { value: bodies[index]?.example }]),
      ),
    }
    merged.requestBody = {
      required: true,
      content: Object.fromEntries(BODY_KINDS.map((kind) => [kind, body])),
    }
  } else {
    merged.parameters = [
      {
        name: 'type',
        in: 'query',
        description: 'Chooses the operation.',
        // With one operation for the method there is nothing to choose.
        required: !alone,
        schema: { type: 'string', enum: types },
        example: types[0],
      },
      ...mergeParameters(operations, types),
    ]
  }

  const answers = operations.map(
    (operation) => operation.responses[200]?.content?.['application/json'],
  )
  const schemaOfAnswers = answers.map((answer) => answer?.schema as Json)
  merged.responses = {
    200: {
      description: 'The answer of the operation that `type` chose',
      headers: requestIdHeader,
      content: {
        'application/json': {
          // Not oneOf: a list without items is an answer of more than one of them.
          schema: alone ? (schemaOfAnswers[0] as Json) : { anyOf: schemaOfAnswers },
          examples: Object.fromEntries(
            types.map((type, index) => [type, { value: answers[index]?.example }]),
          ),
        },
      },
    },
    ...errorResponses(merged, 'ErrorV2', {
      errors: [
        'INVALID_REQUEST_TYPE',
        // The type of an operation that is called with another method.
        'METHOD_NOT_ALLOWED',
        ...new Set(definitions.flatMap(({ errors = [] }) => errors)),
      ],
      wrong: { room_id: ['is required'] },
      types,
    }),
  }
  return merged
}

/** A parameter of one of the operations only is documented as such, and required of none. */
function mergeParameters(operations: Operation[], types: string[]): Json[] {
  const merged = new Map<string, { parameter: Json; types: string[] }>()
  operations.forEach((operation, index) => {
    for (const parameter of operation.parameters ?? []) {
      const name = parameter.name as string
      const known = merged.get(name)
      if (known) known.types.push(types[index] as string)
      else merged.set(name, { parameter, types: [types[index] as string] })
    }
  })
  return [...merged.values()].map(({ parameter, types: usedBy }) =>
    usedBy.length === types.length
      ? parameter
      : {
          ...parameter,
          required: false,
          description: `For ${usedBy.join(', ')}. ${parameter.description ?? ''}`.trim(),
        },
  )
}

/** Gives a request body a name of its own, for the generators of clients. */
function nameBody(operation: Operation, name: string, schemas: Schemas): void {
  const json = operation.requestBody?.content['application/json']
  if (!json) return
  // v3 refuses unknown keys and v2 ignores them, but neither wants them.
  schemas[name] = json.schema as Json
  json.schema = { $ref: `#/components/schemas/${name}` }
  if (operation.requestBody) operation.requestBody.required = true
}

/** Says what the generator does not: where a parameter's description is, and what a call and its answer look like. */
function explain(
  operation: Operation,
  example: { parameters: Json; body: Json; answer: unknown },
): void {
  for (const parameter of operation.parameters ?? []) {
    parameter.description ??= (parameter.schema as Json).description
    const value = example.parameters[parameter.name as string]
    if (value !== undefined) parameter.example = value
  }
  const body = operation.requestBody?.content['application/json']
  if (body) body.example = example.body
  const { 200: answer } = operation.responses
  if (answer) {
    operation.responses[200] = { ...withExample(answer, example.answer), headers: requestIdHeader }
  }
}

/** The same JSON response with another example. */
function withExample(response: Json, example: unknown): Json & { content: Record<string, Json> } {
  const { 'application/json': json } = response.content as Record<string, Json>
  return { ...response, content: { 'application/json': { ...json, example } } }
}

const requestIdHeader = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } }
const headersOf: Partial<Record<ErrorCode, Json>> = {
  METHOD_NOT_ALLOWED: { Allow: { $ref: '#/components/headers/Allow' } },
  TOO_MANY_REQUESTS: { 'Retry-After': { $ref: '#/components/headers/RetryAfter' } },
  SERVICE_UNAVAILABLE: { 'Retry-After': { $ref: '#/components/headers/RetryAfter' } },
}

/** What any call can meet. */
const COMMON: readonly ErrorCode[] = [
  'BAD_REQUEST',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'TOO_MANY_REQUESTS',
  'INTERNAL_SERVER_ERROR',
  'SERVICE_UNAVAILABLE',
]
const WITH_BODY: readonly ErrorCode[] = [
  'PARSE_ERROR',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
]

/** What an operation's errors look like in particular. */
interface OwnErrors {
  readonly errors?: readonly ErrorCode[] | undefined
  /** What bad input there is, by field: for the example. */
  readonly wrong: Json
  /** What `type` may say. */
  readonly types?: readonly string[]
}

function errorResponses(
  operation: Operation,
  schema: 'Error' | 'ErrorV2',
  own: OwnErrors,
): Operation['responses'] {
  const inQuery = operation.parameters?.some((parameter) => parameter.in === 'query')
  const codes = [
    ...COMMON,
    ...(operation.requestBody ? WITH_BODY : []),
    ...(inQuery ? (['URI_TOO_LONG'] as const) : []),
    ...(own.errors ?? []),
  ]
  const fields: Partial<Record<ErrorCode, Json>> = {
    BAD_REQUEST: own.wrong,
    INVALID_REQUEST_TYPE: { type: [`must be one of ${own.types?.join(', ')}`] },
  }
  const exampleOf = (code: ErrorCode) => ({
    ...(schema === 'ErrorV2' ? { success: false } : {}),
    code,
    message: errorTable[code].text,
    requestId: '6f1c2a9e-3b57-4c1d-9a55-0e6d0f0a7b21',
    ...(fields[code] ? { errors: fields[code] } : {}),
  })
  const byStatus = Map.groupBy(codes, (code) => errorTable[code].status)
  const entries = [...byStatus].map(([status, codes]) => [
    status,
    {
      description: [...new Set(codes.map((code) => errorTable[code].text))].join('. '),
      headers: Object.assign({}, requestIdHeader, ...codes.map((code) => headersOf[code])),
      content: {
        'application/json': {
          schema: { $ref: `#/components/schemas/${schema}` },
          examples: Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code) }])),
        },
      },
    },
  ])
  return Object.fromEntries(entries)
}

/** A fault that this operation's input can have: a field that is missing, or a bad id in the path. */
function wrongField({ parameters = [], requestBody }: Operation, schemas: Schemas): Json {
  const { $ref } = (requestBody?.content['application/json']?.schema ?? {}) as { $ref?: string }
  const body = schemas[$ref?.split('/').at(-1) ?? ''] as { required?: string[] } | undefined
  const inQuery = parameters.find((parameter) => parameter.in === 'query' && parameter.required)
  const missing = body?.required?.find((key) => key !== 'type') ?? inQuery?.name
  if (missing !== undefined) return { [missing as string]: ['is required'] }
  return { [parameters[0]?.name as string]: ['must be an id: 24 of the characters 0-9 and a-f'] }
}

const errorProperties = {
  code: {
    type: 'string',
    enum: Object.keys(errorTable),
    description: 'What went wrong, for a program to test.',
  },
  message: { type: 'string', description: 'What went wrong, for a person to read.' },
  requestId: { type: 'string', description: 'The same as in the X-Request-Id header.' },
  errors: {
    type: 'object',
    description: 'What is wrong with the input, by field.',
    additionalProperties: { type: 'array', items: { type: 'string' } },
  },
}

const errorSchemas: Schemas = {
  Error: {
    type: 'object',
    required: ['code', 'message', 'requestId'],
    properties: errorProperties,
  },
  ErrorV2: {
    type: 'object',
    required: ['success', 'code', 'message', 'requestId'],
    properties: { success: { type: 'boolean', enum: [false] }, ...errorProperties },
  },
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function sortKeys<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}
