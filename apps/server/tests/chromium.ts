import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

/** Where Debian's package puts it; npm packages would download theirs. */
export const CHROMIUM = '/usr/bin/chromium'

export const hasBrowser = existsSync(CHROMIUM)
/** Where this is set, as in CI, a missing browser is a failure. */
export const requiresBrowser = Boolean(process.env.REQUIRE_BROWSER)

/** A browser that calls nobody by itself. */
export async function launchBrowser(...moreArgs: string[]): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // The test runner has the only deadline.
    timeout: 0,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...moreArgs,
    ],
  })
  const newContext = browser.newContext.bind(browser)
  browser.newContext = async (options) => {
    const context = await newContext(options)
    context.setDefaultTimeout(0)
    return context
  }
  return browser
}
