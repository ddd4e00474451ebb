import { z } from 'zod'
import { expiry, msLeft, time } from '../encoding/fields.ts'
import { readers } from '../operation/access.ts'
import { mutation } from '../operation/operation.ts'
import { streamId } from './openStream.ts'

const input = z.strictObject({
  streamId: streamId.meta({ description: 'The `streamId` with which you opened the stream.' }),
})

const output = z
  .object({
    expiresAt: time.meta({
      description: "When the stream's side counts as absent, unless you repeat the call.",
    }),
    expiresInMs: msLeft,
  })
  .meta({ id: 'SendHeartbeatResult', additionalProperties: true })

/** Says that the reader of a stream is alive. Only the caller who opened the stream can say it; other ids do nothing. */
export const sendHeartbeat = mutation({
  access: readers,
  cost: 'read',
  input,
  output,
  rest: {
    method: 'POST',
    path: '/api/v3/stream-heartbeats',
    tag: 'events',
    summary: "Say that a stream's reader is alive",
    description:
      "For a stream that you opened with `streamId`: send it after each `heartbeat` of the stream, every 20 seconds. Without it, the stream's side counts as absent after 50 seconds, and as present again with the next one. The stream itself goes on.",
  },
  example: {
    input: { streamId: '0192f3a1-7c1e-4d3b' },
    output: { expiresAt: '2023-08-29T05:11:06.000Z', expiresInMs: 45_000 },
  },
  async run({ deps, actor }, { streamId }) {
    return expiry(deps.live.confirm(actor, streamId), deps.clock())
  },
})
