import { callNames, type OperationName, streamNames } from '@dowell-chat/api'
import { runs } from '@dowell-chat/db/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callVariantsOf, type Reply } from './callVariants.ts'
import {
  as,
  bearer,
  createOrganisation,
  type Organisation,
  rights,
  signingKey,
  signingKeysOf,
  unlimited,
} from './credentials.ts'
import { captureStatements, openDirectly, type Rows } from './database.ts'
import { outcomeOfStream, streamVariants } from './eventReader.ts'
import {
  CLIENT_MESSAGE_ID,
  fixtures,
  type RowIds,
  type StepCaller,
  type StepTarget,
  takesRoom,
} from './fixtures.ts'
import type { SentHeaders } from './http.ts'
import { createTestApp, type TestApp } from './support.ts'

let app: TestApp

beforeAll(async () => {
  const env = { ...unlimited, TOKEN_SIGNING_KEYS: signingKeysOf(signingKey) }
  // Meanwhile nothing is written but what a caller asks for.
  app = await createTestApp(env, { lastUsedInterval: 24 * 60 * 60_000 })
})

afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
})

interface Member extends StepCaller {
  readonly title: string
  readonly headers: SentHeaders
}

function membersOf(of: Organisation): Member[] {
  const { tokens, supporter, customer, otherCustomer } = of
  const senders = {
    customer: { side: false, author: customer },
    otherCustomer: { side: false, author: otherCustomer },
    support: { side: true, author: supporter },
    customerElsewhere: { side: false, author: customer },
    supportElsewhere: { side: true, author: supporter },
  }
  return [
    ...rights.map((right) => ({
      title: `${right} key`,
      of,
      headers: bearer(of.keys[right].secret),
      sender: { side: true, author: of.supporter },
    })),
    ...(Object.keys(senders) as (keyof typeof senders)[]).map((name) => ({
      title: `${name} token`,
      of,
      headers: bearer(tokens[name]),
      sender: senders[name],
    })),
  ]
}

describe('random calls of three organisations', () => {
  const number = fc.nat({ max: 1000 })
  const operation = fc.record({
    actor: number,
    procedure: fc.constantFrom(...callNames),
    variant: number,
    org: number,
    room: number,
    message: number,
    key: number,
    word: fc.constantFrom('a', 'b', 'c'),
    flag: fc.boolean(),
    page: fc.oneof(
      fc.constant({ kind: 'latest' as const }),
      fc.constant({ kind: 'around' as const }),
      fc.record({
        kind: fc.constantFrom('before' as const, 'after' as const),
        position: fc.nat(9),
      }),
    ),
    limit: fc.integer({ min: 1, max: 5 }),
  })
  /** Every name by which a row can be known. */
  function idsIn(rows: Record<string, Rows>): string[] {
    return Object.values(rows)
      .flat()
      .flatMap(({ id, event_id: eventId }) => [id, eventId])
      .filter((id) => typeof id === 'string')
  }

  function pick<T>(from: readonly T[], index: number): T {
    return from[index % from.length] as T
  }

  let tried = 0

  test('random calls neither show nor change a row of another organisation', async () => {
    await using database = await openDirectly(app)
    const seen = { own: 0, refused: 0 }
    const rowsOf = <T>(table: string, columns: string, orgs: readonly Organisation[]) =>
      database.ask(
        `select ${columns} from ${table} where org_id in (?, ?, ?) order by created_at, id`,
        ...orgs.map(({ id }) => id),
      ) as Promise<T[]>

    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 20, maxLength: 40 }), async (steps) => {
        // Names of this run and of no other, each of which is a marker in everything that is written.
        const run = ++tried
        const orgs: Organisation[] = []
        for (const letter of ['A', 'B', 'C']) {
          orgs.push(await createOrganisation(app, `marker-${letter}-${run}-`))
        }
        const members = orgs.flatMap(membersOf)
        for (const step of steps) {
          const by = pick(members, step.actor)
          const rooms = (await rowsOf<{ id: string }>('rooms', 'id', orgs)).map(({ id }) => id)
          const messages = await rowsOf<{ id: string; room_id: string }>(
            'messages',
            'id, room_id',
            orgs,
          )
          const message = pick(messages, step.message)
          const target: StepTarget = {
            ...step,
            org: pick(orgs, step.org),
            // The message's own room and not always another, or hardly any message would be found.
            roomId: step.flag ? message.room_id : pick(rooms, step.room),
            messageId: message.id,
            // The reading keys too, so that some callers lose theirs on the way; the others stay.
            keyId: pick(
              orgs.flatMap(({ keyToRevoke, keys }) => [keyToRevoke, keys.read.id]),
              step.key,
            ),
          }
          const others = orgs.filter((org) => org !== by.of).map(({ id }) => id)
          const before = await database.dump(...others)
          const input = fixtures[step.procedure].step(target, by)
          const variant = pick(callVariantsOf(step.procedure), step.variant)
          const reply = await variant.call(app, input as never, by.headers)

          const told = `${by.title} of ${by.of.id}: ${variant.title} ${JSON.stringify(input)}: ${reply.text}`
          // Its own key may have been revoked meanwhile; whatever else happens, nothing breaks.
          expect([200, 201, 400, 401, 403, 404, 409], told).toContain(reply.status)
          seen[reply.status < 300 ? 'own' : 'refused']++
          const answer = reply.text + JSON.stringify(reply.headers)
          // No answer repeats its request, so that a foreign name or id can only come from a row. The organisation's own
          // name is a part of everything that is written for it.
          const foreign = [...others, ...idsIn(before)]
          expect(
            foreign.filter((name) => answer.includes(name)),
            told,
          ).toEqual([])
          expect(await database.dump(...others), told).toEqual(before)
        }
      }),
      // Told as it was found: to look for a shorter case takes longer than a test may, and hides what was found.
      { numRuns: runs(10, 5), endOnFailure: true },
    )
    // Neither an empty answer to everything nor one to nothing would have shown anything. (Runs have shown 29 to 43.)
    expect(seen.own).toBeGreaterThan(10)
    expect(seen.refused).toBeGreaterThan(10)
  })
})

const nothing = 'f'.repeat(24)
const none: RowIds = { org: 'NEVER', room: nothing, message: nothing, key: nothing }

/** Two organisations with messages and deleted rooms; the callers are those of the first. */
interface Tenants {
  readonly org: Organisation
  readonly foreign: Organisation
  readonly foreignRows: RowIds[]
  /** Of the same organisation, but of another customer. */
  readonly otherRows: RowIds[]
}

async function createTenants(app: TestApp): Promise<Tenants> {
  const org = await createOrganisation(app, 'OWN')
  const foreign = await createOrganisation(app, 'OTHER')
  const rowsOf = async (of: Organisation, ids: RowIds): Promise<RowIds[]> => {
    const admin = as(app, of.keys.admin.secret)
    const { message } = await admin.createMessage({
      roomId: of.otherCustomersRoom,
      messageData: 'hello',
      side: true,
      author: 'a',
      clientMessageId: CLIENT_MESSAGE_ID,
    })
    const identity = { orgId: of.id, userId: of.otherCustomer, portfolioName: 'p' }
    const { room } = await admin.createRoom({ ...identity, productName: 'DELETED' })
    await admin.deleteRoom({ roomId: room.id })
    return [of.otherCustomersRoom, room.id].map((id) => ({ ...ids, room: id, message: message.id }))
  }
  const keys = { org: foreign.id, key: foreign.keyToRevoke }
  return {
    org,
    foreign,
    foreignRows: await rowsOf(foreign, { ...none, ...keys }),
    otherRows: await rowsOf(org, none),
  }
}

/** Inputs that must look the same to this caller: those that name existing rows, and those that do not. */
function pairsFor(name: OperationName, by: Member, tenants: Tenants, hasOwn = true) {
  const { rowInputs, rowInputsInOwn } = fixtures[name]
  const inputs = (ids: RowIds) => rowInputs(ids, by.sender)
  const inOwn = (ids: RowIds) => (hasOwn && rowInputsInOwn?.(ids, tenants.org)) || []
  const foreignPairs = tenants.foreignRows.map((ids) => ({
    existing: [...inputs(ids), ...inOwn(ids)],
    missing: [...inputs(none), ...inOwn(none)],
  }))
  // Some tokens are for some rooms of their organisation only.
  const isNarrow = by.title.includes('lsewhere') || by.title === 'customer token'
  if (!isNarrow) return foreignPairs
  const inRoom = (ids: RowIds) => (takesRoom(name) ? inputs(ids) : [])
  const narrowPairs = tenants.otherRows.map((ids) => ({
    existing: [...inRoom(ids), ...inOwn(ids)],
    missing: [...inRoom(none), ...inOwn(none)],
  }))
  return [...foreignPairs, ...narrowPairs]
}

/** Whether a statement is made when a cache expires or a timer fires, whatever the call and its rows. */
function isPeriodic(statement: string): boolean {
  if (/organisation_settings|schema_migrations|clock_timestamp|wal_checkpoint/.test(statement))
    return true
  return statement.includes('event_log') && !statement.includes('"events"')
}

describe('a row of others and a row that does not exist look the same', () => {
  let tenants: Tenants

  beforeAll(async () => {
    tenants = await createTenants(app)
  })

  /** An answer without what differs between any two answers. */
  function comparable({ status, httpStatus, text, headers }: Reply) {
    const { 'x-request-id': requestId, date: _, ...rest } = headers
    return { status, httpStatus, headers: rest, text: text.replaceAll(String(requestId), 'id') }
  }

  test.each(callNames)('to %s', async (procedure) => {
    const { org, foreign } = tenants
    using statements = captureStatements(app)
    await using database = await openDirectly(app)
    const before = await database.dump(org.id, foreign.id)

    for (const variant of callVariantsOf(procedure)) {
      const ask = async (by: Member, input: Record<string, unknown>) => {
        statements.take()
        const reply = await variant.call(app, input as never, by.headers)
        const made = statements.take().filter((text) => !isPeriodic(text))
        return { reply, told: comparable(reply), statements: made }
      }
      // v2 ignores unknown keys, such as `around`.
      const hasOwn = variant.surface !== 'v2'
      for (const by of membersOf(org)) {
        for (const { existing, missing } of pairsFor(procedure, by, tenants, hasOwn)) {
          for (const [index, input] of existing.entries()) {
            const real = await ask(by, { ...input })
            const unreal = await ask(by, { ...missing[index] })
            const told = `${by.title}: ${variant.title} ${JSON.stringify(input)}`
            // What is chosen from the caller's own rows by what is not there is nothing.
            const showsNothing = /"items":\[\]/.test(real.reply.text)
            expect([400, 403, 404], told).toContain(showsNothing ? 404 : real.reply.status)
            expect(real.told, told).toEqual(unreal.told)
            // The same work, so that no clock tells them apart. Finding the caller alone is a statement.
            expect(real.statements, told).toEqual(unreal.statements)
            expect(real.statements.length, told).toBeGreaterThan(0)
          }
        }
      }
    }
    expect(await database.dump(org.id, foreign.id)).toEqual(before)
  })

  test('captureStatements captures the statements of a call', async () => {
    using statements = captureStatements(app)
    const { org } = tenants
    await as(app, org.keys.admin.secret).getRoomById({ roomId: org.room })
    expect(statements.take()).toEqual([
      expect.stringMatching(/from "api_keys"/),
      expect.stringMatching(/from "rooms"/),
    ])
  })
})

describe('streams of rooms of others and of rooms that do not exist look the same', () => {
  // Open streams run statements that the other tests would count.
  let own: TestApp
  let tenants: Tenants

  beforeAll(async () => {
    own = await createTestApp(unlimited)
    tenants = await createTenants(own)
  })

  afterAll(async () => {
    await own?.[Symbol.asyncDispose]()
  })

  test.each(streamNames)('to %s', async (name) => {
    using statements = captureStatements(own)
    const { org } = tenants
    // An open stream reads keys and positions from time to time.
    const roomReads = () => statements.take().filter((sql) => sql.includes('from "rooms"'))
    for (const variant of streamVariants.filter((one) => one.name === name)) {
      const ask = async (by: Member, input: Record<string, unknown>) => {
        statements.take()
        await using reader = await variant.open(own, input, by.headers)
        return { status: await outcomeOfStream(reader), statements: roomReads() }
      }
      for (const by of membersOf(org)) {
        for (const { existing, missing } of pairsFor(name, by, tenants)) {
          for (const [index, input] of existing.entries()) {
            const real = await ask(by, { ...input })
            const told = `${by.title}: ${variant.title} ${JSON.stringify(input)}`
            expect(real, told).toEqual(await ask(by, { ...missing[index] }))
            // A stream of other rooms in the own organisation opens and stays empty.
            const isOwn = 'orgId' in input && input.orgId === org.id
            expect(real.status, told).toBe(isOwn ? 200 : 404)
          }
        }
      }
    }
  })
})

test('callers with similar names have separate quotas', async () => {
  await using app = await createTestApp({ ...unlimited, RATE_LIMIT_ACTOR: '100' })
  // Both were "user:a@b@c" once, and the two sides of one name are two people as well.
  const [first, second] = [await createOrganisation(app, 'b@c'), await createOrganisation(app, 'c')]
  const mint = async (of: Organisation, userId: string, side: boolean) => {
    const admin = as(app, of.keys.support.secret)
    return (await admin.createUserToken({ orgId: of.id, userId, side })).token
  }
  const spender = as(app, await mint(first, 'a', false))
  const namesakes = [await mint(second, 'a@b', false), await mint(first, 'a', true)]
  const spend = () => spender.listRooms({ orgId: first.id })
  await Promise.all(Array.from({ length: 100 }, spend))
  await expect(spend()).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' })
  await as(app, namesakes[0]).listRooms({ orgId: second.id })
  await as(app, namesakes[1]).listRooms({ orgId: first.id })
})
