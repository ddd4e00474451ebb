import { describe, expect, test } from 'vitest'
import {
  as,
  createOperator,
  createOrganisation,
  type Organisation,
  outcome,
  unlimited,
} from './credentials.ts'
import { ask, type Connection, openDirectly, type Rows } from './database.ts'
import { createTestApp, type TestApp } from './support.ts'

const ORG = 'DOWELL12345'

function eventsOf(app: TestApp, orgId = ORG): Promise<Rows> {
  return ask(app, 'select * from audit_events where org_id = ? order by position', orgId)
}

/** Makes statements such as `insert on rooms` fail until it is disposed of. */
async function refuse(
  { ask, dialect }: Connection,
  ...statements: string[]
): Promise<AsyncDisposable> {
  const refusal = {
    sqlite: "begin select raise(abort, 'refused'); end",
    postgres: 'for each row execute function refuse()',
  }[dialect]
  if (dialect === 'postgres') {
    await ask(
      "create or replace function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$",
    )
  }
  for (const [index, statement] of statements.entries()) {
    await ask(`create trigger refuse_${index} before ${statement} ${refusal}`)
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const [index, statement] of statements.entries()) {
        const on = dialect === 'postgres' ? statement.slice(statement.indexOf('on ')) : ''
        await ask(`drop trigger refuse_${index} ${on}`)
      }
    },
  }
}

/** The events that were written meanwhile. */
async function during(app: TestApp, act: () => Promise<unknown>): Promise<Rows> {
  const before = (await eventsOf(app)).length
  await act()
  return (await eventsOf(app)).slice(before)
}

describe('each audited action writes one event', () => {
  test('an audited action writes one event with its actor and target', async () => {
    await using app = await createTestApp(unlimited)
    const org = await createOrganisation(app, ORG)
    const { room, keyToRevoke, keys, tokens, supporter } = org
    const admin = as(app, keys.admin.secret)
    const support = as(app, tokens.support)
    const byAdmin = `key:${keys.admin.id}`
    const byUser = `user:${supporter}`

    let made = ''
    const creating = await during(app, async () => {
      const input = { orgId: ORG, right: 'read', name: 'screen' } as const
      made = (await admin.createApiKey(input)).apiKey.id
    })
    expect(creating).toMatchObject([{ action: 'apiKey.created', actor: byAdmin, target: made }])
    expect(JSON.parse(String(creating[0]?.details))).toEqual({ right: 'read', name: 'screen' })

    expect(await during(app, () => admin.revokeApiKey({ keyId: keyToRevoke }))).toMatchObject([
      { action: 'apiKey.revoked', actor: byAdmin, target: keyToRevoke, details: '{}' },
    ])

    const minting = await during(app, () =>
      as(app, keys.support.secret).createUserToken({
        orgId: ORG,
        userId: 'ABCD12345',
        side: false,
        rooms: [room],
        expiresIn: 60,
      }),
    )
    const bySupport = `key:${keys.support.id}`
    expect(minting).toMatchObject([
      { action: 'userToken.created', actor: bySupport, target: 'ABCD12345' },
    ])
    expect(JSON.parse(String(minting[0]?.details))).toEqual({
      side: false,
      expiresIn: 60,
      rooms: [room],
    })

    expect(await during(app, () => support.deleteRoom({ roomId: room }))).toMatchObject([
      { action: 'room.deleted', actor: byUser, target: room, details: '{}' },
    ])
    const restoring = () => support.deleteRoom({ roomId: room, isActive: true })
    expect(await during(app, restoring)).toMatchObject([
      { action: 'room.restored', actor: byUser, target: room, details: '{}' },
    ])
  })

  test('a change of a room is audited with the names of what changed, and without the values', async () => {
    await using app = await createTestApp(unlimited)
    const { room: roomId, keys, tokens, supporter } = await createOrganisation(app, ORG)
    const byUser = as(app, tokens.support)
    const update = { roomId, subject: 'a secret', labels: ['secret'], custom: { a: 'secret' } }
    expect(await during(app, () => byUser.updateRoom(update))).toMatchObject([
      {
        action: 'room.updated',
        actor: `user:${supporter}`,
        target: roomId,
        details: JSON.stringify({ changed: ['subject', 'labels', 'custom'] }),
      },
    ])
    const byKey = as(app, keys.admin.secret)
    const partly = { roomId, subject: 'a secret', status: 'resolved', assignee: 'secret' } as const
    expect(await during(app, () => byKey.updateRoom(partly))).toMatchObject([
      {
        action: 'room.updated',
        actor: `key:${keys.admin.id}`,
        details: JSON.stringify({ changed: ['status', 'assignee'] }),
      },
    ])
    // Once more changes nothing.
    expect(await during(app, () => byKey.updateRoom(partly))).toEqual([])
  })

  test('a change of a message is audited without its text, unless its author made it', async () => {
    await using app = await createTestApp(unlimited)
    const { talk: roomId, messages, keys, tokens } = await createOrganisation(app, ORG)
    const change = async (credential: string, messageId: string) => {
      const by = as(app, credential)
      await by.updateMessage({ roomId, messageId, messageData: 'a secret' })
      await by.deleteMessage({ roomId, messageId })
      // Once more changes nothing.
      await by.deleteMessage({ roomId, messageId })
    }
    expect(await during(app, () => change(tokens.customer, messages.customer))).toEqual([])
    const byKey = await during(app, () => change(keys.support.secret, messages.support))
    const noted = { actor: `key:${keys.support.id}`, target: messages.support }
    expect(byKey).toMatchObject([
      { action: 'message.updated', ...noted, details: JSON.stringify({ roomId }) },
      { action: 'message.deleted', ...noted, details: JSON.stringify({ roomId }) },
    ])
  })

  test('the actor is cli at the command line and open without a credential', async () => {
    await using app = await createTestApp({ ...unlimited, AUTH: 'open' })
    const identity = { orgId: ORG, userId: 'a', portfolioName: 'p', productName: 'q' }
    const { room } = await as(app).createRoom(identity)
    await as(app).deleteRoom({ roomId: room.id })
    await using operator = createOperator(app)
    await operator.call.createUserToken({ orgId: ORG, userId: 'a', side: true })
    const { apiKey } = await operator.call.createApiKey({ orgId: ORG, right: 'admin' })
    await operator.call.revokeApiKey({ keyId: apiKey.id })
    expect(
      (await eventsOf(app)).map(({ position, actor, action }) => [position, actor, action]),
    ).toEqual([
      [1, 'open', 'room.deleted'],
      [2, 'cli', 'userToken.created'],
      [3, 'cli', 'apiKey.created'],
      [4, 'cli', 'apiKey.revoked'],
    ])
  })

  test('a call that changes nothing, is rejected or fails writes no audit event', async () => {
    await using app = await createTestApp(unlimited)
    const org = await createOrganisation(app, ORG)
    const foreign = await createOrganisation(app, 'FOREIGN')
    const { room, elsewhere, talk, messages, keyToRevoke, keys, tokens, customer } = org
    const admin = as(app, keys.admin.secret)
    await admin.revokeApiKey({ keyId: keyToRevoke })
    await admin.deleteRoom({ roomId: talk })
    await admin.deleteRoom({ roomId: room })
    // Another room takes its place, so that it cannot come back.
    const { portfolioName, productName } = await admin.getRoomById({ roomId: room })
    await admin.createRoom({ orgId: ORG, userId: customer, portfolioName, productName })

    const stranger = as(app, foreign.keys.admin.secret)
    const attempts: [attempt: () => Promise<unknown>, code: string][] = [
      [() => admin.revokeApiKey({ keyId: keyToRevoke }), 'ok'],
      [() => admin.deleteRoom({ roomId: room }), 'ok'],
      [() => admin.deleteRoom({ roomId: org.elsewhere, isActive: true }), 'ok'],
      [() => admin.deleteRoom({ roomId: room, isActive: true }), 'ROOM_ALREADY_ACTIVE'],
      [() => admin.revokeApiKey({ keyId: 'f'.repeat(24) }), 'NOT_FOUND'],
      [() => admin.deleteRoom({ roomId: 'f'.repeat(24) }), 'NOT_FOUND'],
      [() => admin.createApiKey({ orgId: ORG, right: 'read', name: '' }), 'BAD_REQUEST'],
      [() => stranger.revokeApiKey({ keyId: keys.read.id }), 'NOT_FOUND'],
      [() => stranger.deleteRoom({ roomId: org.elsewhere }), 'NOT_FOUND'],
      [() => stranger.createUserToken({ orgId: ORG, userId: 'a', side: true }), 'NOT_FOUND'],
      [() => stranger.createApiKey({ orgId: ORG, right: 'admin' }), 'NOT_FOUND'],
      [() => as(app, tokens.customer).deleteRoom({ roomId: org.elsewhere }), 'FORBIDDEN'],
      [() => as(app, keys.support.secret).revokeApiKey({ keyId: keys.read.id }), 'FORBIDDEN'],
      [() => as(app, keys.read.secret).deleteRoom({ roomId: org.elsewhere }), 'FORBIDDEN'],
      [
        () => admin.updateMessage({ roomId: talk, messageId: messages.support, messageData: 'x' }),
        'ROOM_CLOSED',
      ],
      [() => admin.deleteMessage({ roomId: elsewhere, messageId: messages.support }), 'NOT_FOUND'],
      [() => stranger.deleteMessage({ roomId: talk, messageId: messages.support }), 'NOT_FOUND'],
      [
        () => as(app, tokens.support).deleteMessage({ roomId: talk, messageId: messages.customer }),
        'FORBIDDEN',
      ],
      [() => as(app).deleteRoom({ roomId: org.elsewhere }), 'UNAUTHORIZED'],
    ]
    const all = async () => [await eventsOf(app), await eventsOf(app, 'FOREIGN')]
    const before = await all()
    for (const [attempt, code] of attempts) expect(await outcome(attempt())).toBe(code)
    expect(await all()).toEqual(before)
  })

  test('an action fails when its audit event cannot be written', async () => {
    await using app = await createTestApp(unlimited)
    const org = await createOrganisation(app, ORG)
    const admin = as(app, org.keys.admin.secret)
    await using database = await openDirectly(app)
    const before = await database.dump()
    const actions: [name: string, act: () => Promise<unknown>][] = [
      ['createApiKey', () => admin.createApiKey({ orgId: ORG, right: 'read' })],
      ['revokeApiKey', () => admin.revokeApiKey({ keyId: org.keyToRevoke })],
      ['createUserToken', () => admin.createUserToken({ orgId: ORG, userId: 'a', side: true })],
      [
        'deleteMessage',
        () => admin.deleteMessage({ roomId: org.talk, messageId: org.messages.support }),
      ],
      ['updateRoom', () => admin.updateRoom({ roomId: org.talk, subject: 'x' })],
      ['deleteRoom', () => admin.deleteRoom({ roomId: org.room })],
    ]
    {
      await using _ = await refuse(database, 'insert on audit_events')
      for (const [name, act] of actions) {
        expect(await outcome(act()), name).toBe('INTERNAL_SERVER_ERROR')
        expect(await database.dump(), name).toEqual(before)
      }
    }

    // And the other way round: what is not done is not written down, and takes no position.
    {
      await using _ = await refuse(
        database,
        'insert on api_keys',
        'update on api_keys',
        'update on rooms',
      )
      for (const [name, act] of actions.filter(([name]) => name !== 'createUserToken')) {
        expect(await outcome(act()), name).toBe('INTERNAL_SERVER_ERROR')
        expect(await database.dump(), name).toEqual(before)
      }
    }
    for (const [name, act] of actions) expect(await outcome(act()), name).toBe('ok')
    const positions = (await eventsOf(app)).map(({ position }) => position)
    expect(positions).toEqual(positions.map((_, index) => index + 1))
  })

  test('concurrent audit events get positions without gaps', async () => {
    await using app = await createTestApp(unlimited)
    const org = await createOrganisation(app, ORG)
    const admin = as(app, org.keys.admin.secret)
    const first = (await eventsOf(app)).length
    const created = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        admin.createUserToken({ orgId: ORG, userId: `user ${n}`, side: false }),
      ),
    )
    const events = (await eventsOf(app)).slice(first)
    expect(events.map(({ position }) => position)).toEqual(created.map((_, n) => first + n + 1))
    expect(new Set(events.map(({ target }) => target)).size).toBe(created.length)
  })
})

describe('the log', () => {
  async function filled(app: TestApp): Promise<{ org: Organisation; foreign: Organisation }> {
    const org = await createOrganisation(app, ORG)
    const foreign = await createOrganisation(app, 'FOREIGN')
    for (let n = 0; n < 4; n++) {
      await as(app, org.keys.admin.secret).deleteRoom({ roomId: org.room, isActive: n % 2 === 1 })
    }
    return { org, foreign }
  }

  test('the audit log is read in pages in both directions', async () => {
    await using app = await createTestApp(unlimited)
    const { org } = await filled(app)
    const admin = as(app, org.keys.admin.secret)
    const stored = await eventsOf(app)
    const all = await admin.listAuditEvents({ orgId: ORG })
    expect(all.items).toEqual(
      stored.map((row) => ({
        id: row.id,
        orgId: ORG,
        action: row.action,
        actor: row.actor,
        target: row.target,
        details: JSON.parse(String(row.details)),
        createdAt: new Date(Number(row.created_at)),
      })),
    )
    expect(all).toMatchObject({ hasBefore: false, hasAfter: false })

    const back = [await admin.listAuditEvents({ orgId: ORG, limit: 3 })]
    for (let page = back[0]; page?.hasBefore; back.unshift(page)) {
      page = await admin.listAuditEvents({ orgId: ORG, limit: 3, before: page.before })
    }
    expect(back.length).toBeGreaterThan(3)
    expect(back.flatMap(({ items }) => items)).toEqual(all.items)

    const [oldest] = back
    const forth = [await admin.listAuditEvents({ orgId: ORG, limit: 3, after: oldest?.before })]
    for (let page = forth[0]; page?.hasAfter; forth.push(page)) {
      page = await admin.listAuditEvents({ orgId: ORG, limit: 3, after: page.after })
    }
    expect(forth.flatMap(({ items }) => items)).toEqual(all.items)

    // The last cursor leads to what comes later.
    const { after } = forth.at(-1) ?? {}
    expect((await admin.listAuditEvents({ orgId: ORG, after })).items).toEqual([])
    await admin.deleteRoom({ roomId: org.elsewhere })
    expect((await admin.listAuditEvents({ orgId: ORG, after })).items).toMatchObject([
      { action: 'room.deleted', target: org.elsewhere },
    ])
    expect(await outcome(admin.listAuditEvents({ orgId: ORG, after: 'nonsense' }))).toBe(
      'BAD_REQUEST',
    )
  })

  test('only admin keys of the organisation read the audit log', async () => {
    await using app = await createTestApp(unlimited)
    const { org, foreign } = await filled(app)
    const read = (credential: string, orgId = ORG) =>
      outcome(as(app, credential).listAuditEvents({ orgId }))
    expect(await read(org.keys.admin.secret)).toBe('ok')
    expect(await read(org.keys.support.secret)).toBe('FORBIDDEN')
    expect(await read(org.keys.read.secret)).toBe('FORBIDDEN')
    for (const token of Object.values(org.tokens)) expect(await read(token)).toBe('FORBIDDEN')
    expect(await read(foreign.keys.admin.secret)).toBe('NOT_FOUND')
    expect(await read(foreign.keys.admin.secret, 'NEVER')).toBe('NOT_FOUND')
    const theirs = await as(app, foreign.keys.admin.secret).listAuditEvents({ orgId: 'FOREIGN' })
    expect(theirs.items.length).toBeGreaterThan(0)
    expect(theirs.items.filter(({ orgId }) => orgId !== 'FOREIGN')).toEqual([])
  })
})
