import { exampleEvent, RestStreamEvent } from '../events/schema.ts'
import { operationNamed, streamNames } from '../operation/operations.ts'
import { explain, type Json, type Paths, requestIdHeader, type Schemas } from './complete.ts'
import { errorResponses, wrongField } from './errors.ts'
import type { Documented } from './generate.ts'

const HOW =
  'A response without end: server-sent events, each with one line of JSON. After a lost connection, send the last `id` as `Last-Event-ID`, as EventSource does.'

const subscriptions = streamNames.map((name) => ({ name, operation: operationNamed(name) }))

/** The event streams as queries, because trpc-to-openapi supports no streams. */
export const documentedStreams: readonly Documented[] = subscriptions.map(
  ({ name, operation: { input, rest } }) => ({
    name,
    kind: 'query',
    method: rest.method,
    path: rest.path,
    tag: rest.tag,
    summary: rest.summary,
    description: `${rest.description} ${HOW}`,
    input,
    output: RestStreamEvent,
  }),
)

const ownParameters: Json[] = [
  {
    in: 'header',
    name: 'Last-Event-ID',
    description: 'The last `id` that you received. Has priority over `after` and `lastEventId`.',
    schema: { type: 'string' },
  },
  {
    in: 'query',
    name: 'streamToken',
    description:
      'Instead of an Authorization header, which EventSource cannot send. See createStreamToken.',
    schema: { type: 'string' },
  },
]

/** Completes the generated paths of the event streams. */
export function streamPaths(paths: Paths, schemas: Schemas): Paths {
  for (const { name, operation: definition } of subscriptions) {
    const { errors, example, rest } = definition
    const operation = paths[rest.path]?.get
    if (!operation) throw new Error(`${name} is missing from the generated document`)
    explain(operation, { parameters: example.input, body: {}, answer: exampleEvent })
    const { 'application/json': event } = operation.responses[200]?.content ?? {}
    operation.parameters = [...(operation.parameters ?? []), ...ownParameters]
    operation.responses = {
      200: {
        description: 'Live events. The schema describes one data line.',
        headers: requestIdHeader,
        content: { 'text/event-stream': event as Json },
      },
      ...errorResponses(operation, 'Error', {
        errors,
        wrong: wrongField(operation, schemas),
      }),
    }
  }
  return paths
}
