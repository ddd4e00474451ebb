import { createDowellChat, type DowellChat } from '@dowell-chat/client'
import { createTestStore, type TestStore } from '@dowell-chat/db/testing'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CHROMIUM, hasBrowser, launchBrowser, requiresBrowser } from './chromium.ts'
import { createKey } from './credentials.ts'
import { createDroppingProxy } from './droppingProxy.ts'
import { type ServerProcess, spawnHere, startServer } from './serverProcess.ts'
import { createTestApp } from './support.ts'

// The page of the examples, in a real browser.

if (!hasBrowser && !requiresBrowser) {
  test('a live page in a real browser', ({ skip }) => {
    skip(`there is no ${CHROMIUM}; on Debian: apt-get install chromium`)
  })
}

describe.runIf(hasBrowser || requiresBrowser)('a live page', () => {
  let store: TestStore
  let env: Record<string, string>
  let server: ServerProcess
  let chat: DowellChat
  let pages: Awaited<ReturnType<typeof servePage>>
  let address: string
  let browser: Browser
  let context: BrowserContext
  let customers = 0
  let customer: string

  /** Serves the page for a server. */
  async function servePage(url: string) {
    const { child, ended } = spawnHere(['../../examples/page/serve.ts', url, '0'])
    const address = await new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (text) => {
        const [url] = /http:\S+(?=\n)/.exec(String(text)) ?? []
        if (url) resolve(url)
      })
      ended.then(({ stderr }) => reject(new Error(stderr)))
    })
    return {
      address,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await ended
      },
    }
  }

  beforeAll(async () => {
    store = await createTestStore()
    env = { DATABASE_URL: store.url }
    server = await startServer(env)
    chat = createDowellChat({ url: server.url })
    pages = await servePage(server.url)
    address = pages.address
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await pages?.[Symbol.asyncDispose]()
    await server?.kill('SIGKILL')
    await store?.[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    // Other tests' tabs would share with these.
    await context?.close()
    context = await browser.newContext({ viewport: { width: 640, height: 640 } })
    customer = `customer-${customers++}`
  })

  /** A tab with the page, and the event streams that it has opened. */
  async function openTab(side = 'customer') {
    const page = await context.newPage()
    const streams = new Set<unknown>()
    page.on('request', (request) => {
      if (new URL(request.url()).pathname === '/api/v3/events') streams.add(request)
    })
    page.on('requestfinished', (request) => streams.delete(request))
    page.on('requestfailed', (request) => streams.delete(request))
    await page.goto(`${address}/?customer=${customer}&side=${side}`)
    await isLive(page)
    return { page, streams }
  }

  const isLive = (page: Page) => page.locator('#state[data-status="live"]').waitFor()
  const texts = (page: Page) => page.locator('#messages li').allTextContents()

  async function say(page: Page, text: string): Promise<void> {
    await page.fill('#text', text)
    await page.press('#text', 'Enter')
  }

  test('shows each side what the other does', async () => {
    const { page } = await openTab()
    const { page: support } = await openTab('support')
    await page.getByText('The other side is here.').waitFor()
    await support.locator('#text').pressSequentially('Hel')
    await page.getByText('Amara is typing …').waitFor()
    await say(support, 'Hello 🙂')
    await page.getByText('Hello 🙂').waitFor()
    await say(page, '<b>Thank you</b>')
    await support.getByText('<b>Thank you</b>').waitFor()
    for (const tab of [page, support]) {
      expect(await texts(tab)).toEqual(['Hello 🙂', '<b>Thank you</b>'])
    }
    expect(await page.locator('#messages li.own').allTextContents()).toEqual(['<b>Thank you</b>'])
  })

  test('has one connection for all its tabs, which another tab takes over', async () => {
    const tabs = [await openTab(), await openTab(), await openTab()]
    const [first, second, third] = tabs as [(typeof tabs)[0], (typeof tabs)[0], (typeof tabs)[0]]
    await expect.poll(() => tabs.map(({ streams }) => streams.size)).toEqual([1, 0, 0])
    await say(second.page, 'one')
    for (const { page } of tabs) await page.getByText('one').waitFor()

    const { room } = await chat.createRoom({
      userId: customer,
      orgId: 'DOWELL12345',
      portfolioName: 'umair',
      productName: 'WIFIQRCODE',
    })
    let isOver = false
    const written = (async () => {
      const all = ['one']
      for (let n = 1; !isOver; n++) {
        all.push(`message ${n}`)
        const message = { roomId: room.id, messageData: `message ${n}`, author: 'Amara' }
        await chat.createMessage({ ...message, side: true })
      }
      return all
    })()
    await third.page.getByText('message 20', { exact: true }).waitFor()
    await first.page.close()
    await expect.poll(() => second.streams.size + third.streams.size).toBe(1)
    const seen = (await texts(third.page)).length
    await expect.poll(async () => (await texts(third.page)).length).toBeGreaterThan(seen)
    isOver = true
    const all = await written
    for (const { page } of [second, third]) {
      await page.getByText(all.at(-1) as string, { exact: true }).waitFor()
      expect(await texts(page)).toEqual(all)
    }
  })

  test('stores each message once when answers are lost, and keeps what was typed since', async () => {
    await using proxy = await createDroppingProxy(server.url, /^POST .*(createMessage|createRoom)/)
    await using other = await servePage(proxy.url)
    const page = await context.newPage()
    await page.goto(`${other.address}/?customer=${customer}`)
    await isLive(page)
    await say(page, 'one')
    await say(page, 'two')
    await page.fill('#text', 'not sent yet')
    await page.getByText('two', { exact: true }).waitFor()
    // The room and both messages were answered only at the second attempt.
    await expect.poll(() => proxy.dropped).toBe(3)
    await say(page, 'three')
    await page.getByText('three', { exact: true }).waitFor()
    expect(await texts(page)).toEqual(['one', 'two', 'three'])
    // A message that is refused does not overwrite what was typed since.
    await page.route('**/trpc/createMessage*', async (route) => {
      await page.fill('#text', 'typed since')
      await route.continue()
    })
    await say(page, 'x'.repeat(20_000))
    await page.getByText(/^Not sent: xxx/).waitFor()
    expect(await page.inputValue('#text')).toBe('typed since')
  })

  test('says that a server with keys needs a credential', async () => {
    for (const [CORS_ORIGINS, text, state] of [
      ['*', /^This server needs a credential: pass/, 'not connected'],
      [
        '',
        /must list http:\/\/127\.0\.0\.1:\d+ in CORS_ORIGINS, and needs a credential/,
        'connecting',
      ],
    ] as const) {
      await using other = await createTestApp({ CORS_ORIGINS })
      await createKey(other)
      await using guarded = await servePage(other.url)
      const page = await context.newPage()
      await page.goto(guarded.address)
      await page.getByText(text).waitFor()
      expect(await page.locator('#state').textContent()).toBe(state)
      await page.close()
    }
  })

  test('goes on after the server was killed and started again', async () => {
    const [one, two] = [await openTab(), await openTab('support')]
    await say(one.page, 'before')
    await two.page.getByText('before').waitFor()
    await server.kill('SIGKILL')
    for (const { page } of [one, two]) await page.locator('#state[data-status="waiting"]').waitFor()
    server = await startServer({ ...env, PORT: new URL(server.url).port })
    for (const { page } of [one, two]) await isLive(page)
    await say(two.page, 'after')
    for (const { page } of [one, two]) {
      await page.getByText('after').waitFor()
      expect(await texts(page)).toEqual(['before', 'after'])
    }
  })
})
