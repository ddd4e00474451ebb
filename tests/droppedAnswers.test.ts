import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, type TestContext } from 'vitest'
import { createDroppingProxy } from '../apps/server/tests/droppingProxy.ts'
import { createTestApp, json, openRoom } from '../apps/server/tests/support.ts'
import { killAtEnd } from '../packages/db/tests/watchdog.ts'

// The examples through a proxy that drops answers. The page is in livePage.test.ts.

const root = fileURLToPath(new URL('..', import.meta.url))
const TSX = ['--import', createRequire(import.meta.url).resolve('tsx')]
/** Every call that changes something, over tRPC, v3 and v2. */
const WRITES = /^POST /

function needs(context: TestContext, ...programs: string[]): void {
  const missing = programs.filter((program) => spawnSync(program, ['--version']).error)
  if (missing.length === 0) return
  if (process.env.CI) throw new Error(`missing: ${missing}`)
  context.skip(`missing: ${missing}`)
}

/** A program that runs, and what it has printed. */
function start(command: string, args: string[], env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(command, args, {
    cwd: root,
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: 'pipe',
  })
  killAtEnd(child as never)
  const ended = once(child, 'close')
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (part) => {
      printed += part
    })
  }
  return {
    type: (text: string) => child.stdin?.write(text),
    ended,
    printed: () => printed,
    prints: (text: string) => expect.poll(() => printed).toContain(text),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function textsIn(app: { url: string }): Promise<string[][]> {
  const get = async (path: string) => {
    const response = await fetch(`${app.url}/api/v3/${path}`)
    return ((await response.json()) as { items: { id: string; messageData: string }[] }).items
  }
  const rooms = await get('rooms?orgId=DOWELL12345')
  const pages = await Promise.all(rooms.map(({ id }) => get(`rooms/${id}/messages`)))
  return pages.map((page) => page.map(({ messageData }) => messageData))
}

const CONVERSATION = [
  'The QR code does not open our network.',
  'Which phone do you use?',
  'A Fairphone 5.',
]

describe('through a proxy that drops answers, no message is stored twice or lost', () => {
  it.for([
    ['chat.ts', process.execPath, [...TSX, 'examples/chat.ts'], CONVERSATION],
    ['chat.py', 'python3', ['examples/chat.py'], CONVERSATION],
    ['curl.sh', 'sh', ['examples/curl.sh'], CONVERSATION.slice(0, 2)],
  ] as const)('by %s', async ([, command, args, texts], context) => {
    if (command !== process.execPath) needs(context, command === 'sh' ? 'curl' : command)
    await using app = await createTestApp()
    await using proxy = await createDroppingProxy(app.url, WRITES)
    await using program = start(command, [...args, proxy.url])
    expect((await program.ended)[0], program.printed()).toBe(0)
    expect(await textsIn(app)).toEqual([texts])
    expect(proxy.dropped).toBeGreaterThan(2)
  })

  it('by live.ts, in the order in which they were typed', async () => {
    await using app = await createTestApp()
    await using proxy = await createDroppingProxy(app.url, /^POST .*(createMessage|createRoom)/)
    await using customer = start(process.execPath, [
      ...TSX,
      'examples/live.ts',
      'customer',
      proxy.url,
    ])
    await customer.prints('(live)')
    const texts = ['one', 'two', 'three', 'two', 'five']
    customer.type(`${texts.join('\n')}\n`)
    await expect.poll(async () => (await textsIn(app))[0]).toEqual(texts)
    await customer.prints('ABCD12345: five')
    // The room, and every message.
    expect(proxy.dropped).toBe(1 + texts.length)
  })
})

it('live.py goes on after an event that it cannot print', async (context) => {
  needs(context, 'python3')
  await using app = await createTestApp()
  const environment = { PYTHONIOENCODING: 'ascii', PYTHONUTF8: '0' }
  await using reader = start('python3', ['examples/live.py', app.url], environment)
  await reader.prints('(live)')
  const roomId = await openRoom(app)
  for (const messageData of ['Grüße 🙂', 'after']) {
    const message = { messageData, side: false, author: 'client' }
    await app.fetch(`/api/v3/rooms/${roomId}/messages`, json(message))
  }
  await reader.prints('client: after\n')
  expect(reader.printed()).toContain('client: Gr\\xfc\\xdfe \\U0001f642\n')
  expect(reader.printed()).not.toContain('no connection')
})
