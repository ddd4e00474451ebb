import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Context, Deps } from '../src/operation/context.ts'
import { AppError } from '../src/operation/errors.ts'
import { type Callable, call } from '../src/operation/execute.ts'
import {
  appRouter,
  type CallableProcedure,
  callableProcedures,
  createCaller,
} from '../src/operation/operations.ts'
import { toPublicError } from '../src/operation/publicError.ts'
import { procedure as base } from '../src/operation/trpc.ts'

const procedures = [...callableProcedures.values()]
const TOO_MANY = new AppError('TOO_MANY_REQUESTS', { retryAfter: 7 })

/** A request whose calls get no further than their input, so that there is nothing that they could work with. */
function requestThat(spends: Context['spend'], checkAnswers = false): Context {
  const deps = { checkAnswers } as Deps
  return {
    deps,
    actor: { kind: 'open', via: 'http' },
    address: '127.0.0.1',
    requestId: 'request',
    spend: spends,
    charge: async () => undefined,
    payForReplay: async () => undefined,
  }
}

/** The two ways to call a procedure: ours, and by its middlewares. */
const ways: Record<string, (ctx: Context, one: CallableProcedure, input: unknown) => unknown> = {
  'by call': (ctx, one, input) => call(ctx, one, () => input),
  'by tRPC': (ctx, one, input) => createCaller(ctx)[one.name](input as never),
}

async function failureOf(calling: unknown) {
  const { promise, resolve, reject } = Promise.withResolvers<never>()
  Promise.resolve(calling).then(() => reject(new Error('it was answered')), resolve)
  return toPublicError(await promise)
}

test('what tRPC does of a procedure, and so `call`: no more than to pay, to read the input and to run', () => {
  const [paying] = (base._def as unknown as { middlewares: unknown[] }).middlewares
  for (const [name, { _def }] of Object.entries(appRouter._def.procedures)) {
    const { middlewares, inputs } = _def as unknown as {
      middlewares: { _type?: string }[]
      inputs: unknown[]
    }
    expect(middlewares[0], name).toBe(paying)
    expect(middlewares.slice(1).map(({ _type }) => _type)).toEqual(['input', undefined])
    expect(inputs).toHaveLength(1)
    expect(callableProcedures.has(name)).toBe(_def.type !== 'subscription')
  }
  expect(procedures.length).toBeGreaterThan(15)
})

describe.each(procedures.map((one) => [one.name, one] as const))('%s', (name, one) => {
  for (const [way, calls] of Object.entries(ways)) {
    test(`${way}: is paid for, and then its input is looked at`, async () => {
      const paid: string[] = []
      const ctx = requestThat(async (procedure) => void paid.push(procedure))
      const failure = await failureOf(calls(ctx, one, { unheardOf: 1 }))
      expect(failure).toMatchObject({ status: 400, errors: expect.anything() })
      expect(paid).toEqual([name])
    })

    test(`${way}: is refused before its input is looked at when the budget is used up`, async () => {
      const ctx = requestThat(async () => {
        throw TOO_MANY
      })
      expect(await failureOf(calls(ctx, one, { unheardOf: 1 }))).toEqual(toPublicError(TOO_MANY))
    })
  }

  test('both ways say the same of an input', async () => {
    const ctx = requestThat(async () => undefined)
    for (const input of [undefined, null, 7, [], { unheardOf: 1 }, { roomId: 'x', limit: '7' }]) {
      const said = Object.values(ways).map((calls) => failureOf(calls(ctx, one, input)))
      const [ours, theirs] = await Promise.all(said)
      expect(ours).toEqual(theirs)
    }
  })
})

describe('an answer', () => {
  const answering = (answer: unknown): Callable => ({
    name: 'listRooms',
    input: z.strictObject({}),
    output: z.object({ text: z.string() }),
    run: async () => answer,
  })
  const asked = (answer: unknown, checkAnswers: boolean) =>
    call(
      requestThat(async () => undefined, checkAnswers),
      answering(answer),
      () => ({}),
    )

  test('is passed on as it is', async () => {
    const answer = { text: 'a' }
    expect(await asked(answer, true)).toBe(answer)
    expect(await asked(answer, false)).toBe(answer)
  })

  test('that is not as its schema says fails where answers are checked', async () => {
    await expect(asked({ text: 1 }, true)).rejects.toThrow()
    await expect(asked({ text: 'a', secret: 1 }, true)).rejects.toThrow('keys')
  })
})
