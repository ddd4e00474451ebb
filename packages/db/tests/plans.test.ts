import { readdirSync } from 'node:fs'
import Sqlite from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Statement } from '../src/engine/session.ts'
import { SqliteConnection } from '../src/engine/sqlite/connection.ts'
import { Transaction } from '../src/engine/transaction.ts'
import * as append from '../src/eventLog/append.ts'
import * as bounds from '../src/eventLog/bounds.ts'
import * as read from '../src/eventLog/read.ts'
import * as retention from '../src/eventLog/retention.ts'
import { allOrganisations } from '../src/index.ts'
import * as apiKeys from '../src/queries/apiKeys.ts'
import * as auditEvents from '../src/queries/auditEvents.ts'
import * as firstTexts from '../src/queries/firstTexts.ts'
import * as messages from '../src/queries/messages.ts'
import * as organisations from '../src/queries/organisations.ts'
import * as readMarkers from '../src/queries/readMarkers.ts'
import * as roomList from '../src/queries/roomList.ts'
import * as rooms from '../src/queries/rooms.ts'
import * as signingKeys from '../src/queries/signingKeys.ts'
import * as userTokens from '../src/queries/userTokens.ts'
import type { Tables } from '../src/tables.ts'
import { createTestDb, kyselyOn, type TestDatabase } from '../src/testing.ts'
import { describePostgresPlans } from './postgresPlans.ts'
import { apiKeyRow, auditEventRow, idOf, insertInto, messageRow, roomRow } from './support.ts'

type Run = (tx: Transaction) => Promise<unknown>
type Case = [what: string, run: Run, plans: string[][]]

const orgId = 'org 0'
const roomId = idOf(1)
const message = { orgId, roomId }
const byId = 'SEARCH rooms USING INDEX sqlite_autoindex_rooms_1 (id=?)'
const byPosition = 'SEARCH rooms USING INDEX rooms_by_position (org_id=? AND position'
const byProduct =
  'SEARCH rooms USING INDEX rooms_by_product (org_id=? AND product_name=? AND position'
const byUser = 'SEARCH rooms USING INDEX rooms_by_user (org_id=? AND user_id=? AND position'
const searchBy = (index: string, ...columns: string[]) =>
  `SEARCH rooms USING INDEX ${index} (org_id=?${columns.map((c) => ` AND ${c}=?`).join('')} AND position`
const byStatus = searchBy('rooms_by_status', 'status')
const byAssignee = searchBy('rooms_by_assignee', 'assignee')
const byAssigneeStatus = searchBy('rooms_by_assignee_status', 'assignee', 'status')
const byUnassigned = searchBy('rooms_unassigned', 'status')
const byProductStatus = searchBy('rooms_by_product_status', 'product_name', 'status')
const byActivity = searchBy('rooms_by_activity', 'is_active')
const byLabel = 'SEARCH room_labels USING PRIMARY KEY (org_id=? AND label=? AND position'
const hasLabel =
  'SEARCH room_labels EXISTS USING COVERING INDEX room_labels_by_room (room_id=? AND label=?)'
const labelsOfRoom = 'SEARCH room_labels USING COVERING INDEX room_labels_by_room (room_id=?)'
const mine = { assignee: 'support 1', status: 'open' } as const
const twoStatuses = { status: ['open', 'resolved'] } as const
const inbox = { productName: 'product 1', status: 'open' } as const
const everything = {
  userId: 'user 1',
  label: 'label 1',
  isActive: true,
  ...mine,
  ...inbox,
} as const
const keyId = idOf(1)
const keyById = 'SEARCH api_keys USING INDEX sqlite_autoindex_api_keys_1 (id=?)'
const bySeq = 'SEARCH messages USING PRIMARY KEY (org_id=? AND room_id=? AND seq=?)'
/** The plans that find the latest message left and update its room. */
const newestLeft = [
  [
    'SEARCH messages USING PRIMARY KEY (org_id=? AND room_id=? AND seq<?)',
    'SCALAR SUBQUERY 1',
    byId,
  ],
  [byId],
]
/** The texts that are too long to be read with their rows. */
const eachText = ['LIST SUBQUERY 1', 'SCAN given VIRTUAL TABLE INDEX 1:']
const firstTextKey = 'SEARCH first_text_keys USING PRIMARY KEY (org_id=?)'
const firstText = 'SEARCH first_texts USING PRIMARY KEY (org_id=? AND room_id=? AND seq=?)'
const oneMessage = { ...message, seq: 1 }
const description = {
  orgId,
  roomId,
  subject: 'subject',
  status: 'pending',
  assignee: 'support 1',
  custom: '{}',
  now: 1,
} as const
const reader = { userId: 'reader 1', side: true }
const newMessage = (digit: string) => messageRow({ id: digit.repeat(24) })

const newEvent = {
  type: 'message.created',
  org_id: orgId,
  room_id: roomId,
  message_seq: 1,
  created_at: 1,
} as const
const byOrganisation = 'SEARCH organisations USING PRIMARY KEY (id=?)'
/** The one row that says which epoch the logs are of, read once for a statement. */
const ofLog = (number: number) => [
  `SCALAR SUBQUERY ${number}`,
  'SEARCH event_log USING INTEGER PRIMARY KEY (rowid=?)',
]
const ofRoomAndMessage = [
  'SEARCH r USING INDEX sqlite_autoindex_rooms_1 (id=?)',
  'SEARCH m USING PRIMARY KEY (org_id=? AND room_id=? AND seq=?) LEFT-JOIN',
  ...ofLog(1),
]
const inOrder = [
  ['SEARCH e USING PRIMARY KEY (org_id=? AND position>? AND position<?)', ...ofRoomAndMessage],
]
const eachRoom =
  'USING COVERING INDEX events_by_room (org_id=? AND room_id=? AND position>? AND position<?)'

/** The plan that reads the events of some rooms, of each by itself. */
function roomByRoom(rooms: string[]): string[][] {
  return [
    [
      'SEARCH e USING PRIMARY KEY (org_id=? AND position=?)',
      'LIST SUBQUERY 5',
      'MATERIALIZE wanted',
      ...rooms,
      'SCAN wanted',
      `SEARCH events ${eachRoom}`,
      'SCALAR SUBQUERY 4',
      'SEARCH each',
      'CORRELATED SCALAR SUBQUERY 3',
      `SEARCH own ${eachRoom}`,
      'USE TEMP B-TREE FOR ORDER BY',
      ...ofRoomAndMessage,
    ],
  ]
}
const ofUser = roomByRoom(['SEARCH rooms USING INDEX rooms_by_user (org_id=? AND user_id=?)'])
const ofRooms = roomByRoom([
  'SCAN given VIRTUAL TABLE INDEX 1:',
  'SEARCH rooms USING INDEX sqlite_autoindex_rooms_1 (id=?)',
])

const newestOfUser = 'SEARCH rooms USING INDEX rooms_by_user (org_id=? AND user_id=?)'
const atBounds = [
  [
    'SCAN CONSTANT ROW',
    'SCALAR SUBQUERY 1',
    'SEARCH rooms USING COVERING INDEX rooms_one_active (org_id=? AND user_id=?)',
    'SCALAR SUBQUERY 2',
    newestOfUser,
    'SCALAR SUBQUERY 3',
    newestOfUser,
  ],
]

function roomsAtBounds(userId: string): Run {
  const bounds = { active: 50, perMinute: 10, perHour: 60 }
  return (db) => rooms.findRoomsAtBounds(db, { orgId, userId, ...bounds })
}

function inScope(filter: read.EventFilter, after = 100): Run {
  const range = { orgId, after, upTo: after + 500, limit: 200, maxBytes: 1_000_000 }
  return (db) => read.eventsInScope(db, { ...range, ...filter })
}

/** One call of each query per text that it can have, with the plan of each statement. */
const cases: Record<string, Case[]> = {
  appendMessage: [
    ['(own)', (db) => messages.appendMessage(db, message, newMessage('e')), [[byId], []]],
    [
      '(any)',
      (db) => messages.appendMessage(db, { orgId: allOrganisations, roomId }, newMessage('d')),
      [[byId], []],
    ],
  ],
  insertMessage: [
    ['', (db) => messages.insertMessage(db, messageRow({ id: 'f'.repeat(24), seq: 99_999 })), [[]]],
  ],
  findMessageByClientId: [
    [
      '',
      (db) =>
        messages.findMessageByClientId(db, {
          ...message,
          side: true,
          author: 'support 1',
          clientMessageId: 'client-message-0001',
        }),
      [
        [
          'SEARCH messages USING INDEX messages_by_client_id (room_id=? AND side=? AND author=? AND client_message_id=? AND org_id=?)',
        ],
      ],
    ],
  ],
  findMessage: [
    [
      '',
      (db) => messages.findMessage(db, { ...message, messageId: idOf(1) }),
      [['SEARCH messages USING INDEX messages_by_id (id=?)']],
    ],
  ],
  messagesInRange: [
    [
      '',
      (db) => messages.messagesInRange(db, { ...message, from: 10, to: 60 }),
      [['SEARCH messages USING PRIMARY KEY (org_id=? AND room_id=? AND seq>? AND seq<?)']],
    ],
    [
      '(long texts)',
      (db) =>
        messages.messagesInRange(db, { ...message, from: 0, to: 1 }, () => ({ from: 0, to: 1 })),
      [
        ['SEARCH messages USING PRIMARY KEY (org_id=? AND room_id=? AND seq>? AND seq<?)'],
        ['SEARCH messages USING PRIMARY KEY (org_id=? AND room_id=? AND seq>? AND seq<?)'],
        [bySeq, ...eachText],
      ],
    ],
  ],
  nextPosition: (
    ['last_room_position', 'last_key_position', 'last_audit_position'] as const
  ).flatMap((counter) =>
    [orgId, `new ${counter}`].map(
      (orgId): Case => [
        `(${counter} of ${orgId})`,
        (db) => organisations.nextPosition(db, counter, { orgId, now: 1 }),
        [[]],
      ],
    ),
  ),
  lockOrganisation: [orgId, 'new'].map((orgId) => [
    `(${orgId})`,
    (db) => organisations.lockOrganisation(db, { orgId, now: 1 }),
    [[]],
  ]),
  findOrganisationSettings: [
    [
      '',
      (db) => organisations.findOrganisationSettings(db, { orgId }),
      [['SEARCH organisation_settings USING PRIMARY KEY (org_id=?)']],
    ],
  ],
  saveOrganisationSettings: [
    [
      '',
      (db) => organisations.saveOrganisationSettings(db, { orgId, settings: '{}', version: 1 }),
      [[]],
    ],
  ],
  organisationExists: [
    [
      '',
      (db) => organisations.organisationExists(db, { orgId }),
      [['SEARCH organisations USING PRIMARY KEY (id=?)']],
    ],
  ],
  userHasRoom: [
    [
      '',
      (db) => rooms.userHasRoom(db, { orgId, userId: 'user 1' }),
      [['SEARCH rooms USING INDEX rooms_by_user (org_id=? AND user_id=?)']],
    ],
  ],
  findRoomsAtBounds: [
    ['', roomsAtBounds('user 1'), atBounds],
    ['(unknown user)', roomsAtBounds('nobody'), atBounds],
  ],
  insertRoom: [
    [
      '',
      (db) =>
        rooms.insertRoom(
          db,
          roomRow({ id: 'f'.repeat(24), org_id: orgId, position: 99_999, user_id: 'new' }),
        ),
      [[]],
    ],
  ],
  findActiveRoom: [
    [
      '',
      (db) =>
        rooms.findActiveRoom(db, {
          orgId,
          userId: 'user 1',
          portfolioName: 'umair',
          productName: 'product 1',
        }),
      [
        [
          'SEARCH rooms USING INDEX rooms_one_active (org_id=? AND user_id=? AND portfolio_name=? AND product_name=?)',
        ],
      ],
    ],
  ],
  findRoom: [
    ['(own)', (db) => rooms.findRoom(db, { orgId, roomId }), [[byId]]],
    ['(any)', (db) => rooms.findRoom(db, { orgId: allOrganisations, roomId }), [[byId]]],
  ],
  findRoomWithEpochs: [
    [
      '(own)',
      (db) => rooms.findRoomWithEpochs(db, { orgId, roomId }),
      [[byId, ...ofLog(1), ...ofLog(2)]],
    ],
    [
      '(any)',
      (db) => rooms.findRoomWithEpochs(db, { orgId: allOrganisations, roomId }),
      [[byId, ...ofLog(1), ...ofLog(2)]],
    ],
  ],
  findRoomForUpdate: [
    ['(own)', (db) => rooms.findRoomForUpdate(db, { orgId, roomId }), [[byId]]],
    ['(any)', (db) => rooms.findRoomForUpdate(db, { orgId: allOrganisations, roomId }), [[byId]]],
  ],
  findRoomForKeyShare: [
    ['(own)', (db) => rooms.findRoomForKeyShare(db, { orgId, roomId }), [[byId]]],
    ['(any)', (db) => rooms.findRoomForKeyShare(db, { orgId: allOrganisations, roomId }), [[byId]]],
  ],
  setRoomActive: [
    [
      '(deletes)',
      (db) => rooms.setRoomActive(db, { orgId, roomId, isActive: false, now: 1 }),
      [[byId]],
    ],
    [
      '(again)',
      async (db) => {
        await rooms.setRoomActive(db, { orgId, roomId, isActive: false, now: 1 })
        await rooms.setRoomActive(db, { orgId, roomId, isActive: false, now: 1 })
      },
      [[byId], [byId], [byId]],
    ],
    [
      '(restores, any)',
      async (db) => {
        await rooms.setRoomActive(db, { orgId, roomId, isActive: false, now: 1 })
        const everywhere = { orgId: allOrganisations, roomId, now: 1 } as const
        await rooms.setRoomActive(db, { ...everywhere, isActive: true })
      },
      [[byId], [byId]],
    ],
  ],
  listRoomsPage: [
    ...listings('', {}, byPosition),
    ...listings('newest', { boundary: Number.MAX_SAFE_INTEGER }, byPosition),
    ...listings('product', { productName: 'product 1' }, byProduct),
    // A product that most rooms have: its index must win all the same, or a page reads the others' rooms too.
    ...listings('common product', { productName: 'product 0' }, byProduct),
    ...listings('unknown product', { productName: 'nothing' }, byProduct),
    ...listings('user', { userId: 'user 1' }, byUser),
    ...listings('unknown user', { userId: 'nobody' }, byUser),
    // A user has fewer rooms than a product.
    ...listings('user, product', { userId: 'user 1', productName: 'product 1' }, byUser),
    ...listings('status', { status: 'resolved' }, byStatus),
    ...listings('common status', { status: 'open' }, byStatus),
    ...listings('assignee', { assignee: 'support 1' }, byAssignee),
    ...listings('assignee, status', mine, byAssigneeStatus),
    ...listings(
      'assignee, status, product',
      { ...mine, productName: 'product 1' },
      byAssigneeStatus,
    ),
    ...listings('product, status', inbox, byProductStatus),
    ...listings('product, status, active', { ...inbox, isActive: true }, byProductStatus),
    ...mergedListings('two statuses', { status: ['open', 'pending'] }, byStatus, 2),
    ...mergedListings(
      'a status twice, another',
      { status: ['open', 'open', 'resolved'] },
      byStatus,
      2,
    ),
    ...listings('a status twice', { status: ['open', 'open'] }, byStatus),
    ...listings('all statuses', { status: ['open', 'pending', 'resolved'] }, byPosition),
    ...mergedListings('assignee, two statuses', { ...mine, ...twoStatuses }, byAssigneeStatus, 2),
    ...mergedListings('product, two statuses', { ...inbox, ...twoStatuses }, byProductStatus, 2),
    ...mergedListings('two statuses, active', { ...twoStatuses, isActive: true }, byStatus, 2),
    ...mergedListings('unassigned', { assignee: null }, byUnassigned, 3),
    ...mergedListings(
      'unassigned, newest',
      { assignee: null, boundary: Number.MAX_SAFE_INTEGER },
      byUnassigned,
      3,
    ),
    ...listings('unassigned, status', { assignee: null, status: 'open' }, byUnassigned),
    ...mergedListings(
      'unassigned, two statuses',
      { assignee: null, ...twoStatuses },
      byUnassigned,
      2,
    ),
    ...mergedListings(
      'unassigned, product',
      { assignee: null, productName: 'product 1' },
      byUnassigned,
      3,
    ),
    ...listings('user, unassigned', { userId: 'user 1', assignee: null }, byUser),
    ...listings('user, two statuses', { userId: 'user 1', ...twoStatuses }, byUser),
    ...listings('label, unassigned', { label: 'label 1', assignee: null }, byLabel, [byId]),
    ...listings('label, two statuses', { label: 'label 1', ...twoStatuses }, byLabel, [byId]),
    ...listings('deleted', { isActive: false }, byActivity),
    ...listings('status, active', { status: 'open', isActive: true }, byStatus),
    ...listings('user, all else', { ...everything, label: undefined }, byUser),
    ...listings('user, label', { userId: 'user 1', label: 'label 1' }, byUser, [hasLabel]),
    ...listings('label', { label: 'label 1' }, byLabel, [byId]),
    ...listings('label, all else', { ...everything, userId: undefined }, byLabel, [byId]),
    ...(['before', 'after'] as const).flatMap((direction): Case[] =>
      [
        {},
        { userId: 'user 1' },
        { productName: 'product 1' },
        { assignee: null, ...twoStatuses },
        { ...everything, label: undefined },
      ].map((also) => [
        `(${direction}, some rooms${Object.keys(also)})`,
        listing({ direction, roomIds: [idOf(1), idOf(2), idOf(999_999)], ...also }),
        [[byId], [byId], [byId]],
      ]),
    ),
  ],
  moveReadMarker: [
    ...([1, 99_999] as const).map(
      (seq): Case => [
        `(to ${seq})`,
        (db) => readMarkers.moveReadMarker(db, { ...message, ...reader, seq, now: 1 }),
        [[]],
      ],
    ),
    [
      '(new)',
      (db) =>
        readMarkers.moveReadMarker(db, { ...message, userId: 'new', side: true, seq: 1, now: 1 }),
      [[]],
    ],
  ],
  findReadMarker: [
    [
      '',
      (db) => readMarkers.findReadMarker(db, { ...message, ...reader }),
      [['SEARCH read_markers USING PRIMARY KEY (org_id=? AND room_id=? AND side=? AND user_id=?)']],
    ],
  ],
  newestReadMarkers: [
    [
      '',
      (db) => readMarkers.newestReadMarkers(db, { ...message, limit: 100 }),
      [['SEARCH read_markers USING INDEX read_markers_by_time (org_id=? AND room_id=?)']],
    ],
  ],
  unreadCounts: [true, false].map((side) => [
    `(${side ? 'support' : 'customer'})`,
    (db) =>
      readMarkers.unreadCounts(db, {
        orgId,
        roomIds: [roomId, idOf(2), idOf(999_999)],
        userId: 'reader 1',
        side,
      }),
    [
      [
        'SCAN listed VIRTUAL TABLE INDEX 1:',
        'SEARCH rooms USING INDEX sqlite_autoindex_rooms_1 (id=?)',
        'SEARCH marker USING PRIMARY KEY (org_id=? AND room_id=? AND side=? AND user_id=?) LEFT-JOIN',
        'SEARCH last_read USING PRIMARY KEY (org_id=? AND room_id=? AND seq=?) LEFT-JOIN',
        'CORRELATED SCALAR SUBQUERY 1',
        'SEARCH deleted USING COVERING INDEX messages_deleted (org_id=? AND room_id=? AND side=? AND seq>?)',
      ],
    ],
  ]),
  insertApiKey: [
    [
      '',
      (db) =>
        apiKeys.insertApiKey(
          db,
          apiKeyRow({ id: 'f'.repeat(24), org_id: orgId, position: 99_999 }),
        ),
      [[]],
    ],
  ],
  findApiKey: [
    ['(own)', (db) => apiKeys.findApiKey(db, { orgId, keyId }), [[keyById]]],
    ['(any)', (db) => apiKeys.findApiKey(db, { orgId: allOrganisations, keyId }), [[keyById]]],
  ],
  anyApiKeyExists: [
    [
      '',
      apiKeys.anyApiKeyExists,
      [['SCAN api_keys USING COVERING INDEX sqlite_autoindex_api_keys_1']],
    ],
  ],
  recordApiKeyUse: [
    ['', (db) => apiKeys.recordApiKeyUse(db, { orgId, keyId, now: 1 }), [[keyById]]],
  ],
  revokeApiKeyRow: [
    ['(own)', (db) => apiKeys.revokeApiKeyRow(db, { orgId, keyId, now: 1 }), [[keyById]]],
    [
      '(any)',
      (db) => apiKeys.revokeApiKeyRow(db, { orgId: allOrganisations, keyId: idOf(2), now: 1 }),
      [[keyById]],
    ],
  ],
  listApiKeysPage: [
    [
      '(before)',
      (db) => apiKeys.listApiKeysPage(db, { orgId, direction: 'before', boundary: 50, limit: 51 }),
      [['SEARCH api_keys USING INDEX api_keys_by_position (org_id=? AND position<?)']],
    ],
    [
      '(after)',
      (db) => apiKeys.listApiKeysPage(db, { orgId, direction: 'after', boundary: 50, limit: 51 }),
      [['SEARCH api_keys USING INDEX api_keys_by_position (org_id=? AND position>?)']],
    ],
  ],
  insertAuditEvent: [
    [
      '',
      (db) =>
        auditEvents.insertAuditEvent(
          db,
          auditEventRow({ id: 'f'.repeat(24), org_id: orgId, position: 99_999 }),
        ),
      [[]],
    ],
  ],
  listAuditEventsPage: [
    [
      '(before)',
      (db) =>
        auditEvents.listAuditEventsPage(db, {
          orgId,
          direction: 'before',
          boundary: 50,
          limit: 51,
        }),
      [['SEARCH audit_events USING PRIMARY KEY (org_id=? AND position<?)']],
    ],
    [
      '(after)',
      (db) =>
        auditEvents.listAuditEventsPage(db, { orgId, direction: 'after', boundary: 50, limit: 51 }),
      [['SEARCH audit_events USING PRIMARY KEY (org_id=? AND position>?)']],
    ],
  ],
  storeEvents: [
    ['', (db) => append.storeEvents(db, [newEvent, newEvent]), [[byOrganisation], [], []]],
    ['(none)', (db) => append.storeEvents(db, []), []],
  ],
  eventLogBounds: [
    [
      '',
      (db) => bounds.eventLogBounds(db, { orgId }),
      [
        [
          'SCAN CONSTANT ROW',
          ...ofLog(1),
          ...ofLog(2),
          'SCALAR SUBQUERY 3',
          byOrganisation,
          'SCALAR SUBQUERY 4',
          'SEARCH events USING PRIMARY KEY (org_id=?)',
        ],
      ],
    ],
  ],
  eventLogHeads: [
    [
      '',
      (db) => bounds.eventLogHeads(db, [orgId, 'org 1', 'nobody']),
      [['SCAN given VIRTUAL TABLE INDEX 1:', `${byOrganisation} LEFT-JOIN`, ...ofLog(1)]],
    ],
  ],
  eventsInScope: [
    ['(all)', inScope({}), inOrder],
    [
      '(long texts)',
      inScope({}, 0),
      [...inOrder, [eachText[1] ?? '', 'SEARCH messages USING INDEX messages_by_id (id=?)']],
    ],
    ['(product)', inScope({ productName: 'product 1' }), inOrder],
    ['(common product)', inScope({ productName: 'product 0' }), inOrder],
    ['(unknown product)', inScope({ productName: 'nothing' }), inOrder],
    ['(user)', inScope({ userId: 'user 1' }), ofUser],
    ['(unknown user)', inScope({ userId: 'nobody' }), ofUser],
    ['(user, product)', inScope({ userId: 'user 1', productName: 'product 1' }), ofUser],
    ['(rooms)', inScope({ roomIds: [roomId, idOf(2), idOf(999_999)] }), ofRooms],
    ['(no rooms)', inScope({ roomIds: [] }), ofRooms],
    ['(user, rooms)', inScope({ userId: 'user 0', roomIds: [roomId, idOf(2)] }), ofRooms],
    [
      '(rooms, user, product)',
      inScope({ roomIds: [roomId], userId: 'user 0', productName: 'product 0' }),
      ofRooms,
    ],
  ],
  eventLogsAfter: [
    [
      '',
      (db) => retention.eventLogsAfter(db, { orgId, limit: 100 }),
      [
        [
          'SEARCH o USING PRIMARY KEY (id>?)',
          'CORRELATED SCALAR SUBQUERY 1',
          'SEARCH events USING PRIMARY KEY (org_id=?)',
        ],
      ],
    ],
  ],
  oldestEvents: [
    [
      '',
      (db) => retention.oldestEvents(db, { orgId, limit: 500 }),
      [['SEARCH events USING PRIMARY KEY (org_id=?)']],
    ],
  ],
  deleteEvents: [
    [
      '',
      (db) => retention.deleteEvents(db, { orgId, upTo: 5 }),
      [['SEARCH events USING PRIMARY KEY (org_id=? AND position<?)']],
    ],
  ],
  findRetentionClock: [['', retention.findRetentionClock, [ofLog(1).slice(1)]]],
  saveRetentionClock: [
    ['', (db) => retention.saveRetentionClock(db, { time: 1, seenAt: 2 }), [ofLog(1).slice(1)]],
  ],
  insertSigningKey: [
    [
      '',
      (db) =>
        signingKeys.insertSigningKey(db, { id: 'f'.repeat(24), secret: 'secret', created_at: 1 }),
      [[]],
    ],
  ],
  listSigningKeys: [
    ['', signingKeys.listSigningKeys, [['SCAN signing_keys', 'USE TEMP B-TREE FOR ORDER BY']]],
  ],
  listSigningKeysForUpdate: [
    [
      '',
      signingKeys.listSigningKeysForUpdate,
      [['SCAN signing_keys', 'USE TEMP B-TREE FOR ORDER BY']],
    ],
  ],
  deleteSigningKeys: [
    [
      '',
      (db) => signingKeys.deleteSigningKeys(db, [idOf(1), idOf(2)]),
      [['SEARCH signing_keys USING INDEX sqlite_autoindex_signing_keys_1 (id=?)']],
    ],
    ['(none)', (db) => signingKeys.deleteSigningKeys(db, []), []],
  ],
  findUserTokenStatus: [
    [
      '',
      (db) => userTokens.findUserTokenStatus(db, { orgId, userId: 'user 1', keyId }),
      [
        [
          'SCAN CONSTANT ROW',
          'SCALAR SUBQUERY 1',
          keyById,
          'SCALAR SUBQUERY 2',
          'SEARCH user_token_revocations USING PRIMARY KEY (org_id=? AND user_id=?)',
        ],
      ],
    ],
  ],
  saveUserTokenRevocation: [
    ['', (db) => userTokens.saveUserTokenRevocation(db, { orgId, userId: 'user 1', now: 1 }), [[]]],
  ],
  listUserTokenRevocations: [
    [
      '',
      (db) => userTokens.listUserTokenRevocations(db, { since: 1 }),
      [
        [
          'SEARCH user_token_revocations USING COVERING INDEX user_token_revocations_by_time (revoked_at>?)',
        ],
      ],
    ],
  ],
  deleteUserTokenRevocations: [
    [
      '',
      (db) => userTokens.deleteUserTokenRevocations(db, { before: 1 }),
      [
        [
          'SEARCH user_token_revocations USING COVERING INDEX user_token_revocations_by_time (revoked_at<?)',
        ],
      ],
    ],
  ],
  findFirstTextKey: [['', (db) => firstTexts.findFirstTextKey(db, { orgId }), [[firstTextKey]]]],
  getOrInsertFirstTextKey: [
    [
      '',
      (db) => firstTexts.getOrInsertFirstTextKey(db, { orgId, secret: 'secret' }),
      [[], [firstTextKey]],
    ],
  ],
  findFirstText: [['', (db) => firstTexts.findFirstText(db, oneMessage), [[firstText]]]],
  insertFirstText: [
    ['', (db) => firstTexts.insertFirstText(db, { ...message, seq: 2, hash: 'hash' }), [[]]],
  ],
  deleteFirstText: [['', (db) => firstTexts.deleteFirstText(db, oneMessage), [[firstText]]]],
  editMessage: [
    [
      '',
      (db) => messages.editMessage(db, { ...oneMessage, messageData: 'edited', now: 1 }),
      [[bySeq], ...newestLeft],
    ],
  ],
  softDeleteMessage: [
    [
      '',
      (db) => messages.softDeleteMessage(db, { ...oneMessage, now: 1 }),
      [[bySeq], ...newestLeft],
    ],
  ],
  updateRoomDetails: [
    [
      '',
      (db) => rooms.updateRoomDetails(db, { ...description, labels: '[]' }),
      [[byId], [labelsOfRoom]],
    ],
    [
      '(labels)',
      (db) => rooms.updateRoomDetails(db, { ...description, labels: '["new", "newer"]' }),
      [[byId], [labelsOfRoom], [], []],
    ],
  ],
}

/** Queries that may scan or sort, and why that is cheap. */
const harmless: Record<string, string> = {
  anyApiKeyExists: 'stops at the first row',
  eventLogBounds: 'begins with the one row that it answers',
  eventLogHeads: 'reads through the list that it was given',
  findUserTokenStatus: 'scans no table: its one row is made of two lookups',
  findRoomsAtBounds: 'scans a row of its own, which holds what it found',
  eventsInScope: 'reads through a list of rooms, and sorts a page of each at most',
  listSigningKeys: 'wants all rows, and there are a handful',
  listSigningKeysForUpdate: 'the same',
  messagesInRange: 'goes through the list of texts that it is given',
  unreadCounts: 'goes through the list that it is given',
}

function listing(where: Partial<Parameters<typeof roomList.listRoomsPage>[1]>): Run {
  return (db) =>
    roomList.listRoomsPage(db, { orgId, direction: 'before', boundary: 500, limit: 51, ...where })
}

/** A listing in both directions, by one index. */
function listings(
  what: string,
  where: Parameters<typeof listing>[0],
  index: string,
  further: string[] = [],
): Case[] {
  return [
    [
      `(before, ${what})`,
      listing({ ...where, direction: 'before' }),
      [[`${index}<?)`, ...further]],
    ],
    [`(after, ${what})`, listing({ ...where, direction: 'after' }), [[`${index}>?)`, ...further]]],
  ]
}

/** A listing in both directions that merges as many ranges of an index, each in order. */
function mergedListings(
  what: string,
  where: Parameters<typeof listing>[0],
  index: string,
  ranges: 2 | 3,
): Case[] {
  return (['before', 'after'] as const).map((direction) => {
    const range = `${index}${direction === 'before' ? '<' : '>'}?)`
    const two = ['MERGE (UNION ALL)', 'LEFT', range, 'RIGHT', range]
    const plan = ranges === 2 ? two : ['MERGE (UNION ALL)', 'LEFT', ...two, 'RIGHT', range]
    return [`(${direction}, ${what})`, listing({ ...where, direction }), [plan]]
  })
}

test('every query of packages/db/src/queries and eventLog has a case', async () => {
  const files = ['queries', 'eventLog'].flatMap((name) => {
    const folder = new URL(`../src/${name}/`, import.meta.url)
    return readdirSync(folder).map((file) => `${folder}${file}`)
  })
  // epoch.ts has parts of other queries, and one that only the copy runs.
  const modules = await Promise.all(
    files.filter((file) => !file.endsWith('/epoch.ts')).map((file) => import(file)),
  )
  const exported = modules.flatMap((module) => Object.keys(module))
  expect(
    Object.keys(cases).sort(),
    'packages/db/tests/plans.test.ts needs a case for every exported query',
  ).toEqual(exported.sort())
})

const { dialect } = inject('testTarget')
const sizes = [
  ['empty', 0, false],
  ['empty, analysed', 0, true],
  ['full', 8000, false],
  ['full, analysed', 8000, true],
] as const

if (dialect === 'postgres') describePostgresPlans(cases, (insert) => fill(insert, 20_000))

describe.for(dialect === 'sqlite' ? sizes : [])(
  'in a database that is %s',
  ([, size, analysed]) => {
    let testDb: TestDatabase
    let connection: Sqlite.Database
    let tx: Transaction
    const statements: Statement[] = []

    beforeAll(async () => {
      testDb = await createTestDb()
      connection = new Sqlite(testDb.location)
      connection.pragma('synchronous = off')
      // Their checks are part of a plan, even those that SQLite skips unless an earlier statement left a violation.
      connection.pragma('foreign_keys = off')
      connection.transaction(() => fill((table, row) => insertInto(connection, table, row), size))()
      if (analysed) connection.exec('analyze')
      const sqlite = new SqliteConnection(connection)
      tx = new Transaction({
        dialect: 'sqlite',
        execute(statement) {
          statements.push(statement)
          return sqlite.execute(statement)
        },
      })
    })
    afterAll(async () => {
      connection.close()
      await testDb[Symbol.asyncDispose]()
    })

    /** The plans of the statements that `run` makes: for these very values, and for none in particular. */
    async function plansOf(run: Run): Promise<{ real: string[][]; blind: string[][] }> {
      statements.length = 0
      connection.exec('begin')
      try {
        await run(tx)
      } finally {
        // So that no case depends on the writes of another.
        connection.exec('rollback')
      }
      const explain = (replace: (parameter: unknown) => unknown) =>
        statements.map(({ sql, parameters }) =>
          connection
            .prepare<unknown[], { detail: string }>(`explain query plan ${sql}`)
            .all(...parameters.map(replace))
            .map(({ detail }) => detail),
        )
      return { real: explain((parameter) => parameter), blind: explain(() => null) }
    }

    test.for(
      Object.entries(cases).flatMap(([name, runs]) => runs.map((run) => [name, ...run] as const)),
    )('%s %s reads by an index and sorts nothing', async ([name, , run, wanted]) => {
      const plans = await plansOf(run)
      expect(plans.real).toEqual(wanted)
      if (!(name in harmless)) expect(plans.real.flat().filter(isSlow)).toEqual([])
      // An index that is used only because of a value costs a new plan at every call.
      expect(plans.blind).toEqual(wanted)
    })

    test('the check of plans notices a scan and a sort', async () => {
      const ofOrg = (tx: Transaction) =>
        kyselyOn(tx).selectFrom('rooms').selectAll().where('org_id', '=', orgId)
      const all = (tx: Transaction) => kyselyOn(tx).selectFrom('rooms').selectAll()
      const scan = await plansOf((db) => all(db).where('event_id', '=', 'x').execute())
      const sort = await plansOf((db) => ofOrg(db).orderBy('updated_at').execute())
      expect(scan.real.flat().some(isSlow)).toBe(true)
      expect(sort.real.flat().some(isSlow)).toBe(true)
    })
  },
)

const isSlow = (detail: string) => /^SCAN|TEMP B-TREE/.test(detail)

/** Organisations, rooms, products and talk of very different sizes, as they are in life. */
function fill(insert: (table: keyof Tables, row: object) => void, size: number): void {
  const positions = new Map<string, number>()
  /** 0 for half of all, 1 for a quarter, and so on. */
  const skewed = (i: number) => Math.clz32((i * 2_654_435_761) >>> 0)
  // The rows that the cases name, and so many rooms that no scan is as good.
  for (let i = 0; i < Math.max(4, size / 4); i++) {
    const org = `org ${i === 0 ? 0 : skewed(i)}`
    const position = (positions.get(org) ?? 0) + 1
    positions.set(org, position)
    if (position === 1)
      insert('organisations', {
        id: org,
        created_at: 0,
        last_room_position: 1,
        last_event_position: 99_999,
      })
    insert(
      'rooms',
      roomRow({
        id: idOf(i + 1),
        org_id: org,
        position,
        user_id: `user ${Math.floor(i / 3)}`,
        product_name: `product ${skewed(i + 7)}`,
        is_active: i === 0 || i % 3 === 2 ? 1 : 0,
        last_seq: 100_000,
        status: (['resolved', 'open', 'pending'] as const)[Math.min(2, skewed(i + 3))] ?? 'open',
        assignee: i % 4 === 0 ? null : `support ${i % 5}`,
      }),
    )
    if (i === 0 || i % 3 === 1) {
      const label = `label ${skewed(i + 5)}`
      insert('room_labels', { org_id: org, label, position, room_id: idOf(i + 1) })
    }
  }
  for (let i = 0; i < Math.max(2, size / 8); i++) {
    const org_id = i % 2 === 0 ? orgId : 'org 1'
    const position = Math.floor(i / 2) + 1
    const id = idOf(i + 1)
    insert(
      'api_keys',
      apiKeyRow({ id, org_id, position, revoked_at: i > 1 && i % 3 === 0 ? 1 : null }),
    )
    insert('audit_events', auditEventRow({ id, org_id, position }))
  }
  for (let i = 0; i < Math.max(1, size / 8); i++) {
    // One room that very many people read, and others.
    const room_id = i % 2 === 0 ? roomId : idOf((i % 50) + 1)
    const marker = { room_id, side: i % 3 === 0 ? 1 : 0, user_id: `reader ${i}` }
    insert('read_markers', { org_id: orgId, ...marker, seq: i, updated_at: i })
  }
  for (const org_id of [orgId, 'org 1']) insert('first_text_keys', { org_id, secret: 'secret' })
  for (let i = 0; i < 5; i++) {
    insert('signing_keys', { id: idOf(i + 1), secret: 'secret', created_at: i })
  }
  for (let i = 0; i < Math.max(1, size); i++) {
    const talkative = i % 2 === 0
    insert(
      'messages',
      messageRow({
        org_id: talkative ? orgId : 'org 1',
        room_id: talkative ? roomId : idOf((i % 50) + 1),
        seq: i + 1,
        id: idOf(i + 1),
        side: i % 3 === 0 ? 1 : 0,
        author: `support ${i % 5}`,
        message_data: i === 0 ? 'long'.repeat(1_000) : 'message',
        client_message_id: i % 4 === 0 ? `client-message-${String(i).padStart(4, '0')}` : null,
      }),
    )
    if (i % 40 === 0) {
      insert('first_texts', { org_id: orgId, room_id: roomId, seq: i + 1, hash: 'hash' })
    }
    insert('events', {
      org_id: talkative ? orgId : 'org 1',
      position: Math.floor(i / 2) + 1,
      room_id: talkative ? (i % 20 === 0 ? idOf((i % 90) + 1) : roomId) : idOf((i % 50) + 1),
      type: 'message.created',
      message_seq: i + 1,
      created_at: i,
    })
  }
}
