import { Buffer } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import {
  appRouter,
  assertNothingLost,
  type Context,
  encodeOnce,
  execute,
  findLosses,
  findOperation,
  hasFreeJson,
  type Loss,
  type Mutation,
  type Operation,
  type PublicError,
  pageFromCursor,
  type Query,
  ReadBudget,
  toPublicError,
  toSuperjson,
  toTrpcError,
  transformer,
} from '@dowell-chat/api'
import { getTRPCErrorFromUnknown, getTRPCErrorShape, TRPCError } from '@trpc/server'
import { toUtf8 } from '../core/utf8.ts'

/** Calls that one HTTP request may carry. */
export const MAX_BATCH_SIZE = 50

/** Decodes a name as tRPC does: a stream must not reach its adapter, which misses when the client leaves. */
export function decodeName(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

interface NamedOperation {
  readonly name: string
  readonly operation: Query | Mutation
}

/** The calls of one HTTP request. */
export interface Calls {
  readonly operations: readonly NamedOperation[]
  /** The reply to a batch is a list, even for one call. */
  readonly isBatch: boolean
}

export interface CallFailure {
  readonly error: TRPCError
  readonly publicError: PublicError
}

export interface CallsResult {
  readonly status: number
  readonly body: string | Buffer
  /** In the order in which the calls failed. */
  readonly failures: readonly CallFailure[]
}

const { _config: config } = appRouter._def

/**
 * Finds the operations of a request that tRPC's clients commonly send: queries by GET, queries and mutations by POST,
 * alone or in a batch.
 *
 * @returns undefined for everything else (streams, unknown names, other methods), which tRPC's adapter answers
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
  // With its option methodOverride tRPC's client sends queries by POST.
  const kinds: readonly unknown[] = method === 'GET' ? ['query'] : ['query', 'mutation']
  const isBatch = query.get('batch') === '1'
  const names = isBatch ? path.split(',') : [path]
  if (names.length > MAX_BATCH_SIZE) return undefined
  const operations = names.flatMap((name) => {
    const operation = findOperation(name)
    return isCall(operation) && kinds.includes(operation.kind) ? [{ name, operation }] : []
  })
  // tRPC's adapter refuses a batch of queries and mutations.
  const isOneKind = new Set(operations.map(({ operation }) => operation.kind)).size === 1
  return isOneKind && operations.length === names.length ? { operations, isBatch } : undefined
}

function isCall(operation: Operation | undefined): operation is Query | Mutation {
  return operation !== undefined && operation.kind !== 'subscription'
}

/**
 * Executes the calls and encodes their results as tRPC's adapter does. Writes run concurrently, to share a commit; reads run
 * one after another, under one budget of bytes.
 *
 * @param text the inputs, from the query or the body; parsed by the first call whose quota allows it
 */
export async function executeCalls(
  { operations, isBatch }: Calls,
  text: string,
  ctx: Context,
): Promise<CallsResult> {
  let inputs: readonly unknown[] | TRPCError | undefined
  let losses: Loss[] | undefined
  const failures: CallFailure[] = []
  const statuses = new Set<number>()
  const reads = new ReadBudget()

  async function run(operation: Query | Mutation, index: number): Promise<string | Buffer> {
    const data = await execute(ctx, operation, () => {
      inputs ??= parseInputs(text, operations.length, isBatch)
      if (inputs instanceof TRPCError) throw inputs
      if (hasFreeJson(operation)) {
        losses ??= findLosses(text)
        assertNothingLost(losses, isBatch ? [String(index), 'json'] : ['json'])
      }
      return pageFromCursor(operation, inputs[index])
    })
    const result = encodeResult(data)
    statuses.add(200)
    return result
  }

  async function resultOf(
    { name: path, operation }: NamedOperation,
    index: number,
  ): Promise<string | Buffer> {
    const { kind: type } = operation
    try {
      const call = () => run(operation, index)
      return await (isBatch && type === 'query' ? reads.run(call, bytesIn) : call())
    } catch (cause) {
      const error = toTrpcError(cause) ?? getTRPCErrorFromUnknown(cause)
      const publicError = toPublicError(error)
      failures.push({ error, publicError })
      statuses.add(publicError.status)
      const shape = getTRPCErrorShape({ config, error, type, path, input: undefined, ctx })
      return `{"error":${toSuperjson(shape)}}`
    }
  }

  const results = await Promise.all(operations.map(resultOf))
  const [status = 207] = statuses.size === 1 ? statuses : []
  return { status, body: isBatch ? listOf(results) : (results[0] as string | Buffer), failures }
}

function encodeResult(data: unknown): string | Buffer {
  // Frozen results are shared between readers.
  if (typeof data !== 'object' || data === null || !Object.isFrozen(data)) return resultText(data)
  return encodeOnce(data, 'trpc', (shared) => toUtf8(resultText(shared)))
}

function resultText(data: unknown): string {
  return `{"result":{"data":${toSuperjson(data)}}}`
}

function bytesIn(result: string | Buffer): number {
  return Buffer.byteLength(result)
}

function listOf(results: readonly (string | Buffer)[]): Buffer {
  const parts = results.flatMap((result, index) => [index === 0 ? '[' : ',', result])
  return Buffer.concat(
    [...parts, ']'].map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
  )
}

/** Returns a BAD_REQUEST instead of throwing it, so that malformed inputs, too, are parsed once for all calls. */
function parseInputs(text: string, count: number, isBatch: boolean): unknown[] | TRPCError {
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
