import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventStream, StreamEvent } from '@dowell-chat/api'
import { expect, test } from 'vitest'
import { type Outcome, writeReply } from '../src/http/core/reply.ts'
import { createRequest } from '../src/http/core/request.ts'
import { createEventStreams, type EventWire } from '../src/http/streams/eventStreams.ts'

/** As much as one write takes without asking for a pause. */
const wire: EventWire = { opening: '', heartbeat: '', encoder: () => () => 'x'.repeat(15_000) }

/** Whether something waits that the system does not take any more. */
async function isStuck(res: ServerResponse): Promise<boolean> {
  for (let i = 0; i < 50 && res.writableLength > 0; i++) await sleep(2)
  return res.writableLength > 0
}

test.for([
  ['has ended', true],
  ['goes on', false],
] as const)(
  'a reader for whom little waits, of a stream that %s, is cut when it takes nothing',
  async ([, isEnding]) => {
    const streams = createEventStreams({ heartbeatMs: 20_000, stallMs: 200 })
    const served = Promise.withResolvers<{ res: ServerResponse; outcome: Outcome }>()
    const server = createServer((req, res) => {
      const { promise: left, resolve: leave } = Promise.withResolvers<undefined>()
      let isFull = false
      const stream = {
        async next(): Promise<readonly StreamEvent[] | undefined> {
          if (isFull) return isEnding ? undefined : left
          isFull = await isStuck(res)
          return [{ type: 'end', reason: 'lifetime' }]
        },
        end: leave,
        leave,
      }
      const reply = streams.reply(stream as unknown as EventStream, wire, undefined)
      const { request } = createRequest(req, res, '127.0.0.1')
      served.resolve({ res, outcome: writeReply(res, request, [], reply) })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const socket = connect(port, '127.0.0.1').pause()
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const { res, outcome } = await served.promise
    await once(res, 'close')
    expect(outcome.streamEnd).toEqual({ reason: 'slow_reader', isFault: true })
    socket.destroy()
    streams.close()
    server.close()
    await once(server, 'close')
  },
)
