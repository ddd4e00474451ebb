import { generateOpenApiDocument, type OpenAPIObject } from 'trpc-to-openapi'
import { appRouter } from '../operation/trpc.ts'
import { type Paths, type Schemas, sortKeys, sortPaths } from './complete.ts'
import { errorSchemas, headers } from './errors.ts'
import { generateFrom } from './generate.ts'
import { withNullableComponents, withNullTypes } from './nullable.ts'
import { documentedStreams, streamPaths } from './streams.ts'
import { documentedV2, v2Paths } from './v2.ts'
import { v3Paths } from './v3.ts'

export type OpenApiVersion = '3.1.0' | '3.0.3'

/** The version of the REST API, not of the software. */
const API_VERSION = '3.0.0'

const description = `Support chat: an end user of some product opens a **room** with an organisation, and both sides write **messages**.

- **v3** has a URL for each resource: \`/api/v3/rooms\`.
- **v2** is the documented DowellChat API at its documented URLs. Where several operations share one URL, \`type\` selects one. Bodies may be JSON, urlencoded or multipart; a trailing slash makes no difference.

Every error body has a \`code\` for programs, a \`message\` for people and a \`requestId\` for the log.`

/** The OpenAPI document of REST v2 and v3. trpc-to-openapi generates it from the procedures. */
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
  const v3 = generateOpenApiDocument(appRouter, options)
  const streams = generateFrom(documentedStreams, options)
  const v2 = generateFrom(documentedV2, options)
  const schemas = {
    ...v3.components?.schemas,
    ...streams.schemas,
    ...v2.schemas,
    ...errorSchemas,
  } as Schemas

  const document = withNullTypes({
    ...v3,
    tags: [
      { name: 'rooms', description: 'Conversations of one user with one organisation.' },
      { name: 'messages', description: 'Messages of both sides.' },
      { name: 'events', description: 'Live events and the event log.' },
      {
        name: 'access',
        description: 'Settings of the organisation, API keys, user tokens and the audit log.',
      },
      { name: 'v2', description: 'The documented DowellChat v2 API.' },
    ],
    // In open mode a caller on the server's own machine needs none. That comes first: Postman takes the first, and would send
    // an empty token.
    security: [{}, { bearer: [] }],
    paths: {
      ...sortPaths({
        ...v3Paths(v3.paths as Paths, schemas),
        ...streamPaths(streams.paths, schemas),
      }),
      ...v2Paths(v2.paths, schemas),
    } as NonNullable<OpenAPIObject['paths']>,
    components: {
      securitySchemes: options.securitySchemes,
      schemas: sortKeys(schemas) as never,
      headers,
    },
  })
  return withNullableComponents(document, version === '3.0.3')
}
