import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, type TestContext } from 'vitest'
import { describeSettings } from '../apps/server/src/config.ts'
import { createTestApp, json, openRoom, type TestApp } from '../apps/server/tests/support.ts'
import { errorTable } from '../packages/api/src/errors.ts'

// What the documents say is true: their requests are sent, their programs run, their tables and paths compared.

const root = fileURLToPath(new URL('..', import.meta.url))
const documents = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'docs/access.md',
  'docs/api-v2.md',
]
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const readme = read('README.md')

/** Where README's requests go. */
const SHOWN_URL = 'http://127.0.0.1:3000'

interface Block {
  language: string
  text: string
  /** The block that follows with nothing between: what the first one answers or prints. */
  answer?: Block
}

function blocksOf(markdown: string): Block[] {
  const blocks: (Block & { end: number })[] = []
  for (const match of markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    const [all, language = '', text = ''] = match
    const previous = blocks.at(-1)
    const block = { language, text, end: match.index + all.length }
    if (previous && markdown.slice(previous.end, match.index).trim() === '') {
      previous.answer = block
    }
    blocks.push(block)
  }
  return blocks
}

/** The rows of the table with this head, as texts without backticks. */
function tableOf(markdown: string, head: string): string[][] {
  const [, below = ''] = markdown.split(`${head}\n`)
  const [, ...rows] = below
    .slice(0, below.search(/^(?!\|)/m))
    .trimEnd()
    .split('\n')
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', '')),
  )
}

interface Ending {
  status: number | null
  stdout: string
  stderr: string
}

async function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Ending> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = await ended
  return { status, stdout, stderr }
}

const TSX = join(root, 'node_modules', 'tsx', 'dist', 'cli.mjs')
const runTypeScript = (file: string, ...args: string[]) =>
  run(process.execPath, [TSX, file, ...args])

/** Skips where a program is missing, except in CI, where a test that is skipped would be one that nobody misses. */
function needs(context: TestContext, ...programs: string[]): void {
  for (const program of programs) {
    const missing = spawnSync(program, ['--version']).error !== undefined
    if (missing && process.env.CI) throw new Error(`${program} is not installed`)
    context.skip(missing, `${program} is not installed`)
  }
}

function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), 'dowell-chat-docs-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

describe('the paths in the documents', () => {
  const files = globSync('{.ci,apps,docs,examples,packages,scripts,tests}/**/*', {
    cwd: root,
    exclude: (path) => path.includes('node_modules'),
  }).map((path) => path.replaceAll('\\', '/'))
  const packages = globSync('{apps,packages}/*/package.json', { cwd: root })
    .concat('examples/package.json')
    .map((path) => JSON.parse(read(path)).name)
  const top = new Set(readdirSync(root).filter((name) => name !== 'data'))

  /** What a text in backticks says is there: a path, the end of one, or a package. */
  function isMissing(code: string): boolean {
    if (/^@dowell-chat\/\w+$/.test(code)) return !packages.includes(code)
    if (!/^[\w.-]+(\/[\w.*-]+)*\/?$/.test(code)) return false
    const isPath = top.has(code.split('/')[0] as string) && code !== 'node_modules'
    if (!isPath && !/\.(ts|mjs|json|md|yaml|sh|py)$/.test(code)) return false
    if (code.includes('*')) return globSync(code, { cwd: root }).length === 0
    const path = code.replace(/\/$/, '')
    return !existsSync(join(root, path)) && !files.some((file) => file.endsWith(`/${path}`))
  }

  function missingIn(document: string, markdown: string): string[] {
    const prose = markdown.replace(/^```[\s\S]*?^```$/gm, '')
    const codes = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code as string)
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link as string)
    const headings = [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      (heading as string)
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    )
    return [
      ...codes.filter(isMissing),
      ...links
        .filter((link) => !/^https?:/.test(link))
        .filter((link) => {
          const [path = '', anchor] = link.split('#')
          if (path === '') return !headings.includes(anchor as string)
          return !existsSync(join(root, dirname(document), path))
        }),
    ]
  }

  it('are looked for', () => {
    const wrong = [
      '`packages/db/src/nothing.ts`',
      '`nothing.ts`',
      '`tests/nothing`',
      '`packages/*/nothing`',
      '`@dowell-chat/nothing`',
      '[a](nothing.md)',
      '[a](#nothing)',
    ]
    for (const text of wrong) expect(missingIn('README.md', text), text).toHaveLength(1)
    const right =
      '# A b\n`packages/db/src/dialect.ts` `dialect.ts` `.ci/run` [a](LICENSE) [b](#a-b)'
    expect(missingIn('README.md', right)).toEqual([])
  })

  it.each(documents)('exist: %s', (document) => {
    expect(missingIn(document, read(document))).toEqual([])
  })
})

describe('the names and versions in the documents', () => {
  const { scripts, engines, packageManager } = JSON.parse(read('package.json'))
  const all = documents.map(read).join('\n')

  it('are those of package.json', () => {
    const commands = all.matchAll(/(?:^|`)(?:[A-Z_]+=\S+ )*npm (?:run )?([a-z:]+)/gm)
    const named = [...commands].map(([, name]) => name as string)
    expect(named).toContain('start')
    expect(named).toContain('openapi:write')
    expect(named.filter((name) => !(name in scripts))).toEqual([])

    const managers = new Set(all.match(/pnpm@[\d.]*\d/g))
    expect([...managers].filter((manager) => manager !== packageManager)).toEqual([])

    expect(engines.node).toBe('>=18')
    expect(readme).toContain('Node 18 or newer')
    expect(process.version).toMatch(/^v24\./)
    expect(readme).toContain('its own Node 24')
  })
})

describe("README's tables", () => {
  it('have every setting, as the server itself tells them', async () => {
    const table = tableOf(readme, '| name | standard | meaning |')
    expect(table).toEqual(
      describeSettings().map(({ name, standard, about }) => [name, standard, about]),
    )
    const { status, stdout } = await runTypeScript('apps/server/src/main.ts', '--help')
    expect(status).toBe(0)
    for (const [name, standard, about] of table) {
      expect(stdout).toContain(`  ${name} (${standard})\n      ${about}\n`)
    }
  })

  it('have every error', () => {
    expect(tableOf(readme, '| code | status | meaning |')).toEqual(
      Object.entries(errorTable).map(([code, { status, text }]) => [code, String(status), text]),
    )
  })
})

describe('the start', () => {
  it('prints what README shows, and a SIGTERM ends it with 0', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'chat.db')
    const child = spawn(process.execPath, ['--import', 'tsx', 'apps/server/src/main.ts'], {
      cwd: root,
      env: { ...process.env, HOST: '', PORT: '0', LOG_LEVEL: '', DATABASE_URL: `sqlite:${file}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const ended = once(child, 'exit')
    try {
      let printed = ''
      const stderr = text(child.stderr)
      for await (const chunk of child.stdout) {
        printed += chunk
        if (printed.endsWith('\n\n') && printed.includes(file)) child.kill('SIGTERM')
      }
      expect(await ended, await stderr).toEqual([0, null])
      const shown = blocksOf(readme).find(({ text }) => text.includes('Dowell Chat is running'))
      const port = /127\.0\.0\.1:(\d+)/.exec(printed)?.[1] as string
      expect(printed.trim().replaceAll(port, '3000').replace(file, '<file>')).toBe(
        shown?.text.trim().replace(/\S+dowell-chat\.db/, '<file>'),
      )
      for (const line of (await stderr).trim().split('\n')) {
        expect(JSON.parse(line)).toHaveProperty('time')
      }
    } finally {
      child.kill('SIGKILL')
    }
  })
})

/** An answer of now in the ids, times and request ids of the answer that is shown, as far as they mean the same. */
class Translation {
  readonly #shown = new Map<string, string>()
  readonly #real = new Map<string, string>()

  /** What an id of the document is called here. */
  realId(shown: string): string {
    const real = this.#real.get(shown)
    if (real === undefined) throw new Error(`${shown} is in none of the answers above it`)
    return real
  }

  toShown(real: unknown, shown: unknown, key = ''): unknown {
    if (typeof real === 'string' && typeof shown === 'string') {
      if (/^[0-9a-f]{24}$|^FB101\d{17}#\d{7}$/.test(real)) return this.#named(real, shown)
      const free = key === 'requestId' ? /^[0-9a-f-]{36}$/ : /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/
      return free.test(real) && free.test(shown) ? shown : real
    }
    if (Array.isArray(real)) {
      return real.map((item, index) => this.toShown(item, (shown as unknown[])?.[index]))
    }
    if (typeof real !== 'object' || real === null) return real
    return Object.fromEntries(
      Object.entries(real).map(([name, value]) => [
        name,
        this.toShown(value, (shown as Record<string, unknown>)?.[name], name),
      ]),
    )
  }

  /** Each id has one name in the document, and each name there means one id. */
  #named(real: string, shown: string): string {
    if (real.length !== shown.length) return `another kind of id than ${shown}`
    if (!this.#shown.has(real) && !this.#real.has(shown)) {
      this.#shown.set(real, shown)
      this.#real.set(shown, real)
    }
    return this.#shown.get(real) ?? `another id than ${shown}`
  }
}

describe('the five steps to a public address', () => {
  const [, section = ''] = readme.split('## Put it on a public address')
  const [steps = ''] = section.split('\n## ')
  const commands = [...steps.matchAll(/^ {3}```bash\n([\s\S]*?)^ {3}```$/gm)].map(([, text = '']) =>
    text.replace(/^ {3}/gm, '').trim(),
  )

  it('are each a command', () => {
    expect(commands.map((command) => command.split(/\s/)[0])).toEqual([
      'npm',
      'TRUST_PROXY=loopback',
      'caddy',
      'curl',
      'curl',
    ])
  })

  it('close the door, and open it to a user with a token', async (context) => {
    needs(context, 'sh', 'curl')
    const [create = '', start = '', , check = '', mint = ''] = commands
    const settings = [...start.matchAll(/([A-Z_]+)=(\S+)/g)].map(([, name, value]) => [name, value])
    await using app = await createTestApp(Object.fromEntries(settings))
    const sh = (command: string, env: Record<string, string> = {}) =>
      run('sh', ['-c', command.replaceAll('https://chat.example.com', app.url)], { env })

    const cli = `"${process.execPath}" --import tsx apps/server/src/cli.ts`
    const made = await sh(create.replace('npm run -s cli --', cli), {
      DATABASE_URL: app.databaseUrl,
    })
    expect(made.stderr).toBe('')
    expect(await sh(check)).toMatchObject({ stdout: '401\n' })
    const minted = await sh(mint, { KEY: made.stdout.trim() })
    const { token } = JSON.parse(minted.stdout)
    const headers = { Authorization: `Bearer ${token}` }
    const listed = await app.fetch('/api/v3/rooms?orgId=DOWELL12345', { headers })
    expect(listed.status).toBe(200)
  })
})

describe('the requests in README', () => {
  const shell = blocksOf(readme).filter(({ language }) => language === 'sh')
  const isRequest = ({ text }: Block) => text.includes('curl')
  const ROOM = /^ROOM=(\S+)\n$/

  it('are all followed by their answer', () => {
    const requests = shell.filter(isRequest)
    expect(requests.length).toBeGreaterThan(15)
    expect(requests.filter(({ answer }) => answer?.language !== 'json')).toEqual([])
    const others = shell.filter((block) => !isRequest(block) && !ROOM.test(block.text))
    expect(others.map(({ text }) => text)).toEqual(['npm start\n', 'npm test\n'])
  })

  it('get the answers that it shows', async (context) => {
    needs(context, 'sh', 'curl')
    await using app = await createTestApp()
    const translation = new Translation()
    const env = { ROOM: '' }
    for (const { text, answer } of shell) {
      const id = ROOM.exec(text)?.[1]
      if (id !== undefined) env.ROOM = translation.realId(id)
      if (answer === undefined) continue
      const { status, stdout, stderr } = await run(
        'sh',
        [
          '-c',
          text
            .replaceAll(SHOWN_URL, app.url)
            .replace(/(?<=messages\/)[0-9a-f]{24}/g, (shown) => translation.realId(shown)),
        ],
        { env },
      )
      expect(status, stderr).toBe(0)
      const shown = JSON.parse(answer.text)
      expect(translation.toShown(JSON.parse(stdout), shown), text).toEqual(shown)
    }
  })

  it('are compared by more than their shape', () => {
    const [one, two] = ['0'.repeat(24), '1'.repeat(24)]
    const translate = (real: unknown, shown: unknown) => new Translation().toShown(real, shown)
    expect(translate([one, one, two], [two, two, one])).toEqual([two, two, one])
    expect(translate([one, two], [two, two])).not.toEqual([two, two])
    expect(translate([one, one], [two, one])).not.toEqual([two, one])
    expect(translate({ a: 'x', b: 1 }, { a: 'y', b: 1 })).toEqual({ a: 'x', b: 1 })
    expect(translate({ a: 1 }, { a: 1, b: 1 })).toEqual({ a: 1 })
  })
})

describe('the streams in README', () => {
  const [, section = ''] = readme.split('## Live')
  const [live = ''] = section.split('\n## ')
  const blockOf = (language: string) =>
    new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(live)?.[1] ?? ''

  /** A room, and what writes into it. */
  async function roomOf(app: TestApp) {
    const identity = { userId: 'a', orgId: 'DOWELL12345', portfolioName: 'p', productName: 'q' }
    const made = await app.fetch('/api/v3/rooms', json(identity))
    const { room } = (await made.json()) as { room: { id: string } }
    const say = (messageData: string) =>
      app.fetch(`/api/v3/rooms/${room.id}/messages`, json({ messageData, side: true, author: 'a' }))
    return { id: room.id, say }
  }

  it('begin as it shows', async (context) => {
    needs(context, 'sh', 'curl')
    await using app = await createTestApp()
    const room = await roomOf(app)
    const command = blockOf('bash').replaceAll(SHOWN_URL, app.url).trim()
    const child = spawn('sh', ['-c', `exec ${command}`], { env: { ...process.env, ROOM: room.id } })
    let heard = ''
    for await (const part of child.stdout) {
      if (!heard.includes('presence') && String(part).includes('presence')) await room.say('hello')
      heard += part
      if (heard.includes('message.created')) break
    }
    child.kill()
    const kinds = (text: string) => text.match(/^retry: \d+|^id(?=:)|"type":"[\w.]+"/gm)
    expect(kinds(heard)).toEqual(kinds(blockOf('text')))
  })

  it('are listened to by the function that it shows', async () => {
    await using app = await createTestApp()
    const room = await roomOf(app)
    const { EventSource } = createRequire(join(root, 'apps/server/package.json'))('eventsource')
    const sources: { close(): void }[] = []
    class Noted extends EventSource {
      constructor(url: string) {
        super(url)
        sources.push(this as never)
      }
    }
    const made = await app.fetch(
      '/api/v3/user-tokens',
      json({ orgId: 'DOWELL12345', userId: 'a', side: false }),
    )
    const { token } = (await made.json()) as { token: string }
    const listen = new Function('EventSource', `${blockOf('js')}; return listen`)(Noted)
    const heard = await new Promise((resolve) => {
      listen(app.url, token, room.id, (event: { type: string; message?: unknown }) => {
        if (event.type === 'ready') void room.say('hello')
        if (event.message) resolve(event.message)
      })
    })
    for (const source of sources) source.close()
    expect(heard).toMatchObject({ messageData: 'hello' })
  })
})

describe('the programs in README', () => {
  function program(language: string): { text: string; prints: string } {
    const found = blocksOf(readme).filter((block) => block.language === language)
    expect(found).toHaveLength(1)
    const [{ text, answer }] = found as [Block]
    expect(answer?.language).toBe('text')
    expect(text).toContain(SHOWN_URL)
    return { text, prints: answer?.text as string }
  }

  /** A folder beside which a program finds what it finds in `examples`. */
  function folderOfPrograms() {
    const folder = temporaryFolder()
    const modules = join(folder.path, 'node_modules')
    mkdirSync(join(modules, '@dowell-chat'), { recursive: true })
    symlinkSync(join(root, 'packages/client'), join(modules, '@dowell-chat/client'), 'junction')
    symlinkSync(join(root, 'node_modules/@types'), join(modules, '@types'), 'junction')
    writeFileSync(join(folder.path, 'package.json'), '{ "type": "module" }')
    return folder
  }

  it('run: TypeScript, twice with the same output', async () => {
    const { text, prints } = program('ts')
    await using app = await createTestApp()
    using folder = folderOfPrograms()
    const file = join(folder.path, 'hello.ts')
    writeFileSync(file, text.replaceAll(SHOWN_URL, app.url))
    for (const time of ['first', 'second']) {
      const { status, stdout, stderr } = await runTypeScript(file)
      expect(status, stderr).toBe(0)
      expect(stdout, time).toBe(prints)
    }
  })

  it('run: live in TypeScript, after the one above it', async () => {
    await using app = await createTestApp()
    using folder = folderOfPrograms()
    const [hello, live] = [program('ts'), program('typescript')].map(({ text, prints }, n) => {
      const file = join(folder.path, `program${n}.ts`)
      writeFileSync(file, text.replaceAll(SHOWN_URL, app.url))
      return { file, prints }
    }) as [{ file: string }, { file: string; prints: string }]
    await runTypeScript(hello.file)
    const { status, stdout, stderr } = await runTypeScript(live.file)
    expect(status, stderr).toBe(0)
    expect(stdout).toBe(live.prints)
  })

  it.each(['ts', 'typescript'])('have right types: %s', async (language) => {
    using folder = folderOfPrograms()
    writeFileSync(join(folder.path, 'hello.ts'), program(language).text)
    const settings = { extends: join(root, 'tsconfig.base.json'), files: ['hello.ts'] }
    writeFileSync(join(folder.path, 'tsconfig.json'), JSON.stringify(settings))
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const { status, stdout } = await run(process.execPath, [tsc, '-p', folder.path])
    expect(stdout).toBe('')
    expect(status).toBe(0)
  })

  it('run: Python, twice with the same output', async (context) => {
    needs(context, 'python3')
    const { text, prints } = program('python')
    await using app = await createTestApp()
    for (const time of ['first', 'second']) {
      const source = text.replaceAll(SHOWN_URL, app.url)
      const { status, stdout, stderr } = await run('python3', ['-c', source])
      expect(status, stderr).toBe(0)
      expect(stdout, time).toBe(prints)
    }
  })
})

describe('the examples', () => {
  const conversation = `1 customer: The QR code does not open our network.
2 support: Which phone do you use?
3 customer: A Fairphone 5.
`

  async function rooms(url: string) {
    const response = await fetch(`${url}/api/v3/rooms?orgId=DOWELL12345`)
    const { items } = (await response.json()) as { items: { isActive: boolean }[] }
    return items
  }

  it('chat.ts prints the conversation, and fails without a server', async () => {
    await using app = await createTestApp()
    const { status, stdout, stderr } = await runTypeScript('examples/chat.ts', app.url)
    expect(status, stderr).toBe(0)
    expect(stdout).toBe(conversation)
    expect(await rooms(app.url)).toMatchObject([{ isActive: false }])

    await app.close()
    const failed = await runTypeScript('examples/chat.ts', app.url)
    expect(failed).toMatchObject({ status: 1, stdout: '' })
    expect(failed.stderr).toContain('NETWORK')
  })

  it('chat.py prints the conversation, and fails without a server', async (context) => {
    needs(context, 'python3')
    await using app = await createTestApp()
    const { status, stdout, stderr } = await run('python3', ['examples/chat.py', app.url])
    expect(status, stderr).toBe(0)
    expect(stdout).toBe(conversation)
    expect(await rooms(app.url)).toMatchObject([{ isActive: false }])

    await app.close()
    const failed = await run('python3', ['examples/chat.py', app.url])
    expect(failed).toMatchObject({ status: 1, stdout: '' })
    expect(failed.stderr).toContain(`no answer from ${app.url}`)
  })

  it('curl.sh sends every documented request, and fails without a server', async (context) => {
    needs(context, 'sh', 'curl')
    await using app = await createTestApp()
    const { status, stdout, stderr } = await run('sh', ['examples/curl.sh', app.url])
    expect(status, stderr).toBe(0)
    const [created, asked, answered, messages, room, list, deleted] = stdout
      .split(/^# .*\n/m)
      .slice(1)
      .map((answer) => JSON.parse(answer))
    const message_data = 'Which phone do you use?'
    expect(created.response.message_data).toBe('How may I help you')
    expect(asked.response).toMatchObject({ isSuccess: true, seq: 1 })
    expect(answered.response).toMatchObject({ isSuccess: true, seq: 2 })
    expect(messages.response).toMatchObject([{ side: false }, { side: true, message_data }])
    expect(room.response).toMatchObject([{ _id: created.inserted_id, message_data }])
    expect(list.rooms).toMatchObject([{ _id: created.inserted_id }])
    expect(deleted.response).toEqual({ isSuccess: true })
    expect(await rooms(app.url)).toMatchObject([{ isActive: false }])

    await app.close()
    const failed = await run('sh', ['examples/curl.sh', app.url])
    expect(failed.status).toBe(7)
    expect(failed.stderr).toContain('curl: (7)')
  })

  /** A program that runs until it is told to stop, and what it has printed. */
  function start(command: string, args: string[]) {
    const child = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] })
    const ended = once(child, 'close')
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (part) => {
        printed += part
      })
    }
    return {
      child,
      prints: (text: string) => expect.poll(() => printed, { timeout: 30_000 }).toContain(text),
      printed: () => printed,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await ended
      },
    }
  }

  it('live.ts is a chat between two terminals', async () => {
    await using app = await createTestApp()
    const terminal = (who: string) =>
      start(process.execPath, [TSX, 'examples/live.ts', who, app.url])
    await using customer = terminal('customer')
    await customer.prints('(live)')
    await using support = terminal('support')
    await customer.prints('(they are there)')
    customer.child.stdin.write('The QR code ')
    await support.prints('(ABCD12345 types …)')
    customer.child.stdin.write('does not open.\n')
    await support.prints('ABCD12345: The QR code does not open.\n')
    support.child.stdin.write('Which phone do you use?\n')
    await customer.prints('Amara: Which phone do you use?\n')
    const ended = once(customer.child, 'exit')
    customer.child.stdin.end()
    expect(await ended, customer.printed()).toEqual([0, null])

    const failed = await runTypeScript('examples/live.ts', 'nobody')
    expect(failed).toMatchObject({ status: 2, stderr: expect.stringContaining('usage') })
  })

  it('live.py follows the events, and goes on where it was when it is cut', async (context) => {
    needs(context, 'python3')
    await using app = await createTestApp({}, { streamLifetime: 1_000 })
    await using reader = start('python3', ['examples/live.py', app.url])
    await reader.prints('(live)')
    const roomId = await openRoom(app)
    await reader.prints('(room.created: ABCD12345)')
    const lines: string[] = []
    for (let n = 1; reader.printed().split('(live)').length < 4; n++) {
      lines.push(`client: message ${n}`)
      const message = { messageData: `message ${n}`, side: false, author: 'client' }
      await app.fetch(`/api/v3/rooms/${roomId}/messages`, json(message))
    }
    await reader.prints(`${lines.at(-1)}\n`)
    expect(reader.printed().match(/^client: .*$/gm)).toEqual(lines)
  })

  it('are all run here, and the page by livePage.test.ts', () => {
    const files = readdirSync(join(root, 'examples')).filter(
      (name) => !/^node_modules|json$/.test(name),
    )
    expect(files.sort()).toEqual(['chat.py', 'chat.ts', 'curl.sh', 'live.py', 'live.ts', 'page'])
  })
})
