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
import { createKeylessToken } from '../apps/server/tests/credentials.ts'
import { createTestApp, json, openRoom, type TestApp } from '../apps/server/tests/support.ts'
import { errorTable } from '../packages/api/src/operation/errors.ts'
import { killAtEnd } from '../packages/db/tests/watchdog.ts'

// What the documents say is true: their requests are sent, their programs run, their tables and paths compared.

const root = fileURLToPath(new URL('..', import.meta.url))
const documents = globSync(['*.md', 'docs/*.md', 'docs/decisions/*.md'], { cwd: root })
  .map((path) => path.replaceAll('\\', '/'))
  .sort()
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const readme = read('README.md')

/** Where the documents' requests go. */
const SHOWN_URL = 'http://127.0.0.1:3000'

interface Block {
  language: string
  text: string
  /** The block that follows with nothing between: what the first one answers or prints. */
  answer?: Block
  /** Where a program is to be saved, as the text above it says. */
  folder: string | undefined
}

function blocksOf(document: string): Block[] {
  const markdown = read(document)
  const blocks: (Block & { end: number })[] = []
  for (const match of markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    const [all, language = '', text = ''] = match
    const end = match.index + all.length
    const previous = blocks.at(-1)
    const between = markdown.slice(previous?.end ?? 0, match.index)
    const folder = /\bfolder `([\w/]+)`/.exec(between)?.[1] ?? previous?.folder
    const block = { language, text, folder, end }
    if (previous && between.trim() === '') previous.answer = block
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
  killAtEnd(child)
  const ended = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = await ended
  return { status, stdout, stderr }
}

/** Runs TypeScript as `npx tsx` does, in one process instead of three. */
const TSX = ['--import', import.meta.resolve('tsx')]
const runTypeScript = (file: string, ...args: string[]) =>
  run(process.execPath, [...TSX, file, ...args])

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

  const proseOf = (markdown: string) => markdown.replace(/^ *```[\s\S]*?^ *```$/gm, '')

  /** The anchors of a text's headings, as GitHub makes them. */
  const anchorsOf = (markdown: string) =>
    [...proseOf(markdown).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      (heading as string)
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    )

  function isBroken(link: string, document: string, markdown: string): boolean {
    if (/^https?:/.test(link)) return false
    const [path = '', anchor] = link.split('#')
    const target = join(dirname(document), path)
    if (path !== '' && !existsSync(join(root, target))) return true
    if (anchor === undefined) return false
    return !anchorsOf(path === '' ? markdown : read(target)).includes(anchor)
  }

  function missingIn(document: string, markdown: string): string[] {
    const prose = proseOf(markdown)
    const codes = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code as string)
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link as string)
    return [
      ...codes.filter(isMissing),
      ...links.filter((link) => isBroken(link, document, markdown)),
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
      '[a](docs/access.md#nothing)',
      '[a](docs/nothing.md#who-may-do-what)',
    ]
    for (const text of wrong) expect(missingIn('README.md', text), text).toHaveLength(1)
    const right =
      '# A b\n`packages/db/src/index.ts` `index.ts` `.ci/run` [a](LICENSE) [b](#a-b) [c](docs/access.md#access)'
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
    expect(named).toContain('generate')
    expect(named.filter((name) => !(name in scripts))).toEqual([])

    const managers = new Set(all.match(/pnpm@[\d.]*\d/g))
    expect([...managers].filter((manager) => manager !== packageManager.split('+')[0])).toEqual([])

    expect(engines.node).toBe('>=18')
    expect(readme).toContain('Node 18 or newer')
    expect(process.version).toMatch(/^v24\./)
    expect(readme).toContain('its own Node 24')
  })
})

describe('the tables', () => {
  it('have every setting, as the server itself tells them', async () => {
    const table = tableOf(read('docs/operating.md'), '| name | default | meaning |')
    expect(table, 'the table in docs/operating.md').toEqual(
      describeSettings().map((one) => [one.name, one.default, one.description]),
    )
    const { status, stdout } = await runTypeScript('apps/server/src/main.ts', '--help')
    expect(status).toBe(0)
    for (const [name, value, description] of table) {
      expect(stdout).toContain(`  ${name} (${value})\n      ${description}\n`)
    }
  })

  it('have every error', () => {
    expect(
      tableOf(read('docs/rest.md'), '| code | status | meaning |'),
      'the table of errors in docs/rest.md',
    ).toEqual(
      Object.entries(errorTable).map(([code, { status, text }]) => [code, String(status), text]),
    )
  })

  it('have every operation of REST v3, where it lies and with what it succeeds', () => {
    const { paths } = JSON.parse(read('packages/api/openapi/openapi.json')) as {
      paths: Record<string, Record<string, { operationId: string; responses: object }>>
    }
    const operations = Object.entries(paths)
      .filter(([path]) => path.startsWith('/api/v3/'))
      .flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, { operationId, responses }]) => [
          `${method.toUpperCase()} ${path}`,
          operationId,
          Object.keys(responses).filter((status) => status < '300'),
        ]),
      )
    const table = tableOf(read('docs/rest.md'), '| request | operation | success |')
    expect(
      table
        .map(([request = '', operation = '', success = '']) => [
          request.replace(/\?.*/, ''),
          /^\w+/.exec(operation)?.[0],
          success.match(/\d{3}/g)?.sort(),
        ])
        .sort(),
      'the table in docs/rest.md needs a row for every operation',
    ).toEqual(operations.sort())
  })
})

describe('the start', () => {
  it('prints what README shows, and a SIGTERM ends it with 0', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'chat.db')
    const child = spawn(process.execPath, ['apps/server/src/main.ts'], {
      cwd: root,
      env: { ...process.env, HOST: '', PORT: '0', LOG_LEVEL: '', DATABASE_URL: `sqlite:${file}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    killAtEnd(child)
    const ended = once(child, 'exit')
    try {
      let printed = ''
      const stderr = text(child.stderr)
      for await (const chunk of child.stdout) {
        printed += chunk
        if (printed.endsWith('\n\n') && printed.includes(file)) child.kill('SIGTERM')
      }
      expect(await ended, await stderr).toEqual([0, null])
      const shown = blocksOf('README.md').find(({ text }) =>
        text.includes('Dowell Chat is running'),
      )
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
  const [, section = ''] = read('docs/operating.md').split('## Put it on a public address')
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

    const cli = `"${process.execPath}" apps/server/src/cli.ts`
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

describe('the blocks in the documents', () => {
  it('are requests with their answers, programs with what they print, or else listed here', () => {
    const others = documents.flatMap((document) => {
      const blocks = blocksOf(document)
      const answers = blocks.map(({ answer }) => answer)
      return blocks
        .filter((block) => !answers.includes(block) && block.language !== 'text')
        .filter(({ text, language, answer }) => {
          if (VARIABLE.test(text)) return false
          if (language === 'sh' && text.includes('curl')) return answer?.language !== 'json'
          return !(language in PROGRAMS && answer?.language === 'text' && text.includes(SHOWN_URL))
        })
        .map(({ language, text }) => `${document} ${language} ${text.split(/\s/, 2).join(' ')}`)
    })
    expect(others).toEqual([
      'README.md sh npm start',
      'README.md sh npm test',
      // Tested below.
      'docs/live.md bash curl -sN',
      'docs/live.md bash curl -s',
      'docs/live.md js async function',
      // It measures.
      'docs/performance.md sh npm run',
      // apps/server/tests/trpcCalls.test.ts runs it without React.
      'docs/trpc.md tsx const messages',
    ])
  })
})

/** A line of a document that takes the id of an answer above it. */
const VARIABLE = /^([A-Z]+)=([0-9a-f]{24})\n$/

/**
 * Sends a document's requests, one after the other, and compares the answers.
 *
 * @returns the variables that its reader has set
 */
async function sendRequests(document: string, app: TestApp): Promise<Record<string, string>> {
  const translation = new Translation()
  const env: Record<string, string> = {}
  for (const { language, text, answer } of blocksOf(document)) {
    const [, name, id] = VARIABLE.exec(text) ?? []
    if (name && id) env[name] = translation.realId(id)
    if (language !== 'sh' || answer?.language !== 'json') continue
    const command = text.replaceAll(SHOWN_URL, app.url)
    const { status, stdout, stderr } = await run('sh', ['-c', command], { env })
    expect(status, stderr).toBe(0)
    const shown = JSON.parse(answer.text)
    expect(translation.toShown(JSON.parse(stdout), shown), text).toEqual(shown)
  }
  return env
}

describe.concurrent('the requests in the documents', () => {
  const pages = documents.filter((document) =>
    blocksOf(document).some(({ answer }) => answer?.language === 'json'),
  )

  it.for(pages)('get the answers that are shown: %s', async (page, context) => {
    needs(context, 'sh', 'curl')
    await using app = await createTestApp()
    await sendRequests(page, app)
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

describe.concurrent('a new server, as npm start makes it', () => {
  const env = { ...process.env, HOST: '', PORT: '0', LOG_LEVEL: 'silent' }
  const server = `"${process.execPath}" apps/server/src/main.ts`

  it.for([
    ['without a terminal', 'sh', ['-c', `exec ${server}`]],
    ['with a terminal', 'script', ['-qefc', `exec ${server}`, '/dev/null']],
  ] as const)(
    '%s answers the requests of README as they stand',
    async ([, command, args], context) => {
      needs(context, 'sh', 'curl', 'script')
      using folder = temporaryFolder()
      const DATABASE_URL = `sqlite:${join(folder.path, 'chat.db')}`
      const child = spawn(command, args, {
        cwd: root,
        env: { ...env, DATABASE_URL },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      killAtEnd(child)
      const ended = once(child, 'close')
      try {
        let printed = ''
        for await (const chunk of child.stdout) {
          printed += chunk
          if (/Open mode: [\s\S]*keys create/.test(printed)) break
        }
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(printed)?.[0]
        expect(url, printed).toBeDefined()
        await sendRequests('README.md', { url } as TestApp)
      } finally {
        child.kill('SIGTERM')
        await ended
      }
    },
  )
})

describe('the streams in docs/live.md', () => {
  const page = 'docs/live.md'
  const textsOf = (language: string) =>
    blocksOf(page)
      .filter((block) => block.language === language)
      .map(({ text }) => text)

  it('begin as it shows', async (context) => {
    needs(context, 'sh', 'curl')
    await using app = await createTestApp()
    const env = await sendRequests(page, app)
    const [listen = '', write = ''] = textsOf('bash').map((command) =>
      command.replaceAll(SHOWN_URL, app.url),
    )
    const child = spawn('sh', ['-c', `exec ${listen}`], { env: { ...process.env, ...env } })
    killAtEnd(child)
    let heard = ''
    try {
      for await (const part of child.stdout) {
        const isFirst = !heard.includes('presence')
        heard += part
        if (isFirst && heard.includes('presence')) await run('sh', ['-c', write], { env })
        if (heard.includes('message.created') && heard.endsWith('\n\n')) break
      }
    } finally {
      child.kill()
    }

    const shownRoom = /(?<=^ROOM=)\w+/m.exec(read(page))?.[0] ?? ''
    /** With each cursor as the place that it names, but without its log, which is another one each time. */
    const linesOf = (stream: string) =>
      stream
        .trimEnd()
        .replace(/(?<=^id: |"cursor":")([\w-]+)\.[\w-]+/gm, (_, place) =>
          Buffer.from(place, 'base64url').toString().replace(/\w+$/, ''),
        )
        .split('\n')
    const shown = linesOf(textsOf('text')[0] ?? '')
    const begin = linesOf(
      heard.replaceAll(env.ROOM ?? '', shownRoom).replaceAll('data: {"type":"heartbeat"}\n\n', ''),
    )
      .slice(0, shown.length)
      .map((line, n) => {
        const [start = '', rest] = (shown[n] ?? '').split(' …')
        return rest === undefined ? line : `${line.slice(0, start.length)} …`
      })
    expect(begin).toEqual(shown)
  })

  it('are listened to by the function that it shows, also when no answer came', async () => {
    await using app = await createTestApp()
    const roomId = await openRoom(app)
    const { EventSource } = createRequire(join(root, 'apps/server/package.json'))('eventsource')
    const sources: { close(): void }[] = []
    class Noted extends EventSource {
      constructor(url: string) {
        super(url)
        sources.push(this as never)
      }
    }
    let asked = 0
    const send: typeof fetch = async (...request) => {
      asked++
      if (asked === 1) throw new TypeError('fetch failed')
      if (asked === 2) return new Response('Bad gateway', { status: 502 })
      return fetch(...request)
    }
    const token = await createKeylessToken(app)
    const names = ['fetch', 'setTimeout', 'EventSource']
    const listen = new Function(...names, `${textsOf('js')[0]}; return listen`)(
      send,
      setImmediate,
      Noted,
    )
    const heard = await new Promise((resolve) => {
      listen(app.url, token, roomId, (event: { type: string; message?: unknown }) => {
        const message = { messageData: 'hello', side: true, author: 'a' }
        if (event.type === 'ready') {
          void app.fetch(`/api/v3/rooms/${roomId}/messages`, json(message))
        }
        if (event.message) resolve(event.message)
      })
    })
    for (const source of sources) source.close()
    expect(heard).toMatchObject({ messageData: 'hello' })
  })
})

/** What runs a program that a document shows. */
const PROGRAMS: Record<string, { extension: string; command: string; args: string[] }> = {
  ts: { extension: 'ts', command: process.execPath, args: TSX },
  python: { extension: 'py', command: 'python3', args: [] },
}

describe.concurrent('the programs in the documents', () => {
  const programs = documents.flatMap((document) =>
    blocksOf(document)
      .filter(({ language }) => language in PROGRAMS)
      .map((block) => ({ document, ...block })),
  )
  const pages = [...new Set(programs.map(({ document, language }) => `${document} ${language}`))]

  /** Saves a program where it finds what it finds in the folder that its document names. */
  function save(path: string, name: string, { language, folder, text }: Block): string {
    const place = join(path, folder ?? '')
    mkdirSync(place, { recursive: true })
    const modules = join(place, 'node_modules')
    if (folder && !existsSync(modules)) {
      symlinkSync(join(root, folder, 'node_modules'), modules, 'junction')
      writeFileSync(join(place, 'package.json'), '{ "type": "module" }')
    }
    const file = join(place, `${name}.${PROGRAMS[language]?.extension}`)
    writeFileSync(file, text)
    return file
  }

  it.for(pages)('print what is shown, each time: %s', async (page, context) => {
    await using app = await createTestApp()
    using folder = temporaryFolder()
    const own = programs.filter(({ document, language }) => `${document} ${language}` === page)
    for (const [n, program] of own.entries()) {
      const { command, args } = PROGRAMS[program.language] as (typeof PROGRAMS)[string]
      needs(context, command)
      const text = program.text.replaceAll(SHOWN_URL, app.url)
      const file = save(folder.path, `program${n}`, { ...program, text })
      for (const time of ['first', 'second']) {
        const { status, stdout, stderr } = await run(command, [...args, file])
        expect({ status, stdout, stderr }, `${time} run of\n${text}`).toEqual({
          status: 0,
          stdout: program.answer?.text,
          stderr: '',
        })
      }
    }
  })

  it('have right types', async () => {
    using folder = temporaryFolder()
    const files = programs
      .filter(({ language }) => language === 'ts')
      .map((program, n) => save(folder.path, `program${n}`, program))
    expect(files.length).toBeGreaterThan(1)
    const settings = {
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: { typeRoots: [join(root, 'node_modules/@types')] },
      files,
    }
    writeFileSync(join(folder.path, 'tsconfig.json'), JSON.stringify(settings))
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    expect(await run(process.execPath, [tsc, '-p', folder.path])).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    })
  })
})

describe.concurrent('the examples', () => {
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
  function start({ expect }: TestContext, command: string, args: string[]) {
    const child = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] })
    killAtEnd(child)
    const ended = once(child, 'close')
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (part) => {
        printed += part
      })
    }
    return {
      child,
      prints: (text: string) => expect.poll(() => printed).toContain(text),
      printed: () => printed,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await ended
      },
    }
  }

  it('live.ts is a chat between two terminals', async (context) => {
    await using app = await createTestApp()
    const terminal = (who: string) =>
      start(context, process.execPath, [...TSX, 'examples/live.ts', who, app.url])
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
    await using reader = start(context, 'python3', ['examples/live.py', app.url])
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
