import { exampleEvent, RestStreamEvent } from '../events/schema.ts'
import { procedure, router } from '../operation/trpc.ts'
import { streamRoutes } from '../v3/streams.ts'
import { explain, type Json, type Paths, requestIdHeader, type Schemas } from './complete.ts'
import { errorResponses, wrongField } from './errors.ts'

const HOW =
  'The answer does not end by itself: server-sent events, each with one line of JSON as its data. An event with an `id` can be resumed from: after a cut, ask again with the last `id` as `Last-Event-ID`, as an EventSource does.'

/** The streams as trpc-to-openapi can document them, which knows calls only: nothing ever calls these. */
export const streamRouter = router(
  Object.fromEntries(
    streamRoutes.map(({ name, path, meta, input }) => [
      name,
      procedure
        .meta({
          ...meta,
          openapi: {
            method: 'GET',
            path: path as `/${string}`,
            tags: ['events'],
            summary: meta.stream.summary,
            description: `${meta.stream.description} ${HOW}`,
            errorResponses: [],
            protect: false,
          },
        })
        .input(input)
        .output(RestStreamEvent)
        .query(() => ({ type: 'heartbeat' as const })),
    ]),
  ),
)

const ownParameters: Json[] = [
  {
    in: 'header',
    name: 'Last-Event-ID',
    description: 'The last `id` that was read. Counts before `after` and `lastEventId`.',
    schema: { type: 'string' },
  },
  {
    in: 'query',
    name: 'streamToken',
    description:
      'In place of an Authorization header, which an EventSource does not send: see createStreamToken.',
    schema: { type: 'string' },
  },
]

/** The paths of the streams as they were generated, completed by what each subscription's meta says. */
export function streamPaths(paths: Paths, schemas: Schemas): Paths {
  for (const { name, path, meta } of streamRoutes) {
    const operation = paths[path]?.get
    if (!operation) throw new Error(`${name} is missing from the generated document`)
    explain(operation, { parameters: meta.example?.input ?? {}, body: {}, answer: exampleEvent })
    const { 'application/json': event } = operation.responses[200]?.content ?? {}
    operation.parameters = [...(operation.parameters ?? []), ...ownParameters]
    operation.responses = {
      200: {
        description: 'Events as they happen: the schema is that of each data line',
        headers: requestIdHeader,
        content: { 'text/event-stream': event as Json },
      },
      ...errorResponses(operation, 'Error', {
        errors: meta.errors,
        wrong: wrongField(operation, schemas),
      }),
    }
  }
  return paths
}
