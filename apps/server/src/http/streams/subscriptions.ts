import {
  AppError,
  appRouter,
  openStream,
  type StreamEvent,
  type StreamName,
  streamNames,
  toPublicError,
} from '@dowell-chat/api'
import type { ContextOf } from '../caller/identity.ts'
import { fieldsOf } from '../core/body.ts'
import { noteFailure } from '../core/errors.ts'
import { handOver, type Incoming, type Outgoing } from '../core/request.ts'
import { onTrpcWire } from '../trpc/trpc.ts'
import { type EventStreams, type EventWire, eventStreamHeaders } from './eventStreams.ts'

export interface SubscriptionOptions {
  readonly contextOf: ContextOf
  readonly streams: EventStreams
}

const { input: fromClient, output: toClient } = appRouter._def._config.transformer

/** Milliseconds of silence after which tRPC's client takes the connection for dead. */
const SILENCE = 45_000

const opening = `retry: 2000\n\nevent: connected\ndata: {"reconnectAfterInactivityMs":${SILENCE}}\n\n`

/** Each event is written once for all its readers. */
const frames = new WeakMap<StreamEvent, string>()

function frameOf(event: StreamEvent): string {
  let frame = frames.get(event)
  if (frame === undefined) {
    const id = 'cursor' in event ? event.cursor : ''
    frame = `data: ${JSON.stringify(toClient.serialize(event))}\nid: ${id}\n\n`
    frames.set(event, frame)
  }
  return frame
}

/**
 * tRPC's own wire for subscriptions, as its httpSubscriptionLink reads it. tRPC's adapter writes the same, but everything
 * anew for each reader, which costs ten times as much.
 */
const wire: EventWire = {
  opening,
  heartbeat: 'event: ping\ndata: \n\n',
  encoder: (lastEventId) => {
    let id = lastEventId
    return (event) => {
      const frame = frameOf(event)
      if ('cursor' in event) {
        id = event.cursor
        return frame
      }
      // An EventSource gives an event without an id the last one, and tRPC's client takes what has one for a tracked
      // event: so the id is taken back, and then restored by an event that nobody listens to.
      const restored = id === undefined ? '' : `event: restore-id\ndata: \nid: ${id}\n\n`
      return frame + restored + (isOver(event) ? RETURN : '')
    }
  },
}

/** Tells a client that it need not come again by itself. */
const RETURN = 'event: return\ndata: \n\n'

function isOver(event: StreamEvent): boolean {
  return event.type === 'end' && (event.reason === 'expired' || event.reason === 'revoked')
}

/** Serves a subscription, and says false of what is none. */
export type Subscribe = (
  req: Incoming,
  res: Outgoing,
  path: string,
  query: URLSearchParams,
) => Promise<boolean>

/** The subscriptions on tRPC's own wire. */
export function subscriptions({ contextOf, streams }: SubscriptionOptions): Subscribe {
  return async (req, res, path, query) => {
    const name = nameIn(path)
    // Another method, or a batch, is tRPC's to refuse.
    if (!isStreamName(name) || req.method !== 'GET' || query.get('batch') === '1') return false
    try {
      const { streamToken, ...fields } = fieldsOf(res.locals.query)
      const context = await contextOf(req, res, { token: streamToken })
      const header = req.headers['last-event-id']?.toString()
      const lastEventId = header || fields.lastEventId || undefined
      const input = await context.reading(async () => inputOf(fields.input, lastEventId))
      const stream = await openStream(context, name, input)
      streams.serve(res, stream, wire, lastEventId)
    } catch (error) {
      sendFailure(res, error)
    }
    return true
  }
}

/** As tRPC reads it: its adapter must find no stream, since it would not notice when the reader of one leaves. */
function nameIn(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

function isStreamName(name: string): name is StreamName {
  return (streamNames as readonly string[]).includes(name)
}

/** @throws AppError PARSE_ERROR or BAD_REQUEST */
function inputOf(text: string | undefined, lastEventId: string | undefined): unknown {
  const input = text === undefined ? undefined : fromClient.deserialize(parse(text))
  if (lastEventId === undefined) return input
  if (input === undefined) return { lastEventId }
  return typeof input === 'object' && input !== null ? { ...input, lastEventId } : input
}

function parse(text: string) {
  try {
    const value = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch (cause) {
    throw new AppError('PARSE_ERROR', { message: 'The input is not JSON', cause })
  }
  throw new AppError('BAD_REQUEST', { errors: { input: ['must be an object'] } })
}

/** A failure as tRPC's client wants it: an EventSource reads no answer but 200. It comes again if that may help. */
function sendFailure(res: Outgoing, error: unknown): void {
  const told = toPublicError(error)
  if (told.status >= 500) noteFailure(res, error)
  res.locals.streamEnd = { reason: told.code, isFault: true }
  const { error: shape } = onTrpcWire(told, res.locals.id)
  const retry = told.retryAfter === undefined ? '' : `retry: ${told.retryAfter * 1000}\n\n`
  handOver(res)
  res.writeHead(200, eventStreamHeaders)
  res.end(`${opening}${retry}event: serialized-error\ndata: ${JSON.stringify(shape)}\n\n`)
}
