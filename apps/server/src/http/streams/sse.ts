import { matchStream, type StreamEvent } from '@dowell-chat/api'
import type { ContextOf } from '../caller/identity.ts'
import { hasBody } from '../core/body.ts'
import { methodNotAllowed, nothingHere } from '../core/errors.ts'
import type { Surface } from '../core/request.ts'
import { bodyNotTaken, decodeParameters, fieldsFrom, partsOf } from '../rest/rest.ts'
import type { EventStreams, EventWire } from './eventStreams.ts'

export interface SseOptions {
  readonly contextOf: ContextOf
  readonly streams: EventStreams
}

/** Each event is written once for all its readers. */
const frames = new WeakMap<StreamEvent, string>()

function frameOf(event: StreamEvent): string {
  let frame = frames.get(event)
  if (frame === undefined) {
    const id = 'cursor' in event ? `id: ${event.cursor}\n` : ''
    frame = `${id}data: ${JSON.stringify(event)}\n\n`
    frames.set(event, frame)
  }
  return frame
}

/** All events without a name, so that an EventSource needs no more than `onmessage`. */
const wire: EventWire = {
  opening: 'retry: 2000\n\n',
  heartbeat: 'data: {"type":"heartbeat"}\n\n',
  encoder: () => frameOf,
}

/** The subscriptions as plain server-sent events, for any language. */
export function sse({ contextOf, streams }: SseOptions): Surface {
  return async (req, res) => {
    const { path, query } = partsOf(res)
    const match = matchStream(path)
    if (!match) throw nothingHere()
    if (req.method !== 'GET' && req.method !== 'HEAD') throw methodNotAllowed(res, ['GET'])
    const { streamToken, ...fields } = query
    const context = await contextOf(req, res, { token: streamToken })
    const lastEventId = req.headers['last-event-id']?.toString() || fields.lastEventId
    const input = await context.reading(async () => {
      // Refused unread: streams take no turns.
      if (hasBody(req)) throw bodyNotTaken('GET')
      return {
        ...fieldsFrom('GET', fields, undefined, decodeParameters(match.parameters)),
        ...(lastEventId ? { lastEventId } : {}),
      }
    })
    const stream = await match.open(context, input)
    streams.serve(res, stream, wire, lastEventId)
  }
}
