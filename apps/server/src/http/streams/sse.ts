import {
  type EventStream,
  encodeOnce,
  execute,
  type StreamEvent,
  type V3Route,
} from '@dowell-chat/api'
import type { CreateContext } from '../caller/identity.ts'
import { hasBody } from '../core/body.ts'
import type { Reply } from '../core/reply.ts'
import type { HttpRequest } from '../core/request.ts'
import { bodyNotTaken, decodeParameters, fieldsFrom, queryOf } from '../rest/input.ts'
import type { EventStreams, EventWire } from './eventStreams.ts'

export interface SseOptions {
  readonly createContext: CreateContext
  readonly streams: EventStreams
}

function encodeEvent(event: StreamEvent): string {
  const id = 'cursor' in event ? `id: ${event.cursor}\n` : ''
  return `${id}data: ${JSON.stringify(event)}\n\n`
}

/** No event has a name, so that an EventSource needs only `onmessage`. */
const wire: EventWire = {
  opening: 'retry: 2000\n\n',
  heartbeat: 'data: {"type":"heartbeat"}\n\n',
  encoder: () => (event) => encodeOnce(event, 'sse', encodeEvent),
}

/** Opens the stream of a route. @param parameters of its path, percent-encoded */
export type ServeStream = (
  request: HttpRequest,
  route: V3Route,
  parameters: Readonly<Record<string, string>>,
) => Promise<Reply>

/** The subscriptions as plain server-sent events, for any language. */
export function sse({ createContext, streams }: SseOptions): ServeStream {
  return async (request, { operation, coerce, lists }, parameters) => {
    const { raw } = request
    const token = new URLSearchParams(request.query).get('streamToken') ?? undefined
    const context = await createContext(request, { token })
    const input = await context.readRequest(async () => {
      // Refused unread: streams take no turns.
      if (await hasBody(raw)) throw bodyNotTaken('GET')
      const { streamToken: _, ...fields } = queryOf(request.query, lists)
      const lastEventId = raw.headers['last-event-id']?.toString() || fields.lastEventId
      return {
        ...fieldsFrom('GET', fields, undefined, decodeParameters(parameters)),
        ...(lastEventId ? { lastEventId } : {}),
      }
    })
    const stream = (await execute(context, operation, () => coerce(input))) as EventStream
    return streams.reply(stream, wire, input.lastEventId as string | undefined)
  }
}
