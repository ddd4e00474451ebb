import { type ErrorCode, errorTable } from '../operation/errors.ts'
import { type Json, type Operation, requestIdHeader, type Schemas } from './complete.ts'

/** The headers that answers refer to. */
export const headers = {
  RequestId: {
    description: 'Names this request in the log and in an error body.',
    schema: { type: 'string' },
  },
  ETag: {
    description:
      'Names these bytes: give it as `If-None-Match` to get them only when they changed.',
    schema: { type: 'string' },
  },
  Allow: { description: 'The methods that there are.', schema: { type: 'string' } },
  RetryAfter: {
    description: 'Seconds after which the same request may succeed.',
    schema: { type: 'integer' },
  },
} as const

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

/** The failures that an operation documents, by status: its own, and those that any call like it can meet. */
export function errorResponses(
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

/** A fault that this operation's input can have: a field that is missing, a bad parameter in the path, or a field at all. */
export function wrongField({ parameters = [], requestBody }: Operation, schemas: Schemas): Json {
  const { $ref } = (requestBody?.content['application/json']?.schema ?? {}) as { $ref?: string }
  const body = schemas[$ref?.split('/').at(-1) ?? ''] as { required?: string[] } | undefined
  const inQuery = parameters.find((parameter) => parameter.in === 'query' && parameter.required)
  const missing = body?.required?.find((key) => key !== 'type') ?? inQuery?.name
  if (missing !== undefined) return { [missing as string]: ['is required'] }
  const [first] = parameters
  if (!first) return { name: ['is not a known key'] }
  const { maxLength } = first.schema as { maxLength?: number }
  const fault =
    maxLength === undefined
      ? 'must be an id: 24 of the characters 0-9 and a-f'
      : `must have at most ${maxLength} characters`
  return { [first.name as string]: [fault] }
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

export const errorSchemas: Schemas = {
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
