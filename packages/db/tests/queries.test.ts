import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  allOrganisations,
  appendMessage,
  type Database,
  editMessage,
  findActiveRoom,
  findMessage,
  findMessageByClientId,
  findRoom,
  findRoomsAtBounds,
  insertRoom,
  listRoomsPage,
  type MessageRow,
  messagesInRange,
  nextPosition,
  type OrgScope,
  type RoomIdentity,
  type RoomRow,
  setRoomActive,
  softDeleteMessage,
  type Transaction,
  updateRoomDetails,
} from '../src/index.ts'
import { createTestDb, kyselyOn } from '../src/testing.ts'
import { idOf, latestOf, messageRow, roomRow } from './support.ts'

const orgs = ['A', 'B', 'C'] as const
const org = fc.constantFrom(...orgs)
const product = fc.constantFrom('shop', 'login')
/** Which of the rooms so far, as a fraction, so that it fits however many there are. */
const which = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

type Operation =
  | { kind: 'open'; org: string; user: string; product: string }
  | { kind: 'send'; room: number; side: boolean; author: string; clientId: string | null }
  | { kind: 'activate'; room: number; active: boolean }

const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    kind: fc.constant('open' as const),
    org,
    user: fc.constantFrom('ann', 'bob'),
    product,
  }),
  fc.record({
    kind: fc.constant('send' as const),
    room: which,
    side: fc.boolean(),
    author: fc.constantFrom('ann', 'bob'),
    clientId: fc.option(fc.constantFrom('client-id-1', 'client-id-2')),
  }),
  fc.record({ kind: fc.constant('activate' as const), room: which, active: fc.boolean() }),
)

/** A model of the database in plain objects. */
class Model {
  readonly rooms: RoomRow[] = []
  readonly messages: MessageRow[] = []
  #now = 0
  #ids = 0

  now = () => ++this.#now
  id = () => idOf(++this.#ids)
  roomAt = (fraction: number) => this.rooms[Math.floor(fraction * this.rooms.length)]
  ofOrg = (orgId: string) => this.rooms.filter((room) => room.org_id === orgId)
  active = ({ orgId, userId, productName }: RoomIdentity) =>
    this.ofOrg(orgId).find(
      (room) => room.user_id === userId && room.product_name === productName && room.is_active,
    )
  sent = (room: RoomRow, side: boolean, author: string, clientId: string) =>
    this.messages.find(
      (message) =>
        message.room_id === room.id &&
        message.side === Number(side) &&
        message.author === author &&
        message.client_message_id === clientId,
    )
}

/** Changes the model and asks the same of the database, which must answer the same. */
function perform(db: Database, model: Model, operation: Operation): Promise<void> {
  const now = model.now()
  if (operation.kind === 'open') {
    const identity = {
      orgId: operation.org,
      userId: operation.user,
      portfolioName: 'umair',
      productName: operation.product,
    }
    const there = model.active(identity)
    const position = model.ofOrg(operation.org).length + 1
    const room =
      there ??
      roomRow({
        id: model.id(),
        org_id: operation.org,
        position,
        user_id: operation.user,
        product_name: operation.product,
        created_at: now,
        updated_at: now,
      })
    const wanted = { ...room }
    if (!there) model.rooms.push(room)
    return db
      .write(async (tx) => {
        const found = await findActiveRoom(tx, identity)
        if (found) return found
        const given = await nextPosition(tx, 'last_room_position', { orgId: identity.orgId, now })
        return insertRoom(tx, { ...wanted, position: given })
      })
      .then((got) => expect(got).toEqual(wanted))
  }

  const room = model.roomAt(operation.room)
  if (!room) return Promise.resolve()
  if (operation.kind === 'activate') {
    const active = model.active({
      orgId: room.org_id,
      userId: room.user_id,
      portfolioName: 'umair',
      productName: room.product_name,
    })
    const refused = operation.active && active !== undefined && active !== room
    if (!refused && room.is_active !== Number(operation.active)) {
      room.is_active = operation.active ? 1 : 0
      room.version++
      room.details_version++
      room.updated_at = now
    }
    const wanted = { ...room }
    return db
      .write((tx) =>
        setRoomActive(tx, { orgId: room.org_id, roomId: room.id, isActive: operation.active, now }),
      )
      .then(
        (got) => expect([refused, got]).toEqual([false, wanted]),
        (error) => expect([refused, db.isUniqueViolation(error)]).toEqual([true, true]),
      )
      .then(() => undefined)
  }

  const { side, author, clientId } = operation
  const earlier = clientId === null ? undefined : model.sent(room, side, author, clientId)
  const id = model.id()
  const text = `text ${id}`
  const sent = messageRow({
    id,
    side: side ? 1 : 0,
    author,
    message_data: text,
    client_message_id: clientId,
    created_at: now,
  })
  const refused = earlier !== undefined && room.is_active === 1
  if (!earlier && room.is_active === 1) {
    room.last_seq++
    room.version++
    room.support_count += side ? 1 : 0
    room.updated_at = now
    const stored = {
      ...sent,
      org_id: room.org_id,
      room_id: room.id,
      seq: room.last_seq,
      support_count: room.support_count,
    }
    Object.assign(room, latestOf(stored))
    model.messages.push(stored)
  }
  const wanted = room.is_active === 1 ? model.messages.at(-1) : undefined
  return db
    .write((tx) =>
      appendMessage(tx, { orgId: now % 2 ? room.org_id : allOrganisations, roomId: room.id }, sent),
    )
    .then(
      (got) => expect([refused, got]).toEqual([false, wanted]),
      // A second send under one client id undoes the step of the room as well: no gap.
      (error) => expect([refused, db.isUniqueViolation(error)]).toEqual([true, true]),
    )
    .then(() => undefined)
}

async function compare(db: Database, model: Model): Promise<void> {
  for (const orgId of orgs) {
    const rooms = model.ofOrg(orgId)
    expect(rooms.map((room) => room.position)).toEqual(rooms.map((_, i) => i + 1))
    expect(
      await listRoomsPage(db.read, { orgId, direction: 'after', boundary: 0, limit: 1000 }),
    ).toEqual(rooms)
  }
  for (const room of model.rooms) {
    const messages = model.messages.filter((message) => message.room_id === room.id)
    expect(messages.map((message) => message.seq)).toEqual(messages.map((_, i) => i + 1))
    const all = { orgId: room.org_id, roomId: room.id, from: 0, to: room.last_seq }
    expect(await messagesInRange(db.read, all)).toEqual(messages)
    expect(await messagesInRange(db.read, { ...all, from: 1, to: 2 })).toEqual(messages.slice(1, 2))
    for (const orgId of [room.org_id, allOrganisations] satisfies OrgScope[]) {
      expect(await findRoom(db.read, { orgId, roomId: room.id })).toEqual(room)
    }
  }
}

async function emptied(db: Database): Promise<void> {
  await db.write(async (tx) => {
    for (const table of ['messages', 'room_labels', 'rooms', 'organisations'] as const) {
      await kyselyOn(tx).deleteFrom(table).execute()
    }
  })
}

test('concurrent bursts of writes match the model', async () => {
  await using db = await createTestDb()
  const bursts = fc.array(fc.array(operation, { minLength: 1, maxLength: 25 }), { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(bursts, async (run) => {
      await emptied(db)
      const model = new Model()
      for (const burst of run) {
        await Promise.all(burst.map((operation) => perform(db, model, operation)))
        await compare(db, model)
      }
    }),
    { numRuns: 50 },
  )
})

test('pages of rooms match the model in both directions with any filter', async () => {
  await using db = await createTestDb()
  const status = fc.constantFrom('open' as const, 'pending' as const, 'resolved' as const)
  const assignee = fc.constantFrom('amara', 'ben')
  const label = fc.constantFrom('billing', 'vip')
  const listing = fc.record({
    orgId: fc.constantFrom(...orgs, 'nobody'),
    productName: fc.option(fc.constantFrom('shop', 'login', 'nothing'), { nil: undefined }),
    userId: fc.option(fc.constantFrom('ann', 'bob', 'nobody'), { nil: undefined }),
    status: fc.option(fc.oneof(status, fc.array(status, { minLength: 1, maxLength: 4 })), {
      nil: undefined,
    }),
    assignee: fc.option(fc.oneof(assignee, fc.constant(null)), { nil: undefined }),
    label: fc.option(label, { nil: undefined }),
    isActive: fc.option(fc.boolean(), { nil: undefined }),
    // With ids of other organisations' rooms, of none at all, and twice the same.
    roomIds: fc.option(fc.array(fc.integer({ min: 0, max: 25 }).map(idOf), { maxLength: 8 }), {
      nil: undefined,
    }),
    direction: fc.constantFrom('before' as const, 'after' as const),
    boundary: fc.oneof(fc.integer({ min: 0, max: 15 }), fc.constant(Number.MAX_SAFE_INTEGER)),
    limit: fc.integer({ min: 1, max: 6 }),
  })
  const opened = fc.array(
    fc.record({
      orgId: org,
      productName: product,
      userId: fc.constantFrom('ann', 'bob'),
      status,
      assignee: fc.option(assignee),
      // The first values are gone from both tables.
      labels: fc.tuple(fc.uniqueArray(label), fc.uniqueArray(label)),
    }),
    { maxLength: 20 },
  )
  await fc.assert(
    fc.asyncProperty(opened, fc.array(listing, { maxLength: 12 }), async (rooms, listings) => {
      await emptied(db)
      const stored = await Promise.all(
        rooms.map(({ orgId, productName, userId, labels: [first, last], ...details }, i) =>
          db.write(async (tx) => {
            const { id: roomId } = await insertRoom(
              tx,
              roomRow({
                id: idOf(i),
                org_id: orgId,
                position: await nextPosition(tx, 'last_room_position', { orgId, now: i }),
                user_id: userId,
                portfolio_name: `portfolio ${i}`,
                product_name: productName,
                // Deleted rooms stay listed.
                is_active: i % 4 === 0 ? 0 : 1,
              }),
            )
            const room = { orgId, roomId, subject: null, custom: '{}', ...details, now: i }
            await updateRoomDetails(tx, { ...room, labels: JSON.stringify(first) })
            return updateRoomDetails(tx, { ...room, labels: JSON.stringify(last) })
          }),
        ),
      )
      for (const listing of listings) {
        const { orgId, productName, userId, roomIds, direction, boundary, limit } = listing
        const { status, assignee, label, isActive } = listing
        const listed = stored.filter(
          (room) =>
            room.org_id === orgId &&
            (productName === undefined || room.product_name === productName) &&
            (userId === undefined || room.user_id === userId) &&
            (status === undefined || [status].flat().includes(room.status)) &&
            (assignee === undefined || room.assignee === assignee) &&
            (label === undefined || JSON.parse(room.labels).includes(label)) &&
            (isActive === undefined || room.is_active === Number(isActive)) &&
            (roomIds === undefined || roomIds.includes(room.id)),
        )
        const wanted =
          direction === 'before'
            ? listed.filter((room) => room.position <= boundary).slice(-limit)
            : listed.filter((room) => room.position > boundary).slice(0, limit)
        expect(await listRoomsPage(db.read, listing)).toEqual(wanted)
      }
    }),
    { numRuns: 50 },
  )
})

test('concurrent calls that open the same room get one room, and positions have no gaps', async () => {
  await using db = await createTestDb()
  const model = new Model()
  const open = (user: string, productName: string) =>
    perform(db, model, { kind: 'open', org: 'A', user, product: productName })
  await Promise.all(
    Array.from({ length: 120 }, (_, i) => open(`user ${i % 7}`, i % 2 ? 'shop' : 'login')),
  )
  expect(model.rooms).toHaveLength(14)
  await compare(db, model)
})

test('concurrent messages are numbered without gaps', async () => {
  await using db = await createTestDb()
  const model = new Model()
  await perform(db, model, { kind: 'open', org: 'A', user: 'ann', product: 'shop' })
  await perform(db, model, { kind: 'open', org: 'B', user: 'ann', product: 'shop' })
  await Promise.all(
    // No more than share a transaction: PostgreSQL runs several at once.
    Array.from({ length: 250 }, (_, i) =>
      perform(db, model, {
        kind: 'send',
        room: (i % 3) / 3,
        side: i % 2 === 0,
        author: 'ann',
        // Some fail, and must leave no gap.
        clientId: i % 5 === 0 ? 'client-id-1' : null,
      }),
    ),
  )
  expect(model.messages.length).toBeGreaterThan(200)
  expect(model.messages.length).toBeLessThan(250)
  await compare(db, model)
})

test('a write that fails takes no position', async () => {
  await using db = await createTestDb()
  const position = () =>
    db.write((tx) => nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 }))
  const failing = db.write(async (tx) => {
    await nextPosition(tx, 'last_room_position', { orgId: 'A', now: 1 })
    throw new Error('mine')
  })
  await expect(failing).rejects.toThrow('mine')
  expect(await Promise.all([position(), position(), position()])).toEqual([1, 2, 3])
})

test("repeating a room's state changes nothing, not even the time", async () => {
  await using db = await createTestDb()
  const model = new Model()
  await perform(db, model, { kind: 'open', org: 'A', user: 'ann', product: 'shop' })
  const set = (isActive: boolean, now: number) =>
    db.write((tx) => setRoomActive(tx, { orgId: 'A', roomId: idOf(1), isActive, now }))
  expect(await set(true, 100)).toEqual(model.rooms[0])
  const deleted = {
    ...model.rooms[0],
    is_active: 0,
    updated_at: 101,
    version: 1,
    details_version: 2,
  }
  expect(await set(false, 101)).toEqual(deleted)
  expect(await set(false, 102)).toEqual(deleted)
  expect(await set(true, 103)).toEqual({
    ...deleted,
    is_active: 1,
    updated_at: 103,
    version: 2,
    details_version: 3,
  })
})

test('the rooms at the bounds are the n-th active and the n-th newest of the user', async () => {
  await using db = await createTestDb()
  // The positions of rooms with their time: of ann every third was deleted.
  await db.write(async (tx) => {
    for (let n = 1; n <= 40; n++) {
      const where = { orgId: n % 8 === 0 ? 'B' : 'A', now: n }
      const row = {
        id: idOf(n),
        org_id: where.orgId,
        position: await nextPosition(tx, 'last_room_position', where),
        user_id: n % 2 === 0 ? 'ann' : 'bob',
        product_name: `product ${n % 16}`,
        portfolio_name: `portfolio ${n}`,
        is_active: n % 3 === 0 ? (0 as const) : (1 as const),
        created_at: 1_000 + n,
      }
      await insertRoom(tx, roomRow(row))
    }
  })
  const rows = await kyselyOn(db.read).selectFrom('rooms').selectAll().execute()
  const bound = fc.integer({ min: 1, max: 20 })
  const asked = fc.record({
    orgId: fc.constantFrom('A', 'B', 'C'),
    userId: fc.constantFrom('ann', 'bob', 'cy'),
    active: bound,
    perMinute: bound,
    perHour: bound,
  })
  await fc.assert(
    fc.asyncProperty(asked, async ({ orgId, userId, ...bounds }) => {
      const own = rows.filter((row) => row.org_id === orgId && row.user_id === userId)
      const newest = own.map((row) => row.created_at).sort((a, b) => b - a)
      const active = own.filter((row) => row.is_active === 1).length
      expect(await findRoomsAtBounds(db.read, { orgId, userId, ...bounds })).toEqual({
        active: active >= bounds.active ? 1 : null,
        ofMinute: newest[bounds.perMinute - 1] ?? null,
        ofHour: newest[bounds.perHour - 1] ?? null,
      })
    }),
  )
})

test('the rows of another organisation are not found', async () => {
  await using db = await createTestDb()
  const model = new Model()
  await perform(db, model, { kind: 'open', org: 'A', user: 'ann', product: 'shop' })
  const sent = { side: true, author: 'ann', clientId: 'client-id-1' }
  await perform(db, model, { kind: 'send', room: 0, ...sent })
  const [room] = model.rooms as [RoomRow]
  const [message] = model.messages as [MessageRow]

  const where = { roomId: room.id, messageId: message.id, author: 'ann', side: true }
  const clientMessageId = 'client-id-1'
  const range = { from: 0, to: 10 }
  const reads = (orgId: string) => [
    findRoom(db.read, { orgId, ...where }),
    findMessage(db.read, { orgId, ...where }),
    findMessageByClientId(db.read, { orgId, ...where, clientMessageId }),
    messagesInRange(db.read, { orgId, ...where, ...range }).then(([first]) => first),
    listRoomsPage(db.read, { orgId, direction: 'after', boundary: 0, limit: 5 }).then(([r]) => r),
  ]
  expect(await Promise.all(reads('A'))).toEqual([room, message, message, message, room])
  for (const orgId of ['B', '', 'a', 'A ', '%', 'A%']) {
    expect(await Promise.all(reads(orgId))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ])
    const write = { orgId, roomId: room.id, now: 999 }
    expect(await db.write((tx) => appendMessage(tx, write, messageRow()))).toBeUndefined()
    for (const isActive of [true, false]) {
      expect(await db.write((tx) => setRoomActive(tx, { ...write, isActive }))).toBeUndefined()
    }
    const details = { subject: null, status: 'open', assignee: null, labels: '[]' } as const
    for (const change of [
      (tx: Transaction) => updateRoomDetails(tx, { ...write, ...details, custom: '{}' }),
      (tx: Transaction) => editMessage(tx, { ...write, seq: 1, messageData: 'theirs' }),
      (tx: Transaction) => softDeleteMessage(tx, { ...write, seq: 1 }),
    ]) {
      await expect(db.write<unknown>(change)).rejects.toThrow('does not exist')
    }
  }
  await compare(db, model)
})

test('a client message id is found only in its room, on its side and for its author', async () => {
  await using db = await createTestDb()
  const model = new Model()
  for (const user of ['ann', 'bob']) {
    await perform(db, model, { kind: 'open', org: 'A', user, product: 'shop' })
  }
  const authors = ['ann', 'bob', 'Ann']
  const clientIds = ['client-id-1', 'client-id-2', 'CLIENT-ID-1']
  const place = fc.record({
    room: fc.constantFrom(0, 0.5),
    side: fc.boolean(),
    author: fc.constantFrom(...authors),
    clientId: fc.option(fc.constantFrom(...clientIds)),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(place, { maxLength: 8 }), async (sends) => {
      await db.write((tx) => kyselyOn(tx).deleteFrom('messages').execute())
      model.messages.length = 0
      for (const send of sends) await perform(db, model, { kind: 'send', ...send })
      for (const room of model.rooms) {
        for (const side of [true, false]) {
          for (const author of authors) {
            for (const clientMessageId of clientIds) {
              const where = { orgId: 'A', roomId: room.id, side, author, clientMessageId }
              expect(await findMessageByClientId(db.read, where)).toEqual(
                model.sent(room, side, author, clientMessageId),
              )
            }
          }
        }
      }
    }),
    { numRuns: 25 },
  )
})
