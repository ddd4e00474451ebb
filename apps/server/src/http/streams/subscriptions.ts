import {
  AppError,
  appRouter,
  type EventStream,
  encodeOnce,
  execute,
  findOperation,
  type StreamEvent,
  toPublicError,
} from '@dowell-chat/api'
import type { CreateContext } from '../caller/identity.ts'
import { fieldsOf } from '../core/body.ts'
import { challengeHeaders } from '../core/errors.ts'
import type { Outcome, StreamReply } from '../core/reply.ts'
import { decodeName } from '../trpc/calls.ts'
import { trpcErrorFormat } from '../trpc/errorFormat.ts'
import type { Subscribe } from '../trpc/trpc.ts'
import { type EventStreams, type EventWire, eventStreamHeaders } from './eventStreams.ts'

export interface SubscriptionOptions {
  readonly createContext: CreateContext
  readonly streams: EventStreams
}

const { input: fromClient, output: toClient } = appRouter._def._config.transformer

/** After so much silence tRPC's client reconnects. */
const SILENCE_MS = 45_000

const opening = `retry: 2000\n\nevent: connected\ndata: {"reconnectAfterInactivityMs":${SILENCE_MS}}\n\n`

function encodeEvent(event: StreamEvent): string {
  const id = 'cursor' in event ? event.cursor : ''
  return `data: ${JSON.stringify(toClient.serialize(event))}\nid: ${id}\n\n`
}

/** Ends the subscription: the client does not reconnect by itself. */
const RETURN = 'event: return\ndata: \n\n'

/**
 * tRPC's own wire for subscriptions, as its httpSubscriptionLink reads it. tRPC's adapter writes the same, but encodes each
 * event for each client, which costs ten times as much.
 */
const wire: EventWire = {
  opening,
  heartbeat: 'event: ping\ndata: \n\n',
  encoder: (lastEventId) => {
    let id = lastEventId
    return (event) => {
      const frame = encodeOnce(event, 'trpc-sse', encodeEvent)
      if ('cursor' in event) {
        id = event.cursor
        return frame
      }
      // An EventSource gives an event without an id the last one, and tRPC's client takes every event with an id for a
      // tracked one. So the frame clears the id, and an event without listeners restores it.
      const restored = id === undefined ? '' : `event: restore-id\ndata: \nid: ${id}\n\n`
      return frame + restored + (isOver(event) ? RETURN : '')
    }
  },
}

function isOver(event: StreamEvent): boolean {
  return event.type === 'end' && (event.reason === 'expired' || event.reason === 'revoked')
}

/** The subscriptions on tRPC's own wire. */
export function subscriptions({ createContext, streams }: SubscriptionOptions): Subscribe {
  return async (request, path, query) => {
    const operation = findOperation(decodeName(path))
    if (operation?.kind !== 'subscription') return undefined
    // tRPC's adapter refuses another method, or a batch.
    if (request.method !== 'GET' || query.get('batch') === '1') return undefined
    try {
      const { streamToken, ...fields } = fieldsOf(request.query)
      const context = await createContext(request, { token: streamToken })
      const header = request.raw.headers['last-event-id']?.toString()
      const lastEventId = header || fields.lastEventId || undefined
      const input = await context.readRequest(async () => inputOf(fields.input, lastEventId))
      const stream = (await execute(context, operation, () => input)) as EventStream
      return streams.reply(stream, wire, lastEventId)
    } catch (error) {
      return failureReply(request.id, error)
    }
  }
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

/** An EventSource reads the body of a 200 only. It reconnects if the error says when. */
function failureReply(requestId: string, error: unknown): StreamReply {
  const publicError = toPublicError(error)
  const { error: shape } = trpcErrorFormat(publicError, requestId)
  const { retryAfter } = publicError
  const retry = retryAfter === undefined ? '' : `retry: ${retryAfter * 1000}\n\n`
  const outcome: Outcome = {
    streamEnd: { reason: publicError.code, isFault: true },
    ...(publicError.status >= 500 ? { failure: error } : {}),
  }
  return {
    status: 200,
    headers: [...eventStreamHeaders, ...challengeHeaders(error)],
    start(res) {
      res.end(`${opening}${retry}event: serialized-error\ndata: ${JSON.stringify(shape)}\n\n`)
      return outcome
    },
    cancel: () => outcome,
  }
}
