import { type ErrorCode, errorTable } from '../operation/errors.ts'
import { type Json, type Operation, requestIdHeader, type Schemas } from './complete.ts'

/** Response headers, as components of the document. */
export const headers = {
  RequestId: {
    description: 'Id of the request, also in the log and in error bodies.',
    schema: { type: 'string' },
  },
  ETag: {
    description:
      'Send it as `If-None-Match`: you get 304 if nothing changed. That of a room, a message or an organisation may be sent as `If-Match`.',
    schema: { type: 'string' },
  },
  Allow: { description: 'Allowed methods.', schema: { type: 'string' } },
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

/** Errors of every operation. */
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

/** The parts of an operation's error responses that differ from the others. */
interface OwnErrors {
  readonly errors?: readonly ErrorCode[] | undefined
  /** An input error by field, for the example. */
  readonly wrong: Json
  /** The values of `type`. */
  readonly types?: readonly string[]
}

/** The error responses of an operation by status: common ones and its own. */
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

/** An example of an input error: a missing field, an invalid path parameter, or else an unknown key. */
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
    description: 'Error code for programs.',
  },
  message: { type: 'string', description: 'Error text for people.' },
  requestId: { type: 'string', description: 'The same as in the X-Request-Id header.' },
  errors: {
    type: 'object',
    description: 'Errors of the input, by field.',
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
