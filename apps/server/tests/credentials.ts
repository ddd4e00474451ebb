import { createCaller, type Inputs } from '@dowell-chat/api'
import { createDowellChat, type DowellChat } from '@dowell-chat/client'
import pino from 'pino'
import { readConfig } from '../src/config.ts'
import { createDeps } from '../src/deps.ts'
import type { TestApp } from './support.ts'

export const rights = ['admin', 'support', 'read'] as const
export type Right = (typeof rights)[number]

/** No test here is about budgets. */
export const unlimited = {
  ROOMS_PER_CUSTOMER: '0',
  ROOMS_PER_MINUTE: '0',
  ROOMS_PER_HOUR: '0',
  RATE_LIMIT_ACTOR: '0',
  RATE_LIMIT_ADDRESS: '0',
  RATE_LIMIT_CUSTOMER: '0',
  RATE_LIMIT_FAILURES: '0',
}

/** A signing key that the test knows as well. */
export const signingKey = { id: 'test-key', secret: Buffer.alloc(32, 7) }
export const signingKeysOf = (...keys: (typeof signingKey)[]) =>
  keys.map(({ id, secret }) => `${id}:${secret.toString('base64')}`).join(',')

/** The procedures as the command line calls them, on the database of a server that runs. */
export function createOperator(app: Pick<TestApp, 'databaseUrl'>) {
  const deps = createDeps(readConfig({ DATABASE_URL: app.databaseUrl }), pino({ level: 'silent' }))
  const call = createCaller({
    deps,
    actor: { kind: 'open', via: 'cli' },
    address: 'cli',
    requestId: 'test',
    spend: async () => undefined,
    charge: async () => undefined,
    payForReplay: async () => undefined,
  })
  return {
    call,
    deps,
    async [Symbol.asyncDispose]() {
      deps.live.close()
      await deps.db.close()
    },
  }
}

/** An API key, as the command line makes it: nobody makes one over HTTP without having one. */
export async function createKey(
  app: Pick<TestApp, 'databaseUrl'>,
  input: Partial<Inputs['createApiKey']> = {},
) {
  await using operator = createOperator(app)
  return await operator.call.createApiKey({ orgId: 'DOWELL12345', right: 'admin', ...input })
}

/** A user token that no key asked for. It lasts as long as open mode does. */
export async function createKeylessToken(
  app: Pick<TestApp, 'databaseUrl'>,
  input: Partial<Inputs['createUserToken']> = {},
): Promise<string> {
  await using operator = createOperator(app)
  const user = { orgId: 'DOWELL12345', userId: 'ABCD12345', side: false, ...input }
  return (await operator.call.createUserToken(user)).token
}

export function bearer(credential: string): { authorization: string } {
  return { authorization: `Bearer ${credential}` }
}

/** The typed client with a credential, or with none. */
export function as(app: TestApp, credential?: string): DowellChat {
  return createDowellChat({
    url: app.url,
    ...(credential === undefined ? {} : { headers: bearer(credential) }),
  })
}

/** What an attempt comes to: its code, or `ok`. */
export async function outcome(attempt: Promise<unknown>): Promise<string> {
  return attempt.then(
    () => 'ok',
    (error: { code?: string }) => String(error.code),
  )
}

export interface Key {
  readonly id: string
  readonly secret: string
}

/** An organisation with a key of each right, people with tokens, and rooms. */
export interface Organisation {
  readonly id: string
  readonly keys: Record<Right, Key>
  /** The user of all rooms but one. */
  readonly customer: string
  readonly otherCustomer: string
  readonly supporter: string
  readonly room: string
  /** To be deleted, any number of times. */
  readonly roomToDelete: string
  readonly elsewhere: string
  /** The customer's too, with a message of each side: a token changes only what its own user wrote. */
  readonly talk: string
  readonly messages: { readonly customer: string; readonly support: string }
  /** To be deleted, any number of times. */
  readonly messagesToDelete: { readonly customer: string; readonly support: string }
  readonly otherCustomersRoom: string
  /** To be revoked, any number of times. */
  readonly keyToRevoke: string
  readonly tokens: {
    readonly customer: string
    readonly otherCustomer: string
    readonly support: string
    /** Limited to the room `elsewhere`. */
    readonly customerElsewhere: string
    readonly supportElsewhere: string
  }
}

export async function createOrganisation(app: TestApp, id: string): Promise<Organisation> {
  await using operator = createOperator(app)
  const makeKey = async (right: Right): Promise<Key> => {
    const { apiKey, secret } = await operator.call.createApiKey({ orgId: id, right })
    return { id: apiKey.id, secret }
  }
  const keys = {
    admin: await makeKey('admin'),
    support: await makeKey('support'),
    read: await makeKey('read'),
  }
  const customer = `customer of ${id}`
  const otherCustomer = `other customer of ${id}`
  const supporter = `supporter of ${id}`
  const makeRoom = async (userId: string, productName: string) => {
    const identity = { userId, orgId: id, portfolioName: 'umair', productName }
    return (await operator.call.createRoom(identity)).room.id
  }
  const elsewhere = await makeRoom(customer, 'ELSEWHERE')
  const talk = await makeRoom(customer, 'TALK')
  const write = async (side: boolean, author: string) => {
    const input = { roomId: talk, messageData: 'hello', side, author }
    return (await operator.call.createMessage(input)).message.id
  }
  const writeBoth = async () => ({
    customer: await write(false, customer),
    support: await write(true, supporter),
  })
  const admin = as(app, keys.admin.secret)
  const makeToken = async (who: Omit<Inputs['createUserToken'], 'orgId'>) =>
    (await admin.createUserToken({ orgId: id, ...who })).token
  return {
    id,
    keys,
    customer,
    otherCustomer,
    supporter,
    room: await makeRoom(customer, 'WIFIQRCODE'),
    roomToDelete: await makeRoom(customer, 'TO DELETE'),
    elsewhere,
    talk,
    messages: await writeBoth(),
    messagesToDelete: await writeBoth(),
    otherCustomersRoom: await makeRoom(otherCustomer, 'WIFIQRCODE'),
    keyToRevoke: (await makeKey('read')).id,
    tokens: {
      customer: await makeToken({ userId: customer, side: false }),
      otherCustomer: await makeToken({ userId: otherCustomer, side: false }),
      support: await makeToken({ userId: supporter, side: true }),
      customerElsewhere: await makeToken({ userId: customer, side: false, rooms: [elsewhere] }),
      supportElsewhere: await makeToken({ userId: supporter, side: true, rooms: [elsewhere] }),
    },
  }
}
