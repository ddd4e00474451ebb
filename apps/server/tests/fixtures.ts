import {
  type CallName,
  type Inputs,
  type OperationName,
  operationNamed,
  type StreamName,
} from '@dowell-chat/api'
import type { Organisation } from './credentials.ts'

// What the generated tests need to know of each operation. A new operation, or a new key of an input, does not compile
// until it is here.

/** The user and the side of a message, a read marker or a typing notice. A token only has its own. */
export interface Sender {
  readonly side: boolean
  readonly author: string
}

/** Rows to name in an input: those of another organisation, or ids without a row. */
export interface RowIds {
  readonly org: string
  readonly room: string
  readonly message: string
  readonly key: string
}

/** Random values for one call. Its caller may have no access to the rows. */
export interface StepTarget {
  readonly org: Organisation
  readonly roomId: string
  readonly messageId: string
  readonly keyId: string
  readonly word: string
  readonly flag: boolean
  readonly limit: number
  readonly page:
    | { readonly kind: 'latest' }
    | { readonly kind: 'around' }
    | { readonly kind: 'before' | 'after'; readonly position: number }
}

export interface StepCaller {
  readonly of: Organisation
  readonly sender: Sender
}

/** The rows that an operation is about, which decides how it rejects a caller. */
export type About =
  /** One room. */
  | 'room'
  /** All rooms of an organisation that the caller may see. */
  | 'rooms'
  /** A room of a user; it may not exist yet. */
  | 'room of a user'
  /** The organisation itself, or one of its keys. */
  | 'organisation'
  /** Only the caller. */
  | 'caller'

interface Fixture<Name extends OperationName> {
  readonly about: About
  /** A call for this organisation. Its admin may repeat it. */
  input(of: Organisation, sender: Sender): Inputs[Name]
  /** Inputs that name these rows, which together use every key that names a row. */
  rowInputs(ids: RowIds, sender: Sender): Inputs[Name][]
  /** Inputs that name these rows inside of the caller's own organisation or room. */
  rowInputsInOwn?(ids: RowIds, own: Pick<Organisation, 'id' | 'elsewhere'>): Inputs[Name][]
  /** Keys for ids that the operation stores without reading the rows: it accepts ids without a row too. */
  readonly unread?: readonly (keyof Inputs[Name])[]
}

interface StreamFixture<Name extends OperationName> extends Fixture<Name> {
  /** The rooms whose events each token gets from the stream of `input`. */
  roomsByToken(of: Organisation): Partial<Record<keyof Organisation['tokens'], string[]>>
}

interface CallFixture<Name extends OperationName> extends Fixture<Name> {
  /** A random call. All text that it writes contains the name of the caller's organisation. */
  step(target: StepTarget, by: StepCaller): Inputs[Name]
}

type Fixtures = {
  readonly [Name in OperationName]: Name extends CallName
    ? CallFixture<Name>
    : Name extends StreamName
      ? StreamFixture<Name>
      : never
}

/** An empty input has the type of any keys. */
type KeysOf<Input> = Input extends unknown
  ? string extends keyof Input
    ? never
    : keyof Input
  : never
type InputKey = KeysOf<Inputs[OperationName]>

/**
 * What each key of an input is: the `id` of a row, a `selector` that chooses rows in another way, or a `value`. The
 * inputs that name rows use every id and every selector.
 */
export const inputKeys: Readonly<Record<InputKey, 'id' | 'selector' | 'value'>> = {
  orgId: 'id',
  roomId: 'id',
  roomIds: 'id',
  rooms: 'id',
  messageId: 'id',
  keyId: 'id',
  around: 'id',

  userId: 'selector',
  readerId: 'selector',
  clientMessageId: 'selector',
  before: 'selector',
  after: 'selector',
  lastEventId: 'selector',

  addLabels: 'value',
  assignee: 'value',
  author: 'value',
  custom: 'value',
  customPatch: 'value',
  customerRoomFields: 'value',
  expiresIn: 'value',
  ifVersion: 'value',
  isActive: 'value',
  isTyping: 'value',
  label: 'value',
  labels: 'value',
  limit: 'value',
  messageData: 'value',
  messageType: 'value',
  name: 'value',
  portfolioName: 'value',
  productName: 'value',
  products: 'value',
  readerSide: 'value',
  removeLabels: 'value',
  right: 'value',
  seq: 'value',
  side: 'value',
  status: 'value',
  streamId: 'value',
  subject: 'value',
}

/** The keys of an operation's input. */
export function inputKeysOf(name: OperationName): InputKey[] {
  return Object.keys(operationNamed(name).input.shape) as InputKey[]
}

/** Whether an operation is for one room, which its input names without the organisation. */
export function takesRoom(name: OperationName): boolean {
  const keys = inputKeysOf(name)
  return keys.includes('roomId') && !keys.includes('orgId')
}

/** A cursor of the list that an operation pages through. */
export function cursorAt(name: CallName, position: number): string {
  const { before } = operationNamed(name).example.output as { before: string }
  const [tag] = Buffer.from(before, 'base64url').toString().split(':')
  return Buffer.from(`${tag}:${position}`).toString('base64url')
}

/** @param id the item for `around` */
function pageInput(name: CallName, { page, limit }: StepTarget, id?: string) {
  if (page.kind === 'around') return id === undefined ? { limit } : { limit, around: id }
  if (page.kind === 'latest') return { limit }
  const cursor = cursorAt(name, page.position)
  return page.kind === 'before' ? { limit, before: cursor } : { limit, after: cursor }
}

function asReader({ author, side }: Sender) {
  return { readerId: author, readerSide: side }
}

/** The message of one side, by the organisation's own customer or supporter. */
function messageOf(
  { talk }: Organisation,
  { customer, support }: Organisation['messages'],
  { side }: Sender,
) {
  return { roomId: talk, messageId: side ? support : customer }
}

/** A message with this id is in the tests' rooms. */
export const CLIENT_MESSAGE_ID = 'sent-before-0123456789'

/** A stream of nobody's. */
const STREAM_ID = 'stream-0123456789'

/** The event log takes any cursor; a stream from an unknown one begins with a reset. */
const UNKNOWN_CURSOR = 'unknown'

export const fixtures: Fixtures = {
  createRoom: {
    about: 'room of a user',
    input: ({ id, customer }) => ({
      userId: customer,
      orgId: id,
      portfolioName: 'umair',
      productName: 'NEW',
    }),
    rowInputs: ({ org }, { author }) => [
      { orgId: org, userId: author, portfolioName: 'p', productName: 'q' },
    ],
    step: ({ org, word, flag }, { of, sender }) => ({
      orgId: org.id,
      // Often the caller's own name, since a customer's token opens rooms for itself alone.
      userId: flag ? sender.author : org.customer,
      portfolioName: `${of.id} portfolio`,
      productName: `${of.id} ${word}`,
    }),
  },
  getRoomById: {
    about: 'room',
    input: ({ room }) => ({ roomId: room }),
    rowInputs: ({ room }) => [{ roomId: room }],
    step: ({ roomId }) => ({ roomId }),
  },
  deleteRoom: {
    about: 'room',
    input: ({ roomToDelete }) => ({ roomId: roomToDelete }),
    rowInputs: ({ room }) => [{ roomId: room }, { roomId: room, isActive: true }],
    step: ({ roomId, flag }) => ({ roomId, isActive: flag }),
  },
  updateRoom: {
    about: 'room',
    input: ({ room }) => ({ roomId: room, status: 'pending', labels: ['new'] }),
    rowInputs: ({ room }) => [{ roomId: room }, { roomId: room, subject: 'x', labels: ['x'] }],
    step: ({ roomId, word, flag }, { of }) => ({
      roomId,
      subject: flag ? `${of.id} about ${word}` : null,
      labels: [`${of.id} ${word}`],
      assignee: of.supporter,
      custom: { from: of.id },
    }),
  },
  listRooms: {
    about: 'rooms',
    input: ({ id }) => ({ orgId: id }),
    rowInputs: ({ org, room }) => [
      { orgId: org },
      { orgId: org, productName: 'WIFIQRCODE' },
      { orgId: org, userId: 'anyone' },
      { orgId: org, status: ['open', 'pending'] },
      { orgId: org, readerId: 'anyone', readerSide: true },
      { orgId: org, before: cursorAt('listRooms', 1) },
      { orgId: org, after: cursorAt('listRooms', 1), limit: 1 },
      { orgId: org, around: room },
    ],
    rowInputsInOwn: ({ room }, own) => [{ orgId: own.id, around: room }],
    step: (target, { of, sender }) => ({
      orgId: target.org.id,
      ...pageInput('listRooms', target, target.roomId),
      ...(target.flag ? { label: `${of.id} ${target.word}`, ...asReader(sender) } : {}),
    }),
  },
  createMessage: {
    about: 'room',
    input: ({ room }, sender) => ({ roomId: room, messageData: 'hello', ...sender }),
    rowInputs: ({ room }, sender) => [
      { roomId: room, messageData: 'x', ...sender },
      { roomId: room, messageData: 'x', ...sender, clientMessageId: CLIENT_MESSAGE_ID },
    ],
    step: ({ roomId, word, flag }, { of, sender }) => ({
      roomId,
      messageData: `${of.id} says ${word}`,
      ...sender,
      ...(flag ? { clientMessageId: `${word}-0123456789abcdef` } : {}),
    }),
  },
  updateMessage: {
    about: 'room',
    input: (of, sender) => ({ ...messageOf(of, of.messages, sender), messageData: 'edited' }),
    rowInputs: ({ room, message }) => [{ roomId: room, messageId: message, messageData: 'x' }],
    rowInputsInOwn: ({ message }, own) => [
      { roomId: own.elsewhere, messageId: message, messageData: 'x' },
    ],
    step: ({ roomId, messageId, word }, { of }) => ({
      roomId,
      messageId,
      messageData: `${of.id} writes ${word}`,
    }),
  },
  deleteMessage: {
    about: 'room',
    input: (of, sender) => messageOf(of, of.messagesToDelete, sender),
    rowInputs: ({ room, message }) => [{ roomId: room, messageId: message }],
    rowInputsInOwn: ({ message }, own) => [{ roomId: own.elsewhere, messageId: message }],
    step: ({ roomId, messageId }) => ({ roomId, messageId }),
  },
  getMessage: {
    about: 'room',
    input: (of, sender) => messageOf(of, of.messages, sender),
    rowInputs: ({ room, message }) => [{ roomId: room, messageId: message }],
    rowInputsInOwn: ({ message }, own) => [{ roomId: own.elsewhere, messageId: message }],
    step: ({ roomId, messageId }) => ({ roomId, messageId }),
  },
  getMessages: {
    about: 'room',
    input: ({ room }) => ({ roomId: room }),
    rowInputs: ({ room, message }) => [
      { roomId: room },
      { roomId: room, before: cursorAt('getMessages', 1) },
      { roomId: room, after: cursorAt('getMessages', 1) },
      { roomId: room, around: message },
    ],
    rowInputsInOwn: ({ message }, own) => [{ roomId: own.elsewhere, around: message }],
    step: (target) => ({
      roomId: target.roomId,
      ...pageInput('getMessages', target, target.messageId),
    }),
  },
  getRoomSnapshot: {
    about: 'room',
    input: ({ room }, sender) => ({ roomId: room, ...asReader(sender) }),
    rowInputs: ({ room }, sender) => [{ roomId: room, ...asReader(sender) }],
    step: ({ roomId }, { sender }) => ({ roomId, ...asReader(sender) }),
  },
  markRead: {
    about: 'room',
    input: ({ room }, sender) => ({ roomId: room, seq: 1, ...asReader(sender) }),
    rowInputs: ({ room }, sender) => [{ roomId: room, seq: 1, ...asReader(sender) }],
    step: ({ roomId, limit }, { sender }) => ({ roomId, seq: limit, ...asReader(sender) }),
  },
  listEvents: {
    about: 'rooms',
    input: ({ id }) => ({ orgId: id }),
    rowInputs: ({ org, room }) => [
      { orgId: org },
      { orgId: org, roomId: room },
      { orgId: org, userId: 'anyone' },
      { orgId: org, after: UNKNOWN_CURSOR },
    ],
    rowInputsInOwn: ({ room }, own) => [{ orgId: own.id, roomId: room }],
    step: ({ org, roomId, flag }) => ({ orgId: org.id, ...(flag ? { roomId } : {}) }),
  },
  onRoomEvents: {
    about: 'room',
    input: ({ room }) => ({ roomId: room }),
    rowInputs: ({ room }) => [
      { roomId: room },
      { roomId: room, after: UNKNOWN_CURSOR },
      { roomId: room, lastEventId: UNKNOWN_CURSOR },
    ],
    roomsByToken: ({ room }) => ({ customer: [room], support: [room] }),
  },
  onInboxEvents: {
    about: 'rooms',
    input: ({ id }) => ({ orgId: id }),
    rowInputs: ({ org, room }, { author }) => [
      { orgId: org },
      { orgId: org, roomIds: [room] },
      { orgId: org, userId: author },
      { orgId: org, after: UNKNOWN_CURSOR },
      { orgId: org, lastEventId: UNKNOWN_CURSOR },
    ],
    rowInputsInOwn: ({ room }, own) => [{ orgId: own.id, roomIds: [room] }],
    roomsByToken: ({ room, elsewhere, otherCustomersRoom }) => ({
      customer: [room, elsewhere],
      otherCustomer: [otherCustomersRoom],
      support: [room, elsewhere, otherCustomersRoom],
      customerElsewhere: [elsewhere],
      supportElsewhere: [elsewhere],
    }),
  },
  onUserEvents: {
    about: 'rooms',
    input: ({ id, customer }) => ({ orgId: id, userId: customer }),
    rowInputs: ({ org }, { author }) => [
      { orgId: org, userId: author },
      { orgId: org, userId: author, after: UNKNOWN_CURSOR },
      { orgId: org, userId: author, lastEventId: UNKNOWN_CURSOR },
    ],
    roomsByToken: ({ room, elsewhere }) => ({
      customer: [room, elsewhere],
      otherCustomer: [],
      support: [room, elsewhere],
      customerElsewhere: [elsewhere],
      supportElsewhere: [elsewhere],
    }),
  },
  createStreamToken: {
    about: 'caller',
    input: () => ({}),
    rowInputs: () => [],
    step: () => ({}),
  },
  sendHeartbeat: {
    about: 'caller',
    input: () => ({ streamId: STREAM_ID }),
    rowInputs: () => [],
    step: () => ({ streamId: STREAM_ID }),
  },
  setTyping: {
    about: 'room',
    input: ({ room }, { author, side }) => ({ roomId: room, isTyping: true, userId: author, side }),
    rowInputs: ({ room }, { author, side }) => [
      { roomId: room, isTyping: true, userId: author, side },
      { roomId: room, isTyping: false, userId: author, side },
    ],
    step: ({ roomId, flag }, { sender: { author, side } }) => ({
      roomId,
      isTyping: flag,
      userId: author,
      side,
    }),
  },
  createUserToken: {
    about: 'organisation',
    input: ({ id, customer }) => ({ orgId: id, userId: customer, side: false }),
    rowInputs: ({ org, room }) => [
      { orgId: org, userId: 'a', side: true },
      { orgId: org, userId: 'a', side: true, rooms: [room] },
    ],
    unread: ['rooms'],
    step: ({ org, flag, roomId, word }, { of }) => ({
      orgId: org.id,
      userId: `${of.id} user`,
      side: flag,
      ...(word === 'a' ? { rooms: [roomId] } : {}),
    }),
  },
  createApiKey: {
    about: 'organisation',
    input: ({ id }) => ({ orgId: id, right: 'read' }),
    rowInputs: ({ org }) => [{ orgId: org, right: 'admin' }],
    step: ({ org, word }, { of }) => ({
      orgId: org.id,
      right: 'read',
      name: `${of.id} key ${word}`,
    }),
  },
  listApiKeys: {
    about: 'organisation',
    input: ({ id }) => ({ orgId: id }),
    rowInputs: ({ org, key }) => [
      { orgId: org },
      { orgId: org, around: key },
      { orgId: org, before: cursorAt('listApiKeys', 1) },
      { orgId: org, after: cursorAt('listApiKeys', 1) },
    ],
    rowInputsInOwn: ({ key }, own) => [{ orgId: own.id, around: key }],
    step: (target) => ({
      orgId: target.org.id,
      ...pageInput('listApiKeys', target, target.keyId),
    }),
  },
  revokeApiKey: {
    about: 'organisation',
    input: ({ keyToRevoke }) => ({ keyId: keyToRevoke }),
    rowInputs: ({ key }) => [{ keyId: key }],
    step: ({ keyId }) => ({ keyId }),
  },
  revokeUserTokens: {
    about: 'organisation',
    // Nobody has a token of this user.
    input: ({ id }) => ({ orgId: id, userId: 'gone' }),
    rowInputs: ({ org }) => [{ orgId: org, userId: 'gone' }],
    step: ({ org, word }, { of }) => ({ orgId: org.id, userId: `${of.id} gone ${word}` }),
  },
  listAuditEvents: {
    about: 'organisation',
    input: ({ id }) => ({ orgId: id }),
    rowInputs: ({ org }) => [
      { orgId: org },
      { orgId: org, before: cursorAt('listAuditEvents', 1) },
      { orgId: org, after: cursorAt('listAuditEvents', 1) },
    ],
    step: (target) => ({ orgId: target.org.id, ...pageInput('listAuditEvents', target) }),
  },
  getOrganisation: {
    about: 'organisation',
    input: ({ id }) => ({ orgId: id }),
    rowInputs: ({ org }) => [{ orgId: org }],
    step: ({ org }) => ({ orgId: org.id }),
  },
  updateOrganisation: {
    about: 'organisation',
    // The products for which a customer's token can open a room.
    input: ({ id }) => ({ orgId: id, products: ['NEW', 'WIFIQRCODE'] }),
    rowInputs: ({ org }) => [{ orgId: org }, { orgId: org, products: ['p'] }],
    step: ({ org, word, flag }, { of }) => ({
      orgId: org.id,
      products: flag ? [`${of.id} ${word}`] : null,
    }),
  },
}
