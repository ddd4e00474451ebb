import { Buffer } from 'node:buffer'
import { type Context, toJson } from '@dowell-chat/api'
import { jsonReply, type MessageReply } from '../core/reply.ts'

/** Charges the bytes of a write's output, and replies with it. */
export async function writeOutput(
  { charge }: Context,
  status: number,
  output: unknown,
): Promise<MessageReply> {
  const json = toJson(output)
  await charge(Buffer.byteLength(json))
  return jsonReply(status, json)
}
