import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHROMIUM, hasBrowser, launchBrowser, requiresBrowser } from './chromium.ts'
import type { OpenApi } from './conformance.ts'
import { createTestApp, openRoom, type TestApp } from './support.ts'

if (!hasBrowser && !requiresBrowser) {
  test('pages in a real browser', ({ skip }) => {
    skip(`there is no ${CHROMIUM}; on Debian: apt-get install chromium`)
  })
}

// Where a browser is required and missing, these fail and say so.
describe.runIf(hasBrowser || requiresBrowser)('in a real browser', () => {
  let app: TestApp
  let browser: Browser

  beforeAll(async () => {
    app = await createTestApp()
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await app?.[Symbol.asyncDispose]()
  })

  /** A new page, and whatever went wrong on it. */
  async function newPage(): Promise<{ page: Page; faults: string[]; requests: URL[] }> {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    const faults: string[] = []
    const requests: URL[] = []
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) faults.push(message.text())
    })
    page.on('pageerror', (error) => faults.push(error.message))
    page.on('requestfailed', (request) => faults.push(`${request.url()} failed`))
    page.on('request', (request) => requests.push(new URL(request.url())))
    return { page, faults, requests }
  }

  /** Opens an operation on the documentation page, fills in parameters, and answers the response's status. */
  async function execute(
    page: Page,
    operation: string,
    parameters: Record<string, string> = {},
  ): Promise<string | undefined> {
    const block = page.locator(`.opblock[id$="-${operation}"]`)
    await block.locator('.opblock-summary').click()
    for (const [name, value] of Object.entries(parameters)) {
      await block.locator(`tr[data-param-name="${name}"] input`).fill(value)
    }
    await block.locator('button.execute').click()
    const status = block.locator('.live-responses-table tbody .response-col_status')
    const text = await status.textContent()
    // A long page is slow to work with.
    await block.locator('.opblock-summary').click()
    return text?.match(/\d+/)?.[0]
  }

  test('/docs shows every operation, asks no other host and breaks no rule', async () => {
    const { page, faults, requests } = await newPage()
    await page.goto(`${app.url}/docs`)
    await page.locator('.opblock').first().waitFor()

    const document = (await (await app.fetch('/openapi.json')).json()) as OpenApi
    const documented = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    )
    const shown = await page.locator('.opblock').evaluateAll((blocks) =>
      blocks.map((block) => {
        const textOf = (selector: string) => block.querySelector(selector)?.textContent ?? ''
        // Paths are broken into pieces by zero-width spaces.
        return `${textOf('.opblock-summary-method')} ${textOf('.opblock-summary-path')}`.replace(
          /\u200b/g,
          '',
        )
      }),
    )
    expect(shown.sort()).toEqual(documented.sort())
    expect(await page.title()).toBe('Dowell Chat API')

    const away = requests.filter(
      ({ protocol, origin }) => protocol !== 'data:' && origin !== app.url,
    )
    expect(away.map(String)).toEqual([])
    expect(faults).toEqual([])
    await page.close()
  })

  test('/docs sends the examples that it shows', async () => {
    const { page, faults, requests } = await newPage()
    await page.goto(`${app.url}/docs`)
    expect(await execute(page, 'createRoom')).toBe('201')
    expect(await execute(page, 'createRoomV2')).toBe('200')
    // Everything but the room's id as the page fills it in: pages are asked for without a cursor.
    const roomId = await openRoom(app, 'docs')
    expect(await execute(page, 'getMessages', { roomId })).toBe('200')
    expect(await execute(page, 'getRoomServiceV2', { room_id: roomId })).toBe('200')
    expect(requests.filter(({ origin }) => origin === app.url).length).toBeGreaterThan(4)
    expect(faults).toEqual([])
    await page.close()
  })

  test('the client package holds a conversation from a page', async () => {
    const entry = fileURLToPath(import.meta.resolve('@dowell-chat/client'))
    const bundle = await build({
      entryPoints: [entry],
      bundle: true,
      write: false,
      metafile: true,
      platform: 'browser',
      format: 'iife',
      globalName: 'DowellChat',
      logLevel: 'silent',
    })
    // The server's code stays where it is: of the API only types are imported.
    const inputs = Object.keys(bundle.metafile.inputs)
    expect(
      inputs.filter((input) => /packages\/(api|db)|apps\/|node_modules\/zod/.test(input)),
    ).toEqual([])

    const { page, faults } = await newPage()
    await page.route(`${app.url}/page`, (route) =>
      route.fulfill({
        contentType: 'text/html',
        body: '<!doctype html><title>A page</title><link rel="icon" href="data:,">',
      }),
    )
    await page.goto(`${app.url}/page`)
    await page.addScriptTag({ content: bundle.outputFiles[0]?.text ?? '' })
    const told = await page.evaluate(converse)
    expect(told).toEqual({
      created: true,
      dates: [true, true, true],
      texts: ['Hello 🙂', 'How may I help you'],
      sameTime: true,
      failure: ['DowellChatError', 'NOT_FOUND', 404],
    })
    // The browser itself notes the answer 404.
    expect(faults).toEqual([expect.stringContaining('404')])
    await page.close()
  })
})

// What the bundle and the browser offer to the function that runs in the page.
declare const DowellChat: typeof import('@dowell-chat/client')
declare const location: { origin: string }

/** Runs in the page: nothing of this file is there but its own text. */
async function converse() {
  const chat = DowellChat.createDowellChat({ url: location.origin })
  const { room, created } = await chat.createRoom({
    userId: 'browser',
    orgId: 'DOWELL12345',
    portfolioName: 'umair',
    productName: 'WIFIQRCODE',
  })
  const send = (messageData: string, side: boolean) =>
    chat.createMessage({ roomId: room.id, messageData, side, author: 'client' })
  const { message } = await send('Hello 🙂', false)
  await send('How may I help you', true)
  const { items } = await chat.getMessages({ roomId: room.id })
  const failure = await chat
    .getRoomById({ roomId: 'ffffffffffffffffffffffff' })
    .catch((error) => error)
  return {
    created,
    dates: [room.createdAt, message.createdAt, items[0]?.createdAt].map(
      (date) => date instanceof Date,
    ),
    texts: items.map(({ messageData }) => messageData),
    sameTime: items[0]?.createdAt.getTime() === message.createdAt.getTime(),
    failure: [failure.name, failure.code, failure.status],
  }
}
