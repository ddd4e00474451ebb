import type { IncomingHttpHeaders } from 'node:http'
import {
  appRouter,
  type Context,
  type ProcedureName,
  type PublicError,
  toPublicError,
  toSuperjson,
  transformer,
} from '@dowell-chat/api'
import {
  callTRPCProcedure,
  getTRPCErrorFromUnknown,
  getTRPCErrorShape,
  TRPCError,
} from '@trpc/server'

/** Calls that one HTTP request may carry. */
export const MAX_BATCH_SIZE = 50

/** The calls of one HTTP request. */
export interface Calls {
  readonly names: readonly string[]
  readonly type: 'query' | 'mutation'
  /** Whether they came as a batch: then the answer is a list, even for one. */
  readonly isBatch: boolean
}

export interface CallsAnswer {
  readonly status: number
  readonly body: string
  readonly failures: readonly { readonly error: TRPCError; readonly told: PublicError }[]
}

const { procedures, _config: config } = appRouter._def

/**
 * Reads what a request calls, when it is what tRPC's own clients commonly send: queries by GET or mutations by POST, alone
 * or in a batch.
 *
 * @returns undefined for everything else, wrong or rare (streams, unknown names, other methods), which is tRPC's to answer
 */
export function callsOf(
  request: { readonly method?: string | undefined; readonly headers: IncomingHttpHeaders },
  path: string,
  query: URLSearchParams,
): Calls | undefined {
  const { method, headers } = request
  if (method !== 'GET' && method !== 'POST') return undefined
  if (headers['trpc-accept'] !== undefined || headers.accept?.includes('jsonl')) return undefined
  if (query.has('connectionParams')) return undefined
  const type = method === 'GET' ? 'query' : 'mutation'
  const isBatch = query.get('batch') === '1'
  const names = isBatch ? path.split(',') : [path]
  if (names.length > MAX_BATCH_SIZE) return undefined
  const known = names.every(
    (name) =>
      Object.hasOwn(procedures, name) && procedures[name as ProcedureName]._def.type === type,
  )
  return known ? { names, type, isBatch } : undefined
}

/**
 * Makes the calls, all at once, and writes their answers as tRPC's adapter does.
 *
 * @param text the inputs as they were sent, in the query or in the body; read by the first call that was paid for
 */
export async function makeCalls(
  { names, type, isBatch }: Calls,
  text: string,
  ctx: Context,
): Promise<CallsAnswer> {
  let inputs: readonly unknown[] | TRPCError | undefined
  const failures: { error: TRPCError; told: PublicError }[] = []
  const statuses = new Set<number>()

  async function call(path: string, batchIndex: number): Promise<string> {
    try {
      const data = await callTRPCProcedure({
        router: appRouter,
        path,
        type,
        ctx,
        batchIndex,
        signal: undefined,
        getRawInput: async () => {
          inputs ??= inputsIn(text, names.length, isBatch)
          if (inputs instanceof TRPCError) throw inputs
          return inputs[batchIndex]
        },
      })
      statuses.add(200)
      return `{"result":{"data":${written(data)}}}`
    } catch (cause) {
      const error = getTRPCErrorFromUnknown(cause)
      const told = toPublicError(error)
      failures.push({ error, told })
      statuses.add(told.status)
      const shape = getTRPCErrorShape({ config, error, type, path, input: undefined, ctx })
      return `{"error":${toSuperjson(shape)}}`
    }
  }

  const answers = await Promise.all(names.map(call))
  const [status = 207] = statuses.size === 1 ? statuses : []
  return { status, body: isBatch ? `[${answers.join()}]` : (answers[0] as string), failures }
}

// A frozen answer is one that others get as well.
const kept = new WeakMap<object, string>()

function written(data: unknown): string {
  if (typeof data !== 'object' || data === null || !Object.isFrozen(data)) return toSuperjson(data)
  const text = kept.get(data) ?? toSuperjson(data)
  kept.set(data, text)
  return text
}

/** @returns a BAD_REQUEST for what cannot be read, so that it, too, is read once for all calls */
function inputsIn(text: string, count: number, isBatch: boolean): unknown[] | TRPCError {
  try {
    if (text === '') return []
    const sent = JSON.parse(text)
    if (!isBatch) return [transformer.deserialize(sent)]
    if (typeof sent !== 'object' || sent === null || Array.isArray(sent)) {
      throw new TypeError('the inputs of a batch must be an object')
    }
    return Array.from({ length: count }, (_, index) =>
      sent[index] === undefined ? undefined : transformer.deserialize(sent[index]),
    )
  } catch (cause) {
    return new TRPCError({ code: 'BAD_REQUEST', cause })
  }
}
