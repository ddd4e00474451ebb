import type { ReadMarkerRow } from '@dowell-chat/db'
import { z } from 'zod'
import { id, time } from '../encoding/fields.ts'
import { exampleMessage } from '../messages/schema.ts'

export const ReadMarker = z
  .object({
    roomId: id,
    userId: z.string(),
    side: z.boolean().meta({ description: "The reader's. False: the customer. True: support." }),
    seq: z
      .int()
      .nonnegative()
      .meta({ description: 'Read up to and including this message.', example: 1 }),
    updatedAt: time,
  })
  .meta({ id: 'ReadMarker', additionalProperties: true })
export type ReadMarker = z.output<typeof ReadMarker>

export function toReadMarker(row: ReadMarkerRow): ReadMarker {
  return {
    roomId: row.room_id,
    userId: row.user_id,
    side: row.side === 1,
    seq: row.seq,
    updatedAt: new Date(row.updated_at),
  }
}

export const exampleReadMarker = {
  roomId: exampleMessage.roomId,
  userId: 'ABCD12345',
  side: false,
  seq: 1,
  updatedAt: '2023-08-29T05:10:24.000Z',
}
