import type { z } from 'zod'
import { type StreamName, streamNames } from '../auth/access.ts'
import type { Context } from '../context.ts'
import type { EventStream } from '../events/stream.ts'
import { appRouter, createCaller } from '../router.ts'
import { callerFactory, type Meta, router, wrapper } from '../trpc.ts'
import { restInput } from './wire.ts'

type StreamMeta = Meta & Required<Pick<Meta, 'stream'>>

/** Where a subscription is found as plain server-sent events, and what it takes there. */
export interface StreamRoute {
  readonly name: StreamName
  readonly path: string
  readonly meta: StreamMeta
  /** Can be read from a URL. */
  readonly input: z.ZodObject
}

export const streamRoutes: readonly StreamRoute[] = streamNames.map((name) => {
  const { meta, inputs } = appRouter._def.procedures[name]._def as unknown as {
    meta: StreamMeta
    inputs: [z.ZodObject]
  }
  return { name, path: meta.stream.path, meta, input: restInput(inputs[0]) }
})

const patterns = streamRoutes.map(({ name, path }) => ({
  name,
  pattern: new RegExp(`^${path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}/?$`),
}))

/** @returns the stream that a URL names, and what the path says of it, still percent-encoded; undefined when there is none */
export function matchStream(
  path: string,
): { readonly name: StreamName; readonly parameters: Record<string, string> } | undefined {
  for (const { name, pattern } of patterns) {
    const match = pattern.exec(path)
    if (match) return { name, parameters: { ...match.groups } }
  }
  return undefined
}

const createStreamCaller = callerFactory(
  router(
    Object.fromEntries(
      streamRoutes.map(({ name, input }) => [
        name,
        wrapper(name)
          .input(input)
          .subscription(({ ctx, input }) => openStream(ctx, name, input)),
      ]),
    ),
  ),
)

/** Calls a subscription. */
export async function openStream(
  ctx: Context,
  name: StreamName,
  input: unknown,
): Promise<EventStream> {
  return (await createCaller(ctx)[name](input as never)) as EventStream
}

/** The same with an input that was read from a URL. */
export async function openRestStream(
  ctx: Context,
  name: StreamName,
  input: Record<string, unknown>,
): Promise<EventStream> {
  return (await createStreamCaller(ctx)[name]?.(input)) as EventStream
}
