import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Access } from '../src/operation/access.ts'
import type { Context, Deps } from '../src/operation/context.ts'
import { AppError } from '../src/operation/errors.ts'
import { execute } from '../src/operation/execute.ts'
import type { Executable, Operation } from '../src/operation/operation.ts'
import { callNames, operationNamed, operationNames } from '../src/operation/operations.ts'
import { toPublicError } from '../src/operation/publicError.ts'
import { createCaller } from '../src/operation/trpc.ts'
import { type V2Operation, v2Operations } from '../src/v2/operations.ts'

const TOO_MANY = new AppError('TOO_MANY_REQUESTS', { retryAfter: 7 })

/** The calls of this request fail before they use its deps. */
function requestWith(spend: Context['spend'], checkOutputs = false): Context {
  return {
    deps: { checkOutputs } as Deps,
    actor: { kind: 'open', via: 'http' },
    address: '127.0.0.1',
    requestId: 'request',
    spend,
    charge: async () => undefined,
    payForReplay: async () => undefined,
  }
}

const callVariants: Record<
  string,
  (ctx: Context, name: (typeof callNames)[number], input: unknown) => unknown
> = {
  'by execute': (ctx, name, input) => execute(ctx, operationNamed(name), () => input),
  'by tRPC': (ctx, name, input) => createCaller(ctx)[name](input as never),
}

async function failureOf(call: unknown) {
  const { promise, resolve, reject } = Promise.withResolvers<never>()
  Promise.resolve(call).then(() => reject(new Error('the call succeeded')), resolve)
  return toPublicError(await promise)
}

describe.each(callNames)('%s', (name) => {
  for (const [variant, call] of Object.entries(callVariants)) {
    test(`${variant} consumes quota before it reads the input`, async () => {
      const spent: string[] = []
      const ctx = requestWith(async (cost) => void spent.push(cost))
      const failure = await failureOf(call(ctx, name, { unknownKey: 1 }))
      expect(failure).toMatchObject({ status: 400, errors: expect.anything() })
      expect(spent).toEqual([operationNamed(name).cost])
    })

    test(`${variant} is refused before its input is read when the quota is used up`, async () => {
      const ctx = requestWith(async () => {
        throw TOO_MANY
      })
      expect(await failureOf(call(ctx, name, { unknownKey: 1 }))).toEqual(toPublicError(TOO_MANY))
    })
  }

  test('execute and tRPC reject an input with the same error', async () => {
    const ctx = requestWith(async () => undefined)
    for (const input of [undefined, null, 7, [], { unknownKey: 1 }, { roomId: 'x', limit: '7' }]) {
      const failures = Object.values(callVariants).map((call) => failureOf(call(ctx, name, input)))
      const [ours, theirs] = await Promise.all(failures)
      expect(ours).toEqual(theirs)
    }
  })
})

const open: Access = {
  open: 'any',
  adminKey: 'organisation',
  supportKey: 'organisation',
  readKey: 'none',
  supportToken: 'organisation',
  customerToken: 'own',
}

describe('execute', () => {
  const returning = (output: unknown): Executable => ({
    access: open,
    cost: 'read',
    input: z.strictObject({}),
    output: z.object({ text: z.string() }),
    run: async () => output,
  })
  const run = (output: unknown, checkOutputs: boolean) =>
    execute(
      requestWith(async () => undefined, checkOutputs),
      returning(output),
      () => ({}),
    )

  test('returns the output itself', async () => {
    const output = { text: 'a' }
    expect(await run(output, true)).toBe(output)
    expect(await run(output, false)).toBe(output)
  })

  test('rejects an output that does not match its schema when outputs are checked', async () => {
    await expect(run({ text: 1 }, true)).rejects.toThrow()
    await expect(run({ text: 'a', secret: 1 }, true)).rejects.toThrow('keys')
  })

  test('checks access after the input, and passes the scope of the caller to run', async () => {
    const scopes: unknown[] = []
    const operation: Executable = {
      ...returning({ text: 'a' }),
      async run({ scope }) {
        scopes.push(scope)
        return { text: 'a' }
      },
    }
    const request = requestWith(async () => undefined)
    const key = (right: 'admin' | 'read') =>
      ({ kind: 'key', orgId: 'A', keyId: 'k', right }) as const
    const call = (right: 'admin' | 'read', input: unknown) =>
      execute({ ...request, actor: key(right) }, operation, () => input)
    await expect(call('read', { unknownKey: 1 })).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    await expect(call('read', {})).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await call('admin', {})
    expect(scopes).toEqual([{ orgId: 'A' }])
  })
})

test('every query and mutation has an output schema', () => {
  for (const name of callNames) {
    expect((operationNamed(name) as Operation).output, name).toBeDefined()
  }
  expect(callNames.length).toBeGreaterThan(15)
})

test('operation/operations.ts lists every operation of the sources', () => {
  const source = fileURLToPath(new URL('../src/', import.meta.url))
  const defined = globSync('*/*.ts', { cwd: source }).flatMap((path) =>
    [
      ...readFileSync(`${source}${path}`, 'utf8').matchAll(
        /^export const (\w+) = (?:query|mutation|subscription)\(/gm,
      ),
    ].map(([, name]) => name as string),
  )
  expect(
    operationNames.toSorted(),
    'packages/api/src/operation/operations.ts needs a line for every operation',
  ).toEqual(defined.sort())
})

test('v2 create_message rejects a missing author before it checks access', async () => {
  const operation = v2Operations.find(({ name }) => name === 'createMessage') as V2Operation
  const actor = { kind: 'key', orgId: 'A', keyId: 'k', right: 'read' } as const
  const ctx = { ...requestWith(async () => undefined), actor }
  const send = (fields: object) => {
    const message = { room_id: '0'.repeat(24), message_data: 'a', side: true, ...fields }
    return failureOf(execute(ctx, operation, () => message))
  }
  expect(await send({})).toMatchObject({ status: 400, errors: { auther: ['is required'] } })
  expect(await send({ auther: 'a', author: 'b' })).toMatchObject({
    status: 400,
    errors: { author: ['must agree with auther'] },
  })
  expect(await send({ author: 'a' })).toMatchObject({ status: 403 })
})
