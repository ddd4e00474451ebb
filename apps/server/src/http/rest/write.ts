import { Buffer } from 'node:buffer'
import { type Context, toJson } from '@dowell-chat/api'
import { jsonReply, type MessageReply, noStoreJson } from '../core/reply.ts'
import { entityTag, type Versioned } from './conditionalGet.ts'

/**
 * Charges the bytes of a write's output, and replies with it.
 *
 * @param resource the object in the output that has a version; the reply carries the entity tag that a read of it has
 */
export async function writeOutput(
  { charge }: Context,
  status: number,
  output: unknown,
  resource?: Versioned,
): Promise<MessageReply> {
  const json = toJson(output)
  await charge(Buffer.byteLength(json))
  if (!resource) return jsonReply(status, json)
  const tag = entityTag(resource === output ? json : toJson(resource), resource)
  return jsonReply(status, json, [...noStoreJson, 'ETag', tag])
}
