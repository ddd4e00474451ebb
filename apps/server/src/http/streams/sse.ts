import { matchStream, type StreamEvent } from '@dowell-chat/api'
import type { CreateContext } from '../caller/identity.ts'
import { hasBody } from '../core/body.ts'
import { encodeOnce } from '../core/encodeOnce.ts'
import { MethodNotAllowedError, notFound } from '../core/errors.ts'
import type { Serve } from '../core/transport.ts'
import { bodyNotTaken, decodeParameters, fieldsFrom, pathAndQuery } from '../rest/input.ts'
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

/** The subscriptions as plain server-sent events, for any language. */
export function sse({ createContext, streams }: SseOptions): Serve {
  return async (request) => {
    const { path, query } = pathAndQuery(request)
    const match = matchStream(path)
    if (!match) throw notFound()
    const { method, raw } = request
    if (method !== 'GET' && method !== 'HEAD') throw new MethodNotAllowedError(['GET'])
    const { streamToken, ...fields } = query
    const context = await createContext(request, { token: streamToken })
    const lastEventId = raw.headers['last-event-id']?.toString() || fields.lastEventId
    const input = await context.readRequest(async () => {
      // Refused unread: streams take no turns.
      if (hasBody(raw)) throw bodyNotTaken('GET')
      return {
        ...fieldsFrom('GET', fields, undefined, decodeParameters(match.parameters)),
        ...(lastEventId ? { lastEventId } : {}),
      }
    })
    return streams.reply(await match.open(context, input), wire, lastEventId)
  }
}
