import { createDowellChat, type DowellChat } from '@dowell-chat/client'
import { createTestStore, type TestStore } from '@dowell-chat/db/testing'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CHROMIUM, hasBrowser, launchBrowser, requiresBrowser } from './chromium.ts'
import { type ServerProcess, spawnHere, startServer } from './serverProcess.ts'

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
  let pages: ReturnType<typeof spawnHere>
  let address: string
  let browser: Browser
  let context: BrowserContext
  let customers = 0
  let customer: string

  beforeAll(async () => {
    store = await createTestStore()
    env = { DATABASE_URL: store.url }
    server = await startServer(env)
    chat = createDowellChat({ url: server.url })
    pages = spawnHere(['../../examples/page/serve.ts', server.url, '0'])
    address = await new Promise((resolve, reject) => {
      pages.child.stdout.on('data', (text) => {
        const [url] = /http:\S+(?=\n)/.exec(String(text)) ?? []
        if (url) resolve(url)
      })
      pages.ended.then(({ stderr }) => reject(new Error(stderr)))
    })
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    pages?.child.kill('SIGKILL')
    await pages?.ended
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
