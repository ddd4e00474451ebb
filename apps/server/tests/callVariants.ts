import { Agent } from 'node:http'
import {
  type CallName,
  callNames,
  type Inputs,
  operationNamed,
  v2Operations,
} from '@dowell-chat/api'
import superjson from 'superjson'
import { type SentHeaders, send as sendAs } from './http.ts'
import type { TestApp } from './support.ts'

/** An answer, whatever surface it came by. */
export interface Reply {
  /** Of a batch: the status of the call's own result. */
  readonly status: number
  /** Of a batch: the call's own result. */
  readonly body: unknown
  /** Everything that was sent, as text. */
  readonly text: string
  /** The HTTP status; of a batch the one of all its results together. */
  readonly httpStatus: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** One surface over which an operation can be called. */
export interface CallVariant {
  readonly procedure: CallName
  readonly title: string
  readonly surface: 'tRPC' | 'tRPC batch' | 'v2' | 'v3'
  call(app: TestApp, input: Record<string, unknown>, headers?: SentHeaders): Promise<Reply>
}

/** Every operation on every surface that has it, from the lists of operations. */
export const callVariants: readonly CallVariant[] = callNames.flatMap((procedure) => [
  trpcVariant(procedure),
  batchVariant(procedure),
  ...v2Variants(procedure),
  ...v3Variants(procedure),
])

export function callVariantsOf<Name extends CallName>(name: Name) {
  return callVariants.filter(({ procedure }) => procedure === name) as readonly (CallVariant & {
    call(app: TestApp, input: Inputs[Name], headers?: SentHeaders): Promise<Reply>
  })[]
}

const agent = new Agent({ keepAlive: true, maxSockets: 8 })

async function send(
  app: TestApp,
  method: string,
  path: string,
  headers: SentHeaders,
  body?: unknown,
): Promise<Omit<Reply, 'status'>> {
  const json = body === undefined ? {} : { 'Content-Type': 'application/json' }
  const { status: httpStatus, ...answer } = await sendAs(app, {
    method,
    path,
    agent,
    headers: { ...headers, ...json },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  return { httpStatus, ...answer }
}

function typeOf(procedure: CallName): 'query' | 'mutation' {
  return operationNamed(procedure).kind as 'query' | 'mutation'
}

function trpcVariant(procedure: CallName): CallVariant {
  const query = typeOf(procedure) === 'query'
  return {
    procedure,
    surface: 'tRPC',
    title: `tRPC ${procedure}`,
    async call(app, input, headers = {}) {
      const value = superjson.serialize(input)
      const reply = query
        ? await send(app, 'GET', `/trpc/${procedure}?${inputQuery(value)}`, headers)
        : await send(app, 'POST', `/trpc/${procedure}`, headers, value)
      return { ...reply, status: reply.httpStatus }
    },
  }
}

/** The call in the middle of two that can only fail, so that each result must have a status of its own. */
function batchVariant(procedure: CallName): CallVariant {
  const query = typeOf(procedure) === 'query'
  const sibling = query ? 'getRoomById' : 'deleteRoom'
  return {
    procedure,
    surface: 'tRPC batch',
    title: `tRPC batch ${procedure}`,
    async call(app, input, headers = {}) {
      const nonsense = superjson.serialize({ roomId: 'nonsense' })
      const inputs = { 0: nonsense, 1: superjson.serialize(input), 2: nonsense }
      const path = `/trpc/${sibling},${procedure},${sibling}?batch=1`
      const reply = query
        ? await send(app, 'GET', `${path}&${inputQuery(inputs)}`, headers)
        : await send(app, 'POST', path, headers, inputs)
      const results = reply.body as { error?: { json: { data: { httpStatus: number } } } }[]
      const own = results[1]
      return { ...reply, status: own?.error?.json.data.httpStatus ?? 200, body: own }
    },
  }
}

function inputQuery(value: unknown): string {
  return `input=${encodeURIComponent(JSON.stringify(value))}`
}

function v2Variants(procedure: CallName): CallVariant[] {
  return v2Operations
    .filter(({ name }) => name === procedure)
    .flatMap(({ url, type, methods }) => methods.map((method) => ({ url, type, method })))
    .map(({ url, type, method }) => {
      return {
        procedure,
        surface: 'v2',
        title: `v2 ${method} ${procedure}`,
        async call(app, input, headers = {}) {
          const named = Object.entries(input).map(([key, value]) => [snakeCase(key), value])
          const fields = { ...(type ? { type } : {}), ...Object.fromEntries(named) }
          const reply =
            method === 'POST'
              ? await send(app, method, `${url}/`, headers, fields)
              : await send(app, method, `${url}/?${new URLSearchParams(texts(fields))}`, headers)
          return { ...reply, status: reply.httpStatus }
        },
      }
    })
}

function v3Variants(procedure: CallName): CallVariant[] {
  const { method, path } = operationNamed(procedure).rest
  return [
    {
      procedure,
      surface: 'v3',
      title: `v3 ${method} ${procedure}`,
      async call(app, input, headers = {}) {
        const rest = { ...input }
        const filled = path.replace(/\{(\w+)\}/g, (_, key: string) => {
          const value = String(rest[key])
          delete rest[key]
          return encodeURIComponent(value)
        })
        const reply =
          method !== 'GET' && method !== 'DELETE'
            ? await send(app, method, filled, headers, rest)
            : await send(app, method, `${filled}?${new URLSearchParams(texts(rest))}`, headers)
        return { ...reply, status: reply.httpStatus }
      },
    },
  ]
}

/** A list has commas, and null is empty. */
function texts(fields: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, value === null ? '' : String(value)]),
  )
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
