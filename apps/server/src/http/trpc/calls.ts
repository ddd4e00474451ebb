import { Buffer } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import {
  appRouter,
  type CallableProcedure,
  type Context,
  call,
  callableProcedures,
  type PublicError,
  ReadBudget,
  toPublicError,
  toSuperjson,
  toTrpcError,
  transformer,
} from '@dowell-chat/api'
import { getTRPCErrorFromUnknown, getTRPCErrorShape, TRPCError } from '@trpc/server'
import { bytesOf } from '../core/utf8.ts'

/** Calls that one HTTP request may carry. */
export const MAX_BATCH_SIZE = 50

/** The calls of one HTTP request. */
export interface Calls {
  readonly procedures: readonly CallableProcedure[]
  /** Whether they came as a batch: then the answer is a list, even for one. */
  readonly isBatch: boolean
}

export interface CallsAnswer {
  readonly status: number
  readonly body: string | Buffer
  readonly failures: readonly { readonly error: TRPCError; readonly told: PublicError }[]
}

const { _config: config } = appRouter._def

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
  const procedures = names.flatMap((name) => callableProcedures.get(name) ?? [])
  const known = procedures.length === names.length && procedures.every((one) => one.type === type)
  return known ? { procedures, isBatch } : undefined
}

/**
 * Makes the calls and writes their answers as tRPC's adapter does. Writes run all at once, so that they share a commit;
 * reads run one after another, under one budget of bytes.
 *
 * @param text the inputs as they were sent, in the query or in the body; read by the first call that was paid for
 */
export async function makeCalls(
  { procedures, isBatch }: Calls,
  text: string,
  ctx: Context,
): Promise<CallsAnswer> {
  let inputs: readonly unknown[] | TRPCError | undefined
  const failures: { error: TRPCError; told: PublicError }[] = []
  const statuses = new Set<number>()

  const reads = new ReadBudget()

  async function make(procedure: CallableProcedure, index: number): Promise<string | Buffer> {
    async function run(): Promise<string | Buffer> {
      const data = await call(ctx, procedure, () => {
        inputs ??= inputsIn(text, procedures.length, isBatch)
        if (inputs instanceof TRPCError) throw inputs
        return inputs[index]
      })
      const answer = written(data)
      statuses.add(200)
      return answer
    }
    try {
      const answer = isBatch && procedure.type === 'query' ? reads.run(run, bytesIn) : run()
      return await answer
    } catch (cause) {
      const error = toTrpcError(cause) ?? getTRPCErrorFromUnknown(cause)
      const told = toPublicError(error)
      failures.push({ error, told })
      statuses.add(told.status)
      const { type, name: path } = procedure
      const shape = getTRPCErrorShape({ config, error, type, path, input: undefined, ctx })
      return `{"error":${toSuperjson(shape)}}`
    }
  }

  const answers = await Promise.all(procedures.map(make))
  const [status = 207] = statuses.size === 1 ? statuses : []
  return { status, body: isBatch ? listOf(answers) : (answers[0] as string | Buffer), failures }
}

// A frozen answer is one that others get as well.
const kept = new WeakMap<object, Buffer>()

function written(data: unknown): string | Buffer {
  const text = () => `{"result":{"data":${toSuperjson(data)}}}`
  if (typeof data !== 'object' || data === null || !Object.isFrozen(data)) return text()
  const bytes = kept.get(data) ?? bytesOf(text())
  kept.set(data, bytes)
  return bytes
}

function bytesIn(answer: string | Buffer): number {
  return Buffer.byteLength(answer)
}

function listOf(answers: readonly (string | Buffer)[]): Buffer {
  const parts = answers.flatMap((answer, index) => [index === 0 ? '[' : ',', answer])
  return Buffer.concat(
    [...parts, ']'].map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
  )
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
