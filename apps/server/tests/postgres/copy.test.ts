import { setTimeout as sleep } from 'node:timers/promises'
import { createDowellChat } from '@dowell-chat/client'
import { openDatabase } from '@dowell-chat/db'
import { atServer, createTestStore, kyselyOn } from '@dowell-chat/db/testing'
import { expect, test } from 'vitest'
import { createFolder, spawnHere, startServer } from '../serverProcess.ts'

const ORG = 'DOWELL12345'
const SENT = 1_300
const identity = { orgId: ORG, portfolioName: 'umair', productName: 'WIFIQRCODE' }

const cli = (args: string[], env: Record<string, string> = {}) =>
  spawnHere(['src/cli.ts', ...args], env)

/** How many messages a database holds. */
async function countMessages(url: string): Promise<number> {
  const db = openDatabase({ url })
  try {
    return (await kyselyOn(db.read).selectFrom('messages').select('id').execute()).length
  } finally {
    await db.close()
  }
}

/** Lets a statement that reaches a message in the middle of a room wait there, until its connection is ended. */
async function stopAtMessage(url: string, seq: number): Promise<() => Promise<void>> {
  await atServer(
    url,
    `create function wait_here() returns trigger language plpgsql
      as $$ begin perform pg_sleep(3600); return new; end $$;
    create trigger wait_here before insert on messages
      for each row when (new.seq = ${seq}) execute function wait_here()`,
  )
  return () =>
    atServer(
      url,
      `select pg_terminate_backend(pid, 10000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid();
      drop trigger wait_here on messages;
      drop function wait_here`,
    )
}

test('a service moves to PostgreSQL, though the copy is killed on the way, and goes on there', async () => {
  await using folder = await createFolder()
  await using store = await createTestStore()
  const source = `sqlite:${folder.file('chat.db')}`
  const command = ['copy', '--from', source, '--to', store.url]

  const made = await cli(['keys', 'create', '--org', ORG, '--right', 'admin'], {
    DATABASE_URL: source,
  }).ended
  const headers = () => ({ Authorization: `Bearer ${made.stdout.trim()}` })
  const { room, log } = await (async () => {
    await using server = await startServer({ DATABASE_URL: source })
    const chat = createDowellChat({ url: server.url, headers })
    const { room } = await chat.createRoom({ ...identity, userId: 'ann' })
    const sends = Array.from({ length: SENT }, (_, index) =>
      chat.createMessage({
        roomId: room.id,
        messageData: `message ${index} 🦊`,
        side: false,
        author: 'client',
      }),
    )
    await Promise.all(sends)
    const other = await chat.createRoom({ ...identity, userId: 'bob' })
    await chat.deleteRoom({ roomId: other.room.id })
    let log = await chat.listEvents({ orgId: ORG, limit: 200 })
    while (log.hasAfter) log = await chat.listEvents({ orgId: ORG, limit: 200, after: log.after })
    await server.kill('SIGTERM')
    return { room, log }
  })()

  const goOn = await stopAtMessage(store.url, 1_200)
  const killed = cli(command)
  while (killed.child.exitCode === null && (await countMessages(store.url)) === 0) await sleep(20)
  killed.child.kill('SIGKILL')
  expect((await killed.ended).signal).toBe('SIGKILL')
  await goOn()
  const half = await countMessages(store.url)
  expect(half).toBeGreaterThan(0)
  expect(half).toBeLessThan(SENT)

  const early = startServer({ DATABASE_URL: store.url })
  await expect(early).rejects.toThrow(
    `the database is an unfinished copy of ${folder.file('chat.db')}; run the same copy command again`,
  )

  const finished = await cli(command).ended
  expect(finished.stderr).toMatch(/^copying .* of \d+ rows/m)
  expect(finished.stderr).toMatch(/^comparing .*100%/m)
  expect(finished.code).toBe(0)
  expect(finished.stdout).toMatch(new RegExp(`^messages +${SENT} +[0-9a-f]{64}$`, 'm'))
  expect(finished.stdout).toMatch(/^rooms +2 +[0-9a-f]{64}$/m)

  await using server = await startServer({ DATABASE_URL: store.url })
  const chat = createDowellChat({ url: server.url, headers })
  const { items } = await chat.getMessages({ roomId: room.id, limit: 1 })
  expect(items.map(({ seq }) => seq)).toEqual([SENT])
  const { message: sent } = await chat.createMessage({
    roomId: room.id,
    messageData: 'here I am',
    side: false,
    author: 'client',
  })
  expect(sent.seq).toBe(SENT + 1)
  // A reader of the old server's log goes on with its cursor.
  const { items: events } = await chat.listEvents({ orgId: ORG, after: log.after })
  expect(events).toMatchObject([
    {
      type: 'message.created',
      position: (log.items.at(-1)?.position ?? 0) + 1,
      message: { id: sent.id },
    },
  ])
  expect((await chat.createRoom({ ...identity, userId: 'ann' })).room.id).toBe(room.id)
})

test('a copy that was asked for wrongly is told so in one sentence', async () => {
  await using folder = await createFolder()
  const missing = `sqlite:${folder.file('missing.db')}`
  const wrong = [
    { args: ['--from', missing], words: /^--to is missing\n/ },
    { args: ['--from', missing, '--to', missing], words: /^the source: cannot open [^\n]*\n$/ },
  ]
  const results = await Promise.all(wrong.map(({ args }) => cli(['copy', ...args]).ended))
  for (const [index, { code, stdout, stderr }] of results.entries()) {
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(wrong[index]?.words as RegExp)
  }
})
