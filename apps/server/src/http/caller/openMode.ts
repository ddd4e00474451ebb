import type { IncomingMessage } from 'node:http'
import { type Actor, AppError, AuthError } from '@dowell-chat/api'
import { anyApiKeyExists, type Database } from '@dowell-chat/db'
import type { Config } from '../../config.ts'
import { isLocalHost, isLoopback } from './address.ts'

/** Decides which callers need no credential. */
export interface OpenMode {
  /** Whether callers may come without a credential at all. */
  isOn(): Promise<boolean>
  /** Checks a caller without a credential. @throws AppError UNAUTHORIZED or FORBIDDEN, with the way out */
  assertAnonymousAllowed(req: IncomingMessage): Promise<void>
  /**
   * Checks a caller with a valid credential. A token made without a key ends with open mode: no key can revoke it.
   *
   * @throws AppError UNAUTHORIZED
   */
  assertTokenAllowed(actor: Actor): Promise<void>
  /** Whether pages of every origin may call. */
  readonly allowsEveryOrigin: boolean
  /** Whether pages of this origin may call. */
  allowsOrigin(origin: string): Promise<boolean>
  /** Warns the operator at the start, line by line; undefined when callers need a key and there is one. */
  notice(): Promise<string | undefined>
}

const KEYS_CREATE = 'keys create --org <organisation> --right admin'
const MAKE_KEY = `npm run cli -- ${KEYS_CREATE}`

/**
 * Open mode lets a developer start without configuration: while no API key exists, callers on this machine need none. Web
 * pages must not use this: the Host must be a name of this machine (against DNS rebinding), and pages of other sites are
 * refused (against cross-site requests).
 *
 * A proxy on this machine can look like a caller on this machine. So open mode gives no access to keys and tokens (see the
 * access table), and settings for a public server end it.
 */
export function createOpenMode(config: Config, db: Database): OpenMode {
  const isOpenToAll = config.AUTH === 'open'
  const publicSigns = publicSignsOf(config)
  const listed = config.CORS_ORIGINS
  const allowsEveryOrigin = listed.length === 0 ? isOpenToAll : listed.includes('*')
  // Keys are never deleted, so a yes stays true.
  let keysExist = false

  async function hasKeys(): Promise<boolean> {
    keysExist ||= await anyApiKeyExists(db.read)
    return keysExist
  }

  async function isOn(): Promise<boolean> {
    return isOpenToAll || (publicSigns === '' && !(await hasKeys()))
  }

  return {
    isOn,
    allowsEveryOrigin,
    async assertAnonymousAllowed(req) {
      if (isOpenToAll) {
        // The server's own pages are of the same origin.
        const mayCall = (origin: string) =>
          listed.includes(origin) || origin.endsWith(`://${req.headers.host}`)
        if (allowsEveryOrigin || !isFromForeignPage(req, mayCall)) return
        throw new AppError('FORBIDDEN', {
          message: 'CORS_ORIGINS does not name the origin of this page, and there is no credential',
        })
      }
      if (await hasKeys()) throw new AuthError('no_credential')
      if (publicSigns !== '') {
        throw new AuthError('no_credential', {
          message: `This server has no API key yet, and no open mode because ${publicSigns}: make a key with "${MAKE_KEY}", or set AUTH=open to let everyone do everything`,
        })
      }
      if (!isFromThisMachine(req)) {
        throw new AuthError('no_credential', {
          message: `This server has no API key yet and so answers callers on its own machine only, without a proxy between: make one with "${MAKE_KEY}", or set AUTH=open`,
        })
      }
      if (!isLocalHost(nameOf(req.headers.host))) {
        throw new AppError('FORBIDDEN', {
          message:
            'Without an API key this server answers only under a name of its own machine, such as localhost',
        })
      }
      if (isFromForeignPage(req, isLocalOrigin)) {
        throw new AppError('FORBIDDEN', {
          message:
            'Without an API key this server answers pages of its own machine only; with a key, those of the origins that CORS_ORIGINS names',
        })
      }
    },
    async assertTokenAllowed(actor) {
      if (actor.kind !== 'user' || actor.keyId !== undefined || (await isOn())) return
      throw new AuthError('open_mode_over', {
        actor,
        message: 'The token was made in open mode, which is over',
      })
    },
    async allowsOrigin(origin) {
      if (allowsEveryOrigin || listed.length > 0)
        return allowsEveryOrigin || listed.includes(origin)
      return isLocalOrigin(origin) && (await isOn())
    },
    async notice() {
      if (isOpenToAll) {
        return 'AUTH=open lets everyone who reaches this server read and write all rooms without a credential.'
      }
      if (await hasKeys()) return undefined
      if (publicSigns === '') {
        return `Open mode: there is no API key yet, and callers on this machine need none.
Through a proxy or a tunnel on this machine everyone could read and write all rooms: make a key before you start one:
  ${MAKE_KEY}`
      }
      return `Nobody is let in: there is no API key yet, and no open mode because ${publicSigns}.
Make a key, or set AUTH=open to let everyone do everything:
  ${MAKE_KEY}
  in a container: node apps/server/src/cli.ts ${KEYS_CREATE}`
    },
  }
}

/** Lists the settings which show that other machines reach the server; empty when there are none. */
function publicSignsOf({ HOST, TRUST_PROXY, CORS_ORIGINS, NODE_ENV }: Config): string {
  const signs = [
    !isLocalHost(HOST) && 'HOST is not a loopback address',
    TRUST_PROXY.length > 0 && 'TRUST_PROXY is set',
    CORS_ORIGINS.length > 0 && 'CORS_ORIGINS is set',
    NODE_ENV === 'production' && 'NODE_ENV is production',
  ]
  return signs.filter(Boolean).join(' and ')
}

/**
 * Whether the caller, and not a proxy, is on this machine. A proxy that adds no header goes unnoticed, so no access to keys
 * or tokens depends on this.
 */
function isFromThisMachine({ socket, httpVersion, headers }: IncomingMessage): boolean {
  // Only proxies still speak HTTP/1.0: by default nginx did until 1.29.7.
  if (httpVersion === '1.0' || !isLoopback(socket.remoteAddress)) return false
  return !Object.keys(headers).some((name) => FORWARDING.test(name))
}

/** Names of headers that proxies add. */
const FORWARDING =
  /forwarded|client-?ip|real-ip|connecting-ip|remote-(?:ip|addr)|user-ip|external-address|original-host|^via$/

/**
 * Whether a page that may not call made the request. Links and images send a GET without an Origin header, and v2 has a GET
 * that writes: `Sec-Fetch-Site` gives those away.
 */
function isFromForeignPage(
  { headers }: IncomingMessage,
  mayCall: (origin: string) => boolean,
): boolean {
  const { origin } = headers
  return origin === undefined
    ? /^cross-site$/i.test(String(headers['sec-fetch-site']))
    : !mayCall(origin)
}

function isLocalOrigin(origin: string): boolean {
  const [, host] = /^https?:\/\/(.+)$/.exec(origin) ?? []
  return isLocalHost(nameOf(host))
}

/** The name in `name:port`; empty for anything else. */
function nameOf(host: string | undefined): string {
  const url = `http://${host}`
  return /^[\w.:[\]-]+$/.test(host ?? '') && URL.canParse(url) ? new URL(url).hostname : ''
}
