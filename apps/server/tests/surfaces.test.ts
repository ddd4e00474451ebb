import { Buffer } from 'node:buffer'
import { isDeepStrictEqual } from 'node:util'
import {
  createDowellChat,
  type DowellChat,
  DowellChatError,
  type Inputs,
  type Message,
  type Outputs,
  type Room,
} from '@dowell-chat/client'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Answer, type CheckedApp, createCheckedApp, type Json } from './conformance.ts'
import { createTestApp, json, type TestApp } from './support.ts'

/*
 * One model of rooms and messages, and three ways to reach the server: whatever is done in whatever order over
 * whichever of them, each answers what the model does.
 */

type RoomListItem = Outputs['listRooms']['items'][number]
type Items = { messages: Message; rooms: RoomListItem }
type Page<Item> = Pick<Outputs['listRooms'], 'before' | 'after' | 'hasBefore' | 'hasAfter'> & {
  items: Item[]
}

/** What went wrong, in the words that all surfaces share. */
interface Failure {
  readonly code: string
  readonly fields: readonly string[]
}

/** The operations that all surfaces have. */
type Shared =
  | 'createRoom'
  | 'createMessage'
  | 'getMessages'
  | 'getRoomById'
  | 'deleteRoom'
  | 'listRooms'

/** Those that came later than the document of v2. */
type Later = 'updateRoom' | 'getMessage' | 'updateMessage' | 'deleteMessage'

/** The operations, by the names and shapes of the typed client. A surface that tells less answers less. */
type Surface<Name extends Shared | Later = Shared> = {
  readonly [Each in Name]: (input: Inputs[Each]) => Promise<Partial<Outputs[Each]> | Failure>
}

type Operation = keyof Surface

// --- the surfaces

function trpc(chat: DowellChat): Surface<Shared | Later> {
  const telling =
    <Input, Output>(call: (input: Input) => Promise<Output>) =>
    async (input: Input): Promise<Output | Failure> => {
      try {
        return await call(input)
      } catch (error) {
        if (!(error instanceof DowellChatError)) throw error
        return { code: error.code, fields: Object.keys(error.errors ?? {}) }
      }
    }
  return {
    createRoom: telling(chat.createRoom),
    getRoomById: telling(chat.getRoomById),
    deleteRoom: telling(chat.deleteRoom),
    listRooms: telling(chat.listRooms),
    createMessage: telling(chat.createMessage),
    getMessages: telling(chat.getMessages),
    updateRoom: telling(chat.updateRoom),
    getMessage: telling(chat.getMessage),
    updateMessage: telling(chat.updateMessage),
    deleteMessage: telling(chat.deleteMessage),
  }
}

function v3(checked: CheckedApp): Surface<Shared | Later> {
  async function call<Output>(path: string, init?: RequestInit): Promise<Output | Failure> {
    const answer = await checked.fetch(path, init)
    return failureOf(answer) ?? (withDates(answer.body) as Output)
  }
  const rooms = '/api/v3/rooms'
  return {
    createRoom: (input) => call(rooms, json(input)),
    getRoomById: ({ roomId }) => call(`${rooms}/${roomId}`),
    deleteRoom: ({ roomId, ...query }) =>
      call(`${rooms}/${roomId}${queryOf(query)}`, { method: 'DELETE' }),
    listRooms: (input) => call(`${rooms}${queryOf(input)}`),
    createMessage: ({ roomId, ...body }) => call(`${rooms}/${roomId}/messages`, json(body)),
    getMessages: ({ roomId, ...query }) => call(`${rooms}/${roomId}/messages${queryOf(query)}`),
    updateRoom: ({ roomId, ...body }) => call(`${rooms}/${roomId}`, json(body, 'PATCH')),
    updateMessage: ({ roomId, messageId, ...body }) =>
      call(`${rooms}/${roomId}/messages/${messageId}`, json(body, 'PATCH')),
    getMessage: ({ roomId, messageId }) => call(`${rooms}/${roomId}/messages/${messageId}`),
    deleteMessage: ({ roomId, messageId, ...query }) =>
      call(`${rooms}/${roomId}/messages/${messageId}${queryOf(query)}`, { method: 'DELETE' }),
  }
}

function v2(checked: CheckedApp): Surface {
  const service = '/api/v2/room-service/'
  async function call<Output>(
    read: (body: Answer['body']) => Output,
    path: string,
    init?: RequestInit,
  ): Promise<Output | Failure> {
    const answer = await checked.fetch(path, init)
    return failureOf(answer) ?? read(answer.body)
  }
  const pageOf = <List extends keyof Items>(items: Json[], paging: Json): Page<Items[List]> =>
    ({
      ...fromSnake(paging, ['before', 'after', 'has_before', 'has_after']),
      items: items.map((item) => (item.seq === undefined ? roomOf(item) : messageOf(item))),
    }) as unknown as Page<Items[List]>

  return {
    createRoom: (input) =>
      call(
        ({ message, inserted_id, response }) => {
          expect(inserted_id).toBe(response._id)
          return { room: roomOf(response), created: message === 'Room created successfully' }
        },
        '/api/v2/room-control/',
        json(toSnake(input)),
      ),
    getRoomById: ({ roomId }) =>
      call(
        ({ response }) => roomOf(response[0]),
        `${service}${queryOf({ type: 'get_room_by_id', room_id: roomId })}`,
      ),
    deleteRoom: (input) =>
      call(
        ({ message }) => ({ isActive: message === 'Room restored successfully' }),
        service,
        json({ type: 'delete_room', ...toSnake(input) }),
      ),
    listRooms: ({ orgId, productName, limit, before, after }) =>
      call(
        ({ rooms, paging }) => pageOf<'rooms'>(rooms, paging),
        `/api/v2/room-list/${queryOf({ org_id: orgId, product_name: productName, limit, before, after })}`,
      ),
    createMessage: ({ author, ...input }) =>
      call(
        ({ response }) => ({
          message: { id: response.inserted_id, seq: response.seq } as Message,
        }),
        service,
        json({ type: 'create_message', auther: author, ...toSnake(input) }),
      ),
    getMessages: ({ roomId, limit, before, after }) =>
      call(
        ({ response, paging }) => pageOf<'messages'>(response, paging),
        `${service}${queryOf({ type: 'get_messages', room_id: roomId, limit, before, after })}`,
      ),
  }
}

function failureOf({ status, body }: Answer): Failure | undefined {
  if (status < 400) return undefined
  return { code: body.code, fields: Object.keys(body.errors ?? {}).map(camelCase) }
}

/** A list repeats its key, and null is empty. */
function queryOf(fields: Record<string, unknown>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  const pairs = given.flatMap(([key, value]) =>
    [value].flat().map((each): [string, string] => [key, each === null ? '' : String(each)]),
  )
  return `?${new URLSearchParams(pairs)}`
}

function withDates(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withDates)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      key.endsWith('At') && each !== null ? new Date(each as string) : withDates(each),
    ]),
  )
}

const camelCase = (name: string) =>
  name.replace(/(?<=.)_(.)/g, (_, letter: string) => letter.toUpperCase())
const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

function toSnake(fields: object): Json {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [snakeCase(key), value]))
}

function fromSnake(fields: Json, keys: string[]): Json {
  return withDates(
    Object.fromEntries(keys.map((key) => [key === '_id' ? 'id' : camelCase(key), fields[key]])),
  ) as Json
}

const roomKeys =
  '_id eventId user_id org_id portfolio_name room_room_id product_name message_data is_active created_at updated_at'
const roomOf = (room: Json) => fromSnake(room, roomKeys.split(' ')) as unknown as Room
const messageKeys =
  '_id room_id seq message_data side author message_type client_message_id is_active created_at'
const messageOf = (message: Json) =>
  fromSnake(message, messageKeys.split(' ')) as unknown as Message

// --- the model

/** Positions of a list grow; a boundary lies after the item at its position, and 0 before all. */
interface Positioned<Item> {
  readonly position: number
  readonly item: Item
}

interface Ask {
  readonly limit?: number
  readonly before?: string
  readonly after?: string
  readonly around?: string
}

class List<Item extends { id: string }> {
  readonly entries: Positioned<Item>[] = []
  /** The cursors that the server gave so far, and the boundaries they mean. */
  readonly cursors = new Map<string, number>()

  /** The page that the server must answer, and the boundaries that its cursors mean. */
  page(ask: Ask, standard: number) {
    const { limit = standard } = ask
    const all = this.entries
    const boundary = this.#boundaryOf(ask)
    const earlier = all.filter(({ position }) => position <= boundary)
    const later = all.filter(({ position }) => position > boundary)
    let fromEarlier = 0
    if (ask.around !== undefined) {
      fromEarlier = Math.max(Math.ceil(limit / 2), limit - later.length)
    } else if (ask.after === undefined) {
      fromEarlier = limit
    }
    fromEarlier = Math.min(fromEarlier, earlier.length)
    const fromLater = ask.after === undefined && ask.around === undefined ? 0 : limit - fromEarlier
    const start = earlier.length - fromEarlier
    const shown = all.slice(start, earlier.length + fromLater)
    const beside = boundary === Number.POSITIVE_INFINITY ? 0 : boundary
    return {
      items: shown.map(({ item }) => item),
      hasBefore: start > 0,
      hasAfter: start + shown.length < all.length,
      boundaries: {
        before: (shown[0]?.position ?? beside + 1) - 1,
        after: shown.at(-1)?.position ?? beside,
      },
    }
  }

  #boundaryOf({ before, after, around }: Ask): number {
    const cursor = before ?? after ?? around
    if (cursor === undefined) return Number.POSITIVE_INFINITY
    const entry = this.entries.find(({ item }) => item.id === cursor)
    return entry?.position ?? (this.cursors.get(cursor) as number)
  }
}

interface ModelRoom {
  /** As every surface must tell it. */
  readonly view: { -readonly [Key in keyof Room]: Room[Key] }
  readonly messages: List<Message>
  /** What was sent first in each position. */
  readonly firstTexts: Map<number, string>
}

const GREETING = 'How may I help you'

/** What chooses among the rooms of listRooms. */
type Listing = Pick<
  Inputs['listRooms'],
  'orgId' | 'productName' | 'userId' | 'status' | 'assignee' | 'label' | 'isActive'
>

const productCodes = { LOGIN: '28', elsewhere: 'elsewhere' } as const

class World {
  readonly rooms: ModelRoom[] = []
  readonly lists = new Map<string, List<RoomListItem>>()
  readonly #tick: () => Date

  constructor(tick: () => Date) {
    this.#tick = tick
  }

  /** The list that a caller of listRooms sees; made anew, as rooms change, but with the cursors given before. */
  list({ orgId, label, ...filter }: Listing): List<RoomListItem> {
    const key = JSON.stringify([orgId, label, Object.entries(filter).sort()])
    const list = this.lists.get(key) ?? new List<RoomListItem>()
    this.lists.set(key, list)
    const ofOrg = this.rooms.filter(({ view }) => view.orgId === orgId)
    const entries = ofOrg.map(({ view }, index) => ({
      position: index + 1,
      // No caller here names a reader.
      item: { ...view, unread: null },
    }))
    list.entries.length = 0
    list.entries.push(
      ...entries.filter(
        ({ item }) =>
          (label === undefined || item.labels.includes(label)) &&
          Object.entries(filter).every(([name, value]) =>
            [value].flat().some((each) => item[name as keyof Room] === each),
          ),
      ),
    )
    return list
  }

  createRoom(input: Inputs['createRoom']): Outputs['createRoom'] {
    const now = this.#tick()
    const found = this.#activeRoom(input)
    if (found) return { room: found.view, created: false }
    const view = {
      ...input,
      // What the server makes up is learned from its answer.
      id: '',
      eventId: '',
      roomRoomId: `${productCodes[input.productName as keyof typeof productCodes]}-${input.userId}`,
      messageData: GREETING,
      lastMessage: null,
      isActive: true,
      subject: null,
      status: 'open' as const,
      assignee: null,
      labels: [],
      custom: {},
      createdAt: now,
      updatedAt: now,
      version: 1,
    }
    this.rooms.push({ view, messages: new List(), firstTexts: new Map() })
    return { room: view, created: true }
  }

  deleteRoom({ roomId, isActive = false, ifVersion }: Inputs['deleteRoom']): Room | Failure {
    const now = this.#tick()
    const room = this.room(roomId)
    if (!room) return failure('NOT_FOUND')
    const { view } = room
    if (isOutdated(view, ifVersion)) return failure('PRECONDITION_FAILED')
    if (view.isActive === isActive) return view
    if (isActive && this.#activeRoom(view)) return failure('ROOM_ALREADY_ACTIVE')
    view.isActive = isActive
    view.updatedAt = now
    view.version++
    return view
  }

  createMessage(input: Inputs['createMessage']): Outputs['createMessage'] | Failure {
    const now = this.#tick()
    const room = this.room(input.roomId)
    if (!room) return failure('NOT_FOUND')
    const message = {
      ...input,
      messageType: input.messageType ?? 'text',
      clientMessageId: input.clientMessageId ?? null,
      id: '',
      seq: room.messages.entries.length + 1,
      isActive: true,
      createdAt: now,
      editedAt: null,
      deletedAt: null,
      version: 1,
    }
    const earlier = room.messages.entries.find(
      ({ item }) =>
        item.clientMessageId !== null &&
        item.clientMessageId === message.clientMessageId &&
        item.side === message.side &&
        item.author === message.author,
    )?.item
    if (earlier) {
      const firstText = room.firstTexts.get(earlier.seq)
      const same = firstText === message.messageData && earlier.messageType === message.messageType
      return same || earlier.deletedAt !== null
        ? { message: earlier, replayed: true }
        : failure('IDEMPOTENCY_CONFLICT')
    }
    if (!room.view.isActive) return failure('ROOM_CLOSED')
    room.messages.entries.push({ position: message.seq, item: message })
    room.firstTexts.set(message.seq, message.messageData)
    this.#messagesChanged(room, now)
    return { message, replayed: false }
  }

  updateMessage({ messageData, ifVersion, ...where }: Inputs['updateMessage']): Message | Failure {
    const now = this.#tick()
    const { room, message } = this.#message(where)
    if (!room || !message) return failure('NOT_FOUND')
    if (isOutdated(message, ifVersion)) return failure('PRECONDITION_FAILED')
    if (!message.isActive) return failure('MESSAGE_DELETED')
    if (message.messageData === messageData) return message
    if (!room.view.isActive) return failure('ROOM_CLOSED')
    Object.assign(message, { messageData, editedAt: now, version: message.version + 1 })
    this.#messagesChanged(room, now)
    return message
  }

  deleteMessage({ ifVersion, ...where }: Inputs['deleteMessage']): Message | Failure {
    const now = this.#tick()
    const { room, message } = this.#message(where)
    if (!room || !message) return failure('NOT_FOUND')
    if (isOutdated(message, ifVersion)) return failure('PRECONDITION_FAILED')
    if (!message.isActive) return message
    Object.assign(message, {
      messageData: '',
      isActive: false,
      deletedAt: now,
      version: message.version + 1,
    })
    this.#messagesChanged(room, now)
    return message
  }

  #message({ roomId, messageId }: Inputs['deleteMessage']) {
    const room = this.room(roomId)
    const entry = room?.messages.entries.find(({ item }) => item.id === messageId)
    return { room, message: entry?.item }
  }

  #messagesChanged({ view, messages }: ModelRoom, now: Date): void {
    const newest = messages.entries.findLast(({ item }) => item.isActive)?.item
    const lastMessage = newest ? previewed(newest) : null
    view.messageData = lastMessage?.messageData ?? GREETING
    view.lastMessage = lastMessage
    view.updatedAt = now
  }

  updateRoom({ roomId, ifVersion, ...input }: Inputs['updateRoom']): Room | Failure {
    const { addLabels = [], removeLabels = [], customPatch = {}, ...changes } = input
    const now = this.#tick()
    const room = this.room(roomId)
    if (!room) return failure('NOT_FOUND')
    const { view } = room
    if (isOutdated(view, ifVersion)) return failure('PRECONDITION_FAILED')
    const kept = view.labels.filter((each) => !removeLabels.includes(each))
    const labels = [...new Set([...kept, ...addLabels])]
    const custom = Object.fromEntries(
      Object.entries({ ...view.custom, ...customPatch }).filter(
        ([key]) => customPatch[key] !== null,
      ),
    )
    const after = { ...view, labels, custom, ...changes }
    if (isDeepStrictEqual(after, view)) return view
    return Object.assign(view, after, { updatedAt: now, version: view.version + 1 })
  }

  getMessage(where: Inputs['getMessage']): Message | Failure {
    return this.#message(where).message ?? failure('NOT_FOUND')
  }

  room(id: string): ModelRoom | undefined {
    return this.rooms.find(({ view }) => view.id === id)
  }

  #activeRoom(identity: Inputs['createRoom']): ModelRoom | undefined {
    return this.rooms.find(
      ({ view }) =>
        view.isActive &&
        view.userId === identity.userId &&
        view.orgId === identity.orgId &&
        view.portfolioName === identity.portfolioName &&
        view.productName === identity.productName,
    )
  }
}

/** Whether a caller names another version than there is. */
function isOutdated({ version }: { version: number }, required: number | undefined): boolean {
  return required !== undefined && required !== version
}

/** What a room tells of its latest message: the first 200 characters of its text, among other things. */
function previewed({ seq, messageType, messageData, side, author, createdAt }: Message) {
  const preview = [...messageData].slice(0, 200).join('')
  return { seq, messageType, messageData: preview, side, author, createdAt }
}

function failure(code: string, ...fields: string[]): Failure {
  return { code, fields }
}

// --- the commands

/** The server, by each of its surfaces, and the organisations of this run. */
class Real {
  readonly surfaces: Surfaces
  readonly run: number

  constructor(surfaces: Surfaces, run: number) {
    this.surfaces = surfaces
    this.run = run
  }

  org(name: string): string {
    return `run ${this.run}, ${name}`
  }
}

const surfaceNames = ['v2', 'v3', 'trpc'] as const
type SurfaceName = (typeof surfaceNames)[number]
const laterNames = ['v3', 'trpc'] as const
type Surfaces = { v2: Surface } & Record<(typeof laterNames)[number], Surface<Shared | Later>>
type Command = fc.AsyncCommand<World, Real>

function command(
  name: string,
  details: unknown,
  run: (world: World, real: Real) => Promise<void>,
): Command {
  return { check: () => true, run, toString: () => `${name} ${JSON.stringify(details)}` }
}

const UNKNOWN_ID = 'ffffffffffffffffffffffff'

/** A room by its number among those there are; an unknown one while there is none, and sometimes. */
function roomId(world: World, pick: number): string {
  return pick === 0 ? UNKNOWN_ID : (world.rooms[pick % world.rooms.length]?.view.id ?? UNKNOWN_ID)
}

/** Takes over what the server made up, so that the model tells it from then on. */
function learn(model: { id: string; eventId?: string }, told: object): void {
  const { id, eventId } = told as { id: string; eventId?: string }
  expect(id).toMatch(/^[0-9a-f]{24}$/)
  model.id ||= id
  if (model.eventId === '') model.eventId = eventId as string
}

/** A surface tells what the model says; v2 tells less of what was written, but nothing else. */
function expectAlike(surface: SurfaceName, told: object, wanted: object): void {
  expect(Object.keys(told), surface).not.toEqual([])
  if (surface === 'v2') expect(wanted, surface).toMatchObject(told)
  else expect(told, surface).toEqual(wanted)
}

const picked = fc.nat({ max: 9 })
const surface = fc.constantFrom(...surfaceNames)
const orgName = fc.constantFrom('one', 'two')
const productName = fc.constantFrom('LOGIN', 'elsewhere')
const limit = fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined })
const text = fc.oneof(
  fc.constantFrom('hello', 'hello again'),
  // Longer than what a room repeats of it, and than what is read together with its row.
  fc.constantFrom('🙂'.repeat(201), `${'ä'.repeat(199)}🙂!`, 'x'.repeat(3_000)),
  fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 5 })
    .filter((each) => !/\p{Cc}/u.test(each)),
)

const createRoom = fc
  .record({ by: surface, user: fc.constantFrom('a', 'b'), org: orgName, productName })
  .map((details) =>
    command('createRoom', details, async (world, real) => {
      const { by, user, org } = details
      const input = {
        userId: user,
        orgId: real.org(org),
        portfolioName: 'umair',
        productName: details.productName,
      }
      const wanted = world.createRoom(input)
      const told = (await real.surfaces[by].createRoom(input)) as Outputs['createRoom']
      learn(wanted.room, told.room)
      expectAlike(by, told, wanted)
    }),
  )

const messageDetails = fc.record(
  {
    side: fc.boolean(),
    author: fc.constantFrom('client', 'umair'),
    messageData: text,
    messageType: fc.constantFrom('text', 'IMAGE'),
    clientMessageId: fc.constantFrom('first-message-id', 'second-message-id'),
  },
  { requiredKeys: ['side', 'author', 'messageData'] },
)

async function send(
  world: World,
  real: Real,
  by: SurfaceName,
  input: Inputs['createMessage'],
): Promise<void> {
  const wanted = world.createMessage(input)
  const told = await real.surfaces[by].createMessage(input)
  if ('message' in wanted) learn(wanted.message, (told as Outputs['createMessage']).message)
  expectAlike(by, told, wanted)
}

const createMessage = fc
  .record({ by: surface, pick: picked, message: messageDetails })
  .map((details) =>
    command('createMessage', details, (world, real) =>
      send(world, real, details.by, {
        roomId: roomId(world, details.pick),
        ...details.message,
      } as Inputs['createMessage']),
    ),
  )

const deleteRoom = fc
  .record({ by: surface, pick: picked, isActive: fc.constantFrom(undefined, false, true) })
  .map((details) =>
    command('deleteRoom', details, async (world, real) => {
      const input = { roomId: roomId(world, details.pick), isActive: details.isActive }
      const wanted = world.deleteRoom(input)
      expectAlike(details.by, await real.surfaces[details.by].deleteRoom(input), wanted)
    }),
  )

const later = fc.constantFrom(...laterNames)
/** Often the version of an object that was changed once or never. */
const ifVersion = fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined })

/** A message of a room by its number, sometimes one that is not there. */
function messageIn(world: World, roomPick: number, messagePick: number) {
  const id = roomId(world, roomPick)
  const entries = world.room(id)?.messages.entries ?? []
  const { item } = entries[messagePick % (entries.length + 1)] ?? {}
  return { roomId: id, messageId: item?.id ?? UNKNOWN_ID }
}

const updateMessage = fc
  .record({ by: later, pick: picked, which: picked, messageData: text, ifVersion })
  .map((details) =>
    command('updateMessage', details, async (world, real) => {
      const { by, pick, which, messageData, ifVersion } = details
      const input = { ...messageIn(world, pick, which), messageData, ifVersion }
      const wanted = world.updateMessage(input)
      expectAlike(by, await real.surfaces[by].updateMessage(input), wanted)
    }),
  )

const deleteMessage = fc
  .record({ by: later, pick: picked, which: picked, ifVersion })
  .map((details) =>
    command('deleteMessage', details, async (world, real) => {
      const { by, pick, which, ifVersion } = details
      const input = { ...messageIn(world, pick, which), ifVersion }
      const wanted = world.deleteMessage(input)
      expectAlike(by, await real.surfaces[by].deleteMessage(input), wanted)
    }),
  )

const getMessage = fc.record({ pick: picked, which: picked }).map((details) =>
  command('getMessage', details, async (world, real) => {
    const input = messageIn(world, details.pick, details.which)
    const wanted = world.getMessage(input)
    for (const name of laterNames) {
      expectAlike(name, await real.surfaces[name].getMessage(input), wanted)
    }
  }),
)

const roomStatus = fc.constantFrom('open' as const, 'pending' as const, 'resolved' as const)
const assignee = fc.constantFrom('amara', 'ben')
const label = fc.constantFrom('billing', 'urgent', 'ünïcödé 🙂')

const updateRoom = fc
  .record({
    by: later,
    pick: picked,
    changes: fc
      .tuple(
        fc.record(
          {
            subject: fc.constantFrom(null, 'a question', '✉️'),
            status: roomStatus,
            assignee: fc.option(assignee),
            ifVersion: fc.integer({ min: 1, max: 4 }),
          },
          { requiredKeys: [] },
        ),
        fc.oneof(
          fc.record({ labels: fc.uniqueArray(label) }),
          fc.record({ addLabels: fc.uniqueArray(label) }),
          fc.record({ removeLabels: fc.uniqueArray(label) }),
          fc.constant({}),
        ),
        fc.oneof(
          fc.record({
            custom: fc.constantFrom({}, { order: 4711 }, { deep: [{ er: null }], text: 'ü' }),
          }),
          fc.record({
            customPatch: fc.constantFrom({}, { order: null }, { text: 'ü', deep: [1] }),
          }),
          fc.constant({}),
        ),
      )
      .map((parts): Omit<Inputs['updateRoom'], 'roomId'> => Object.assign({}, ...parts)),
  })
  .map((details) =>
    command('updateRoom', details, async (world, real) => {
      const { by, pick, changes } = details
      const input = { roomId: roomId(world, pick), ...changes }
      const wanted = world.updateRoom(input)
      expectAlike(by, await real.surfaces[by].updateRoom(input), wanted)
    }),
  )

const getRoomById = picked.map((pick) =>
  command('getRoomById', pick, async (world, real) => {
    const input = { roomId: roomId(world, pick) }
    const wanted = world.room(input.roomId)?.view ?? failure('NOT_FOUND')
    for (const name of surfaceNames) {
      expectAlike(name, await real.surfaces[name].getRoomById(input), wanted)
    }
  }),
)

/** v2 has no `around`, and no filter but the product, which came later than its document. */
function surfacesFor(ask: object): readonly SurfaceName[] {
  const laterKeys = ['around', 'userId', 'status', 'assignee', 'label', 'isActive']
  return laterKeys.some((key) => key in ask) ? laterNames : surfaceNames
}

/** Asks every surface for a page, and notes the cursors: those of one are good for all. */
async function expectPage<Name extends keyof Items>(
  real: Real,
  operation: Name extends 'messages' ? 'getMessages' : 'listRooms',
  input: Ask & Json,
  list: List<Items[Name]>,
): Promise<Page<Items[Name]>> {
  let page: Page<Items[Name]> | undefined
  for (const name of surfacesFor(input)) {
    const { boundaries, ...wanted } = list.page(input, name === 'v2' ? 1000 : 50)
    const call = real.surfaces[name][operation as Operation] as (input: unknown) => Promise<unknown>
    page = (await call(input)) as Page<Items[Name]>
    const { before, after, ...told } = page
    expectAlike(name, told, wanted)
    for (const [cursor, boundary] of [
      [before, boundaries.before],
      [after, boundaries.after],
    ] as const) {
      expect(list.cursors.get(cursor) ?? boundary, `the meaning of ${cursor}`).toBe(boundary)
      list.cursors.set(cursor, boundary)
    }
  }
  return page as Page<Items[Name]>
}

const place = fc.record({
  limit,
  at: fc.constantFrom('newest', 'before', 'after', 'around', 'aroundId'),
  which: fc.nat({ max: 50 }),
})

function askAt<Item extends { id: string }>(
  list: List<Item>,
  { limit, at, which }: typeof place extends fc.Arbitrary<infer Value> ? Value : never,
): Ask {
  const size = limit === undefined ? {} : { limit }
  const choices =
    at === 'aroundId' ? list.entries.map(({ item }) => item.id) : [...list.cursors.keys()]
  const chosen = choices[which % choices.length]
  if (at === 'newest' || chosen === undefined) return size
  return { ...size, [at === 'aroundId' ? 'around' : at]: chosen }
}

const getMessages = fc.record({ pick: picked, place }).map((details) =>
  command('getMessages', details, async (world, real) => {
    const id = roomId(world, details.pick)
    const room = world.room(id)
    if (room) {
      const input = { roomId: id, ...askAt(room.messages, details.place) }
      await expectPage<'messages'>(real, 'getMessages', input, room.messages)
      return
    }
    for (const name of surfaceNames) {
      const told = await real.surfaces[name].getMessages({ roomId: id })
      expect(told, name).toEqual(failure('NOT_FOUND'))
    }
  }),
)

const listRooms = fc
  .record({
    org: fc.constantFrom('one', 'two', 'without rooms'),
    filter: fc.record(
      {
        productName,
        userId: fc.constantFrom('a', 'b'),
        status: fc.oneof(roomStatus, fc.array(roomStatus, { minLength: 1, maxLength: 3 })),
        assignee: fc.option(assignee),
        label,
        isActive: fc.boolean(),
      },
      { requiredKeys: [] },
    ),
    place,
  })
  .map((details) =>
    command('listRooms', details, async (world, real) => {
      const listing = { orgId: real.org(details.org), ...details.filter }
      const list = world.list(listing)
      const input = { ...listing, ...askAt(list, details.place) }
      await expectPage<'rooms'>(real, 'listRooms', input, list)
    }),
  )

/** From the newest page back to the oldest, then forward to the newest, while messages come in. */
const walkMessages = fc
  .record({
    by: surface,
    pick: picked,
    limit: fc.integer({ min: 1, max: 5 }),
    message: messageDetails,
  })
  .map((details) =>
    command('walkMessages', details, async (world, real) => {
      const room = world.room(roomId(world, details.pick))
      if (!room) return
      const { clientMessageId: _, ...message } = details.message
      let inserts = 3
      const insert = async () => {
        if (inserts-- > 0) await send(world, real, details.by, { roomId: room.view.id, ...message })
      }
      const ask = (at: Ask) =>
        expectPage<'messages'>(
          real,
          'getMessages',
          { roomId: room.view.id, limit: details.limit, ...at },
          room.messages,
        )
      await walk(room.messages, ask, insert)
    }),
  )

const walkRooms = fc
  .record({
    by: surface,
    org: orgName,
    productName: fc.option(productName, { nil: undefined }),
    limit: fc.integer({ min: 1, max: 3 }),
  })
  .map((details) =>
    command('walkRooms', details, async (world, real) => {
      const { by, limit, productName } = details
      const orgId = real.org(details.org)
      const listing = { orgId, ...(productName === undefined ? {} : { productName }) }
      let inserts = 2
      const insert = async () => {
        if (inserts-- <= 0) return
        const input = {
          userId: `walker ${world.rooms.length}`,
          orgId,
          portfolioName: 'umair',
          productName: productName ?? 'LOGIN',
        }
        const wanted = world.createRoom(input)
        const told = (await real.surfaces[by].createRoom(input)) as Outputs['createRoom']
        learn(wanted.room, told.room)
      }
      const ask = (at: Ask) =>
        expectPage<'rooms'>(real, 'listRooms', { ...listing, limit, ...at }, world.list(listing))
      await walk(world.list(listing), ask, insert)
    }),
  )

async function walk<Item extends { id: string }>(
  list: List<Item>,
  ask: (at: Ask) => Promise<Page<Item>>,
  insert: () => Promise<void>,
): Promise<void> {
  const idsOf = (items: Item[]) => items.map(({ id }) => id)
  const all = () => list.entries.map(({ item }) => item.id)

  const atFirst = all()
  let page = await ask({})
  const back = idsOf(page.items)
  while (page.hasBefore) {
    await insert()
    page = await ask({ before: page.before })
    expect(page.items).not.toEqual([])
    back.unshift(...idsOf(page.items))
  }
  expect(back, 'walking back').toEqual(atFirst)

  page = await ask({ after: page.before })
  const forward = idsOf(page.items)
  while (page.hasAfter) {
    await insert()
    page = await ask({ after: page.after })
    expect(page.items).not.toEqual([])
    forward.push(...idsOf(page.items))
  }
  expect(forward, 'walking forward').toEqual(all())

  // From somewhere in the middle, by an item and by a cursor, both ways are open.
  const middle = all()[Math.floor(all().length / 2)]
  if (middle !== undefined) {
    const around = await ask({ around: middle })
    expect(idsOf(around.items)).toContain(middle)
    await ask({ around: around.before })
    await ask({ around: around.after })
  }

  // The end is a place to go on from: later there is more.
  const end = page.after
  expect((await ask({ after: end })).items).toEqual([])
  const known = all().length
  await insert()
  expect(idsOf((await ask({ after: end })).items)).toEqual(all().slice(known))
}

const encoded = (plain: string) => Buffer.from(plain).toString('base64url')
const nonsense = [
  ...['', 'x', '!!', 'm:1', 'r:1', 'bTox=', 'bTox ', UNKNOWN_ID.toUpperCase(), '🙂'],
  ...['', 'm:', 'm:-1', 'm:01', 'm:1.5', 'm:1 ', 'm:1e3', 'm:9999999999999999'].map(encoded),
  ...['x:1', 'r:', 'r:-1', 'r:01', 'r:1.5', 'R:1', 'r:NaN', 'r:9999999999999999'].map(encoded),
]

/** Pages that no surface gives, with the field that each must name. */
const badPage = fc
  .record({
    pick: picked,
    of: fc.constantFrom('messages', 'rooms'),
    at: fc.constantFrom('before', 'after', 'around'),
    fault: fc.oneof(
      fc.constantFrom('other list', 'two places', 'limit 0', 'limit 1001', 'unknown item'),
      fc.constantFrom(...nonsense).map((cursor) => ({ cursor })),
    ),
  })
  .map((details) =>
    command('badPage', details, async (world, real) => {
      const room = world.rooms[details.pick % world.rooms.length]
      if (!room) return
      const { roomId, orgId } = { roomId: room.view.id, orgId: room.view.orgId }
      const rooms = world.list({ orgId })
      await expectPage<'messages'>(real, 'getMessages', { roomId }, room.messages)
      await expectPage<'rooms'>(real, 'listRooms', { orgId }, rooms)
      const [own, other] = [room.messages.cursors, rooms.cursors].map(
        (cursors) => [...cursors.keys()][0] as string,
      )
      const [good, foreign] = details.of === 'messages' ? [own, other] : [other, own]

      const { at, fault } = details
      const asks: Record<string, [Ask, string]> = {
        'other list': [{ [at]: foreign }, at],
        'two places':
          at === 'around'
            ? [{ after: good as string, around: good as string }, 'around']
            : [{ before: good as string, after: good as string }, 'after'],
        'limit 0': [{ limit: 0 }, 'limit'],
        'limit 1001': [{ limit: 1001 }, 'limit'],
        'unknown item': [{ [at]: UNKNOWN_ID }, at],
      }
      const [ask, field] =
        typeof fault === 'string' ? (asks[fault] as [Ask, string]) : [{ [at]: fault.cursor }, at]
      for (const name of surfacesFor(ask)) {
        const told =
          details.of === 'messages'
            ? await real.surfaces[name].getMessages({ roomId, ...ask })
            : await real.surfaces[name].listRooms({ orgId, ...ask })
        expect(told, `${name} ${JSON.stringify(ask)}`).toEqual(failure('BAD_REQUEST', field))
      }
    }),
  )

test('REST v2, REST v3 and the typed client are one server', async () => {
  let time = Date.parse('2026-01-01T00:00:00Z')
  await using app: TestApp = await createTestApp({}, { clock: () => time })
  const checked = await createCheckedApp(app)
  const surfaces = {
    v2: v2(checked),
    v3: v3(checked),
    trpc: trpc(createDowellChat({ url: app.url })),
  }
  const tick = () => {
    time += 1_000
    return new Date(time)
  }

  let run = 0
  const commands = fc.commands(
    [
      createRoom,
      createRoom,
      createMessage,
      createMessage,
      createMessage,
      deleteRoom,
      updateRoom,
      updateRoom,
      updateMessage,
      deleteMessage,
      getMessage,
      getRoomById,
      getMessages,
      getMessages,
      listRooms,
      listRooms,
      walkMessages,
      walkRooms,
      badPage,
    ],
    { maxCommands: 50, size: 'max' },
  )
  await fc.assert(
    fc.asyncProperty(commands, async (commands) => {
      run++
      await fc.asyncModelRun(
        () => ({ model: new World(tick), real: new Real(surfaces, run) }),
        commands,
      )
    }),
    { numRuns: 25, endOnFailure: false },
  )
})
