import type { z } from 'zod'
import type { Access } from './access.ts'
import type { Call, Cost } from './context.ts'
import type { ErrorCode } from './errors.ts'

/** Where REST v3 serves an operation, and what the OpenAPI document says of it. */
export interface RestPlace<Output> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With its parameters as `{name}`. */
  readonly path: `/api/v3/${string}`
  readonly tag: 'rooms' | 'messages' | 'events' | 'access'
  readonly summary: string
  readonly description: string
  /** Whether this output created something: then the status is 201. */
  created?(output: Output): boolean
  /** An example of the output with status 200, when nothing new was created. */
  readonly repeated?: unknown
  /** The object in an output that has a version. Replies then carry its entity tag. */
  resource?(output: Output): { readonly version: number }
  /** Set for a PATCH that takes `application/merge-patch+json`. */
  readonly mergePatch?: MergePatch
}

/** How a JSON merge patch (RFC 7396) of a resource becomes an input. */
export interface MergePatch {
  /** The members that a patch may have. They are input fields of the same names. */
  readonly members: readonly string[]
  /** The values of the members that null removes; null itself for the others. */
  readonly removed?: Readonly<Record<string, unknown>>
  /** The input fields that merge an object into a member. */
  readonly merged?: Readonly<Record<string, string>>
}

/** What any surface needs to run an operation. */
export interface Executable<Input extends z.ZodObject = z.ZodObject, Output = unknown> {
  readonly access: Access
  readonly cost: Cost
  readonly input: Input
  /** Undefined for a subscription. */
  readonly output?: z.ZodType<Output> | undefined
  run(call: Call, input: z.output<Input>): Promise<Output>
}

interface Definition<Input extends z.ZodObject, Output> {
  /** Which rows each role may access. */
  readonly access: Access
  readonly cost: Cost
  readonly input: Input
  /** Error codes that only this operation has. Common ones are documented for all. */
  readonly errors?: readonly ErrorCode[]
  readonly rest: RestPlace<Output>
  /** One call in JSON. */
  readonly example: { readonly input: Record<string, unknown>; readonly output: unknown }
  run(call: Call, input: z.output<Input>): Promise<Output>
}

interface CallDefinition<Input extends z.ZodObject, Output> extends Definition<Input, Output> {
  readonly output: z.ZodType<Output>
}

export interface Query<Input extends z.ZodObject = z.ZodObject, Output = unknown>
  extends CallDefinition<Input, Output> {
  readonly kind: 'query'
}

export interface Mutation<Input extends z.ZodObject = z.ZodObject, Output = unknown>
  extends CallDefinition<Input, Output> {
  readonly kind: 'mutation'
}

/** An operation that opens a stream of events. REST serves it as server-sent events. */
export interface Subscription<
  Input extends z.ZodObject = z.ZodObject,
  Stream extends AsyncIterable<unknown> = AsyncIterable<unknown>,
> extends Definition<Input, Stream> {
  readonly kind: 'subscription'
  readonly output?: undefined
}

export type Operation = Query | Mutation | Subscription

/** An operation that reads and changes nothing. */
export function query<Input extends z.ZodObject, Output>(
  definition: CallDefinition<Input, Output>,
): Query<Input, Output> {
  return { kind: 'query', ...definition }
}

/** An operation that changes something. */
export function mutation<Input extends z.ZodObject, Output>(
  definition: CallDefinition<Input, Output>,
): Mutation<Input, Output> {
  return { kind: 'mutation', ...definition }
}

/** An operation that opens a stream of events. */
export function subscription<Input extends z.ZodObject, Stream extends AsyncIterable<unknown>>(
  definition: Definition<Input, Stream>,
): Subscription<Input, Stream> {
  return { kind: 'subscription', ...definition }
}
