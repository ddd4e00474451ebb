import { type V2Method, type V2Operation, v2Operations } from '../v2/operations.ts'
import { isRead } from '../v2/route.ts'
import {
  capital,
  conditional,
  explain,
  type Json,
  nameBody,
  type Operation,
  type Paths,
  requestIdHeader,
  type Schemas,
} from './complete.ts'
import { errorResponses, wrongField } from './errors.ts'
import type { Documented } from './generate.ts'

/**
 * Each documented operation and method at its own path, `<url>/<type>`. Several share a URL, and trpc-to-openapi allows one
 * procedure per method and path.
 */
export const documentedV2: readonly Documented[] = v2Operations.flatMap((operation) =>
  operation.methods.map((method) => ({
    name: `${operation.name}${method}`,
    kind: isRead(operation, method) ? ('query' as const) : ('mutation' as const),
    method,
    path: innerPath(operation),
    tag: 'v2',
    summary: operation.summary,
    description: operation.description,
    input: operation.input,
    output: operation.output,
  })),
)

function innerPath(operation: V2Operation): `/${string}` {
  return `${operation.url}${operation.type === undefined ? '' : `/${operation.type}`}` as `/${string}`
}

/** Merges the operations that share a URL and a method into one, which `type` selects from. */
export function v2Paths(inner: Paths, schemas: Schemas): Paths {
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
      if (method === 'GET') {
        conditional(
          item.get as Operation,
          sharing.every((one) => isRead(one, method)),
        )
      }
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

/** Merges operations, because OpenAPI allows one per URL and method. */
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
    description: `\`type\` selects the operation:\n\n${definitions
      .map(({ type, summary, description }) =>
        `- \`${type}\`: ${summary}. ${description ?? ''}`.trim(),
      )
      .join('\n')}`,
    responses: {},
  }
  if (method === 'POST') {
    const name = `${capital(method.toLowerCase())}RoomServiceV2Request`
    merged.requestBody = mergeBodies(operations, types, name, schemas)
  } else {
    merged.parameters = [typeParameter(types), ...mergeParameters(operations, types)]
  }
  merged.responses = {
    200: mergeResponses(operations, types),
    ...errorResponses(merged, 'ErrorV2', {
      errors: [
        'INVALID_REQUEST_TYPE',
        // For the `type` of an operation that does not allow the method.
        'METHOD_NOT_ALLOWED',
        ...new Set(definitions.flatMap(({ errors = [] }) => errors)),
      ],
      wrong: { room_id: ['is required'] },
      types,
    }),
  }
  return merged
}

/** A body with `type` as the discriminator of its schemas. */
function mergeBodies(
  operations: Operation[],
  types: string[],
  name: string,
  schemas: Schemas,
): NonNullable<Operation['requestBody']> {
  const bodies = operations.map((operation) => operation.requestBody?.content['application/json'])
  const refs = bodies.map((body) => (body?.schema as { $ref: string } | undefined)?.$ref)
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
    examples: examplesByType(types, bodies),
  }
  return { required: true, content: Object.fromEntries(BODY_KINDS.map((kind) => [kind, body])) }
}

function typeParameter(types: string[]): Json {
  return {
    name: 'type',
    in: 'query',
    description: 'Selects the operation.',
    // Not needed if only one operation has the method.
    required: types.length > 1,
    schema: { type: 'string', enum: types },
    example: types[0],
  }
}

function mergeResponses(operations: Operation[], types: string[]): Operation['responses'][string] {
  const contents = operations.map(
    (operation) => operation.responses[200]?.content?.['application/json'],
  )
  const [only, ...others] = contents.map((content) => content?.schema as Json)
  return {
    description: 'The response of the operation that `type` selects',
    headers: requestIdHeader,
    content: {
      'application/json': {
        // Not oneOf: an empty list matches more than one schema.
        schema: others.length === 0 ? (only as Json) : { anyOf: [only, ...others] },
        examples: examplesByType(types, contents),
      },
    },
  }
}

function examplesByType(types: string[], contents: (Json | undefined)[]): Json {
  return Object.fromEntries(types.map((type, index) => [type, { value: contents[index]?.example }]))
}

/** Documents which types a parameter is for, unless it is for all. Such a parameter is not required. */
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
