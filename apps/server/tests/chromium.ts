import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

/** Where Debian's package puts it; npm packages would download theirs. */
export const CHROMIUM = '/usr/bin/chromium'

export const hasBrowser = existsSync(CHROMIUM)
/** Where this is set, as in CI, a missing browser is a failure. */
export const requiresBrowser = Boolean(process.env.REQUIRE_BROWSER)

/** A browser that calls nobody by itself. */
export function launchBrowser(...moreArgs: string[]): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
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
}
