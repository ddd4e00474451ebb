import type { ServerResponse } from 'node:http'
import type { EventStream, StreamEvent } from '@dowell-chat/api'
import { firstEvent } from '../core/firstEvent.ts'
import type { HeaderList, Outcome, StreamEnd, StreamReply } from '../core/reply.ts'

/** How events are encoded for one kind of client. */
export interface EventWire {
  /** The first bytes of every stream. */
  readonly opening: string
  readonly heartbeat: string
  /** @returns an encoder for one client, which has read up to `lastEventId` */
  encoder(lastEventId: string | undefined): (event: StreamEvent) => string
}

export interface EventStreamsOptions {
  readonly heartbeatMs: number
  /** How long a client may read none of the bytes that wait for it. */
  readonly stallMs: number
}

export interface EventStreams {
  /** Replies with the events of a stream, until it ends or the client leaves. */
  reply(stream: EventStream, wire: EventWire, lastEventId: string | undefined): StreamReply
  close(): void
}

export const eventStreamHeaders: HeaderList = [
  'Content-Type',
  'text/event-stream',
  'Cache-Control',
  'no-store',
  // Without it nginx buffers the stream.
  'X-Accel-Buffering',
  'no',
  // The next stream often goes to another server: a kept connection would only delay a shutdown.
  'Connection',
  'close',
]

/** Heartbeats go to one group after another, never to all clients at once. */
const GROUPS = 20

/** Characters that are written at once; a longer event is written alone. */
const MAX_WRITE_CHARS = 64 * 1024

/** How long a client that was cut has to read the last event. */
const CLOSE_DELAY_MS = 1_000

interface Client {
  readonly res: ServerResponse
  readonly wire: EventWire
}

/** Writes event streams, with one timer for all heartbeats. */
export function createEventStreams({ heartbeatMs, stallMs }: EventStreamsOptions): EventStreams {
  const groups = Array.from({ length: GROUPS }, () => new Set<Client>())
  let opened = 0
  let beats = 0
  const heartbeats = setInterval(() => {
    for (const { res, wire } of groups[beats++ % GROUPS] ?? []) {
      // Skip the heartbeat while data is buffered.
      if (!res.writableNeedDrain && !res.writableEnded) res.write(wire.heartbeat)
    }
  }, heartbeatMs / GROUPS).unref()

  return {
    reply(stream, wire, lastEventId) {
      const log = new StreamLog()
      return {
        status: 200,
        headers: eventStreamHeaders,
        cancel() {
          stream.leave()
          return log
        },
        start(res) {
          const client = { res, wire }
          const group = groups[opened++ % GROUPS] as Set<Client>
          group.add(client)
          res.once('close', () => {
            group.delete(client)
            stream.leave()
          })
          // Node restarts this timer with each chunk that the client reads.
          res.setTimeout(stallMs, () => {
            if (res.writableLength === 0) return
            log.streamEnd = { reason: 'slow_reader', isFault: true }
            stream.end('slow_reader')
            setTimeout(() => res.destroy(), CLOSE_DELAY_MS).unref()
          })
          res.write(wire.opening)
          pump(res, stream, wire.encoder(lastEventId), log).catch((error: unknown) => {
            // The event log cannot be read, perhaps for a moment: the client reconnects.
            log.failure = error
            res.destroy()
          })
          return log
        },
      }
    },
    close() {
      clearInterval(heartbeats)
    },
  }
}

class StreamLog implements Outcome {
  failure: unknown
  streamEnd: StreamEnd = { reason: 'client_left', isFault: false }
}

async function pump(
  res: ServerResponse,
  stream: EventStream,
  encode: (event: StreamEvent) => string,
  log: StreamLog,
): Promise<void> {
  for (let events = await stream.next(); events; events = await stream.next()) {
    let text = ''
    for (const event of events) {
      text += encode(event)
      if (event.type === 'end') {
        log.streamEnd = { reason: event.reason, isFault: event.reason === 'slow_reader' }
      }
      // Bounds the buffered text: later events are read from the table.
      if (text.length < MAX_WRITE_CHARS && event !== events.at(-1)) continue
      // When the client leaves, nothing drains.
      if (!res.write(text)) await firstEvent(res, ['drain', 'close'])
      if (res.destroyed) return
      text = ''
    }
  }
  res.end()
}
