import type { EventStream, StreamEvent } from '@dowell-chat/api'
import { noteFailure } from '../core/errors.ts'
import { handOver, type Outgoing } from '../core/request.ts'

/** How events look to one kind of reader. */
export interface EventWire {
  /** What every stream begins with. */
  readonly opening: string
  readonly heartbeat: string
  /** @returns what writes the events of one reader, who has read up to `lastEventId` */
  encoder(lastEventId: string | undefined): (event: StreamEvent) => string
}

export interface EventStreamsOptions {
  /** Milliseconds between two signs of life. */
  readonly heartbeat: number
  /** Milliseconds in which a reader for whom something waits must take at least a part of it. */
  readonly patience: number
}

export interface EventStreams {
  /** Answers with what a stream brings, until it ends or the reader leaves. */
  serve(res: Outgoing, stream: EventStream, wire: EventWire, lastEventId: string | undefined): void
  close(): void
}

export const eventStreamHeaders = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
  // nginx would collect it first.
  'X-Accel-Buffering': 'no',
  // What comes after a stream is a new stream, mostly elsewhere: a connection that is kept only delays the end of a server.
  Connection: 'close',
} as const

/** Who is read to takes turns in this many groups, so that no beat writes to all at once. */
const GROUPS = 20

/** Characters that are written at once; a longer event is written alone. */
const FULL = 64 * 1024

/** How long a reader that was cut has to take what it was told last, in milliseconds. */
const FAREWELL = 1_000

interface Reader {
  readonly res: Outgoing
  readonly wire: EventWire
}

/** Writes event streams. One timer keeps all of them alive. */
export function createEventStreams({ heartbeat, patience }: EventStreamsOptions): EventStreams {
  const groups = Array.from({ length: GROUPS }, () => new Set<Reader>())
  let opened = 0
  let beats = 0
  const beating = setInterval(() => {
    for (const { res, wire } of groups[beats++ % GROUPS] ?? []) {
      // Who has something to read needs no sign of life.
      if (!res.writableNeedDrain && !res.writableEnded) res.write(wire.heartbeat)
    }
  }, heartbeat / GROUPS).unref()

  return {
    serve(res, stream, wire, lastEventId) {
      // The rest of the request may have been no HTTP while the stream was opened: that was answered already.
      if (res.headersSent) {
        stream.leave()
        return
      }
      res.locals.streamEnd = { reason: 'client_left', isFault: false }
      handOver(res)
      res.writeHead(200, eventStreamHeaders)
      if (res.req.method === 'HEAD' || res.destroyed) {
        stream.leave()
        res.end()
        return
      }
      const reader = { res, wire }
      const group = groups[opened++ % GROUPS] as Set<Reader>
      group.add(reader)
      res.once('close', () => {
        group.delete(reader)
        stream.leave()
      })
      // Node's own clock of the socket runs while nothing is taken, and begins anew with each part that is.
      res.setTimeout(patience, () => {
        if (res.writableLength === 0) return
        res.locals.streamEnd = { reason: 'slow_reader', isFault: true }
        stream.end('slow_reader')
        setTimeout(() => res.destroy(), FAREWELL).unref()
      })
      res.write(wire.opening)
      pump(res, stream, wire.encoder(lastEventId)).catch((error: unknown) => {
        // The log cannot be read, perhaps in a moment: the reader comes again.
        noteFailure(res, error)
        res.destroy()
      })
    },
    close() {
      clearInterval(beating)
    },
  }
}

async function pump(
  res: Outgoing,
  stream: EventStream,
  encode: (event: StreamEvent) => string,
): Promise<void> {
  for (let events = await stream.next(); events; events = await stream.next()) {
    let text = ''
    for (const event of events) {
      text += encode(event)
      if (event.type === 'end') {
        res.locals.streamEnd = { reason: event.reason, isFault: event.reason === 'slow_reader' }
      }
      // No more than this waits as text: what comes meanwhile is read from the table later.
      if (text.length < FULL && event !== events.at(-1)) continue
      if (!res.write(text)) await drained(res)
      if (res.destroyed) return
      text = ''
    }
  }
  res.end()
}

/** Resolves when everything was taken, or nobody is there to take it. */
function drained(res: Outgoing): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      res.off('drain', done)
      res.off('close', done)
      resolve()
    }
    res.on('drain', done)
    res.on('close', done)
  })
}
