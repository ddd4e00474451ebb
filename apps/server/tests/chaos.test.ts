import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createBadProxy } from './badProxy.ts'
import { type Line, listen, write } from './chaos.ts'
import { ask } from './database.ts'
import { type StreamVariant, streamVariants } from './eventReader.ts'
import { allMessages, openRoomAt, seqOf } from './lifecycle.ts'
import { createFolder, startServer } from './serverProcess.ts'
import { json } from './support.ts'
import { everySurface, surfaces } from './surfaces.ts'

/** How long is written; a minute says more, and CHAOS_SECONDS=60 takes it. */
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 8)

const ORG = 'DOWELL12345'
const ROOMS = 5
const WRITERS = 20

test(
  '20 readers get every event once despite bad connections and killed servers',
  async () => {
    await using folder = await createFolder()
    const database = folder.file('chat.db')
    const env = {
      DATABASE_URL: `sqlite:${database}`,
      RATE_LIMIT_ACTOR: '0',
      RATE_LIMIT_ADDRESS: '0',
      STREAMS_PER_ACTOR: '0',
    }
    let server = await startServer(env)
    const { port } = new URL(server.url)
    await using proxy = await createBadProxy(Number(port))
    const rooms = await Promise.all(
      Array.from({ length: ROOMS }, async (_, number) => {
        const identity = {
          userId: `user ${number}`,
          orgId: ORG,
          portfolioName: 'p',
          productName: 'q',
        }
        const answer = await fetch(`${server.url}/api/v3/rooms`, json(identity))
        return ((await answer.json()) as { room: { id: string } }).room.id
      }),
    )
    const log = await fetch(`${server.url}/api/v3/event-log?orgId=${ORG}`)
    const { after } = (await log.json()) as { after: string }

    const over = new AbortController()
    const readers = Array.from({ length: 20 }, (_, number) => {
      const variant = streamVariants[number % streamVariants.length] as StreamVariant
      const room = number % ROOMS
      const all = { orgId: ORG, roomId: rooms[room], userId: `user ${room}` }
      const { orgId, roomId, userId } = all
      const input = {
        onRoomEvents: { roomId },
        onInboxEvents: { orgId },
        onUserEvents: { orgId, userId },
      }[variant.name]
      const heard: Line[] = []
      const done = listen(variant, proxy.url, input, after, heard, over.signal)
      return {
        variant,
        room: variant.name === 'onInboxEvents' ? undefined : rooms[room],
        heard,
        done,
      }
    })

    let written = 0
    const writing = performance.now() + SECONDS * 1000
    const writers = Array.from({ length: WRITERS }, async (_, number) => {
      for (let count = 0; performance.now() < writing; count++) {
        await write(proxy.url, rooms[(number + count) % ROOMS] as string, `${number}-${count}`)
        written++
        await sleep(Math.random() * 40)
      }
    })
    for (const share of [0.3, 0.65]) {
      await sleep(Math.max(0, writing - (1 - share) * SECONDS * 1000 - performance.now()))
      await server.kill('SIGKILL')
      server = await startServer({ ...env, PORT: port })
    }
    await Promise.all(writers)
    proxy.calm()

    const rows = (await ask(
      { databaseUrl: env.DATABASE_URL },
      `select e.position, e.type, m.message_data as text, e.room_id as room from events e
        left join messages m on m.org_id = e.org_id and m.room_id = e.room_id and m.seq = e.message_seq
        where e.org_id = ? and e.position > ? order by e.position`,
      ORG,
      ROOMS,
    )) as { position: number; type: string; text: string; room: string }[]
    const logOf = (room: string | undefined): Line[] =>
      rows
        .filter((row) => room === undefined || row.room === room)
        .map(({ position, type, text }) => [position, type, text])
    // Each answered message is there once, and perhaps one whose answer was lost with the server.
    expect(new Set(rows.map(({ text }) => text)).size).toBe(rows.length)
    expect(rows.length).toBe(written)

    for (const { room, heard } of readers) {
      const last = logOf(room).at(-1)?.[0] ?? 0
      while ((heard.at(-1)?.[0] ?? 0) < last) await sleep(20)
    }
    over.abort()
    for (const { variant, room, heard, done } of readers) {
      await done
      expect(heard, variant.title).toEqual(logOf(room))
    }
    // It was really bad.
    expect(Object.values(proxy.harm).every((count) => count > 5)).toBe(true)
    process.stdout.write(`${written} messages, 20 readers; ${JSON.stringify(proxy.harm)}\n`)
    await server.kill('SIGTERM')
  },
  SECONDS * 1000 + 180_000,
)

test('a server that is killed during sends keeps every confirmed message once', async () => {
  await using folder = await createFolder()
  const env = { DATABASE_URL: `sqlite:${folder.file('chat.db')}` }
  const answered = new Map<string, number>()
  let unanswered: string[] = []
  let room = ''
  for (let round = 0; round < 3; round++) {
    await using server = await startServer(env)
    room ||= await openRoomAt(server)
    const attempt = async (clientId: string) => {
      const surface = everySurface[Number.parseInt(clientId.slice(-1), 36) % 3] ?? 'v3'
      const answer = await surfaces[surface].say(server, { room, text: clientId, clientId })
      expect(answer.status, answer.text).toBeLessThan(300)
      answered.set(clientId, seqOf(answer))
    }
    // Those that got no answer may have been stored, or not: the same id again settles it.
    await Promise.all(unanswered.map(attempt))
    unanswered = []
    const before = answered.size
    const sends = Array.from({ length: 100 }, async (_, sender) => {
      // Until the kill, so that it always interrupts sends.
      for (let count = 0; unanswered.length === 0; count++) {
        const clientId = `round-${round}-sender-${sender}-${count}`
        await attempt(clientId).catch(() => unanswered.push(clientId))
        if (answered.size >= before + 60 + 20 * round) await server.kill('SIGKILL')
      }
    })
    await Promise.all(sends)
    expect(unanswered.length).toBeGreaterThan(0)
  }

  await using server = await startServer(env)
  const after = await allMessages(server, room)
  expect(after.map(({ seq }) => seq)).toEqual(after.map((_, index) => index + 1))
  const stored = new Map(after.map(({ clientMessageId, seq }) => [clientMessageId, seq]))
  expect(stored.size).toBe(after.length)
  for (const [clientId, seq] of answered) expect(stored.get(clientId), clientId).toBe(seq)
})
