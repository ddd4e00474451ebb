import type { z } from 'zod'
import { type Fields, textReader } from '../encoding/coerce.ts'
import type { EventStream } from '../events/live/stream.ts'
import { type StreamName, streamNames } from '../operation/access.ts'
import type { Context } from '../operation/context.ts'
import { appRouter, createCaller } from '../operation/operations.ts'
import type { Meta } from '../operation/trpc.ts'

type StreamMeta = Meta & Required<Pick<Meta, 'stream'>>

/** Where a subscription is found as plain server-sent events, and what it takes there. */
export interface StreamRoute {
  readonly name: StreamName
  readonly path: string
  readonly meta: StreamMeta
  readonly input: z.ZodObject
}

export const streamRoutes: readonly StreamRoute[] = streamNames.map((name) => {
  const { meta, inputs } = appRouter._def.procedures[name]._def as unknown as {
    meta: StreamMeta
    inputs: [z.ZodObject]
  }
  return { name, path: meta.stream.path, meta, input: inputs[0] }
})

const patterns = streamRoutes.map(({ name, path, input }) => ({
  pattern: new RegExp(`^${path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}/?$`),
  name,
  read: textReader(input),
}))

/** A stream that a URL names. */
export interface StreamMatch {
  /** The path's parameters, as they were sent. */
  readonly parameters: Readonly<Record<string, string>>
  /** Opens it with what was sent, text or values. */
  open(ctx: Context, fields: Fields): Promise<EventStream>
}

export function matchStream(path: string): StreamMatch | undefined {
  for (const { pattern, name, read } of patterns) {
    const found = pattern.exec(path)
    if (found) {
      return {
        parameters: found.groups ?? {},
        open: (ctx, fields) => openStream(ctx, name, read(fields)),
      }
    }
  }
  return undefined
}

/** Calls a subscription. */
export async function openStream(
  ctx: Context,
  name: StreamName,
  input: unknown,
): Promise<EventStream> {
  return (await createCaller(ctx)[name](input as never)) as EventStream
}
