import type { IncomingMessage } from 'node:http'
import { type Actor, AppError } from '@dowell-chat/api'
import { anyApiKeyExists, type Database } from '@dowell-chat/db'
import type { Config } from '../../config.ts'
import { isLocalHost, isLoopback } from './address.ts'

/** Who needs no credential. */
export interface OpenMode {
  /** Whether any caller may come without a credential at all. */
  isOn(): Promise<boolean>
  /**
   * Lets a caller without a credential pass.
   *
   * @throws AppError UNAUTHORIZED or FORBIDDEN, saying what to do
   */
  admit(req: IncomingMessage): Promise<void>
  /**
   * Lets a caller with a valid credential pass. A token that was made without a key ends with open mode: no key can revoke it.
   *
   * @throws AppError UNAUTHORIZED
   */
  admitHolder(actor: Actor): Promise<void>
  /** Whether pages of this origin may call. */
  allowsOrigin(origin: string): Promise<boolean>
  /** What an operator should know at the start, line by line; undefined when callers need a key and there is one. */
  notice(): Promise<string | undefined>
}

const KEYS_CREATE = 'keys create --org <organisation> --right admin'
const MAKE_KEY = `npm run cli -- ${KEYS_CREATE}`

/**
 * Open mode lets a developer start without any configuration: while no API key exists, callers on this machine need
 * none. A web page that such a caller visits must not gain by it, so there the Host must be a name of this machine (no
 * DNS rebinding) and no other site's page may have made the request (no cross-site requests).
 *
 * A proxy on this machine may look just like a caller on this machine. So keys and tokens are out of reach in open mode
 * (see the access table), and a setting that says that others reach the server ends it.
 */
export function createOpenMode(config: Config, db: Database): OpenMode {
  const isOpenToAll = config.AUTH === 'open'
  const publicSigns = publicSignsOf(config)
  const listed = config.CORS_ORIGINS
  // Keys are never deleted, so a yes is for ever and need not be asked again.
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
    async admit(req) {
      if (isOpenToAll) {
        // The pages of the server itself are none of another origin.
        const mayCall = (origin: string) =>
          listed.includes(origin) || origin.endsWith(`://${req.headers.host}`)
        const areAllListed = listed.length === 0 || listed.includes('*')
        if (areAllListed || !isFromForeignPage(req, mayCall)) return
        throw new AppError('FORBIDDEN', {
          message: 'CORS_ORIGINS does not name the origin of this page, and there is no credential',
        })
      }
      if (await hasKeys()) throw new AppError('UNAUTHORIZED')
      if (publicSigns !== '') {
        throw new AppError('UNAUTHORIZED', {
          message: `This server has no API key yet, and no open mode because ${publicSigns}: make a key with "${MAKE_KEY}", or set AUTH=open to let everyone do everything`,
        })
      }
      if (!isFromThisMachine(req)) {
        throw new AppError('UNAUTHORIZED', {
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
    async admitHolder(actor) {
      if (actor.kind !== 'user' || actor.keyId !== undefined || (await isOn())) return
      throw new AppError('UNAUTHORIZED', {
        message: 'The token was made in open mode, which is over',
      })
    },
    async allowsOrigin(origin) {
      if (listed.length > 0) return listed.includes('*') || listed.includes(origin)
      return isOpenToAll || (isLocalOrigin(origin) && (await isOn()))
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

/** The settings that say that not only callers on this machine reach the server; empty when there are none. */
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
 * Whether the caller itself seems to be on this machine. A proxy on this machine is not the caller. One that says nothing of
 * itself cannot be told from a caller, so this closes a door where it can, and no key or token depends on it.
 */
function isFromThisMachine({ socket, httpVersion, headers }: IncomingMessage): boolean {
  // Nobody but a proxy still speaks HTTP/1.0: nginx did, unless it was told otherwise, until 1.29.7.
  if (httpVersion === '1.0' || !isLoopback(socket.remoteAddress)) return false
  return !Object.keys(headers).some((name) => FORWARDING.test(name))
}

/** Names of headers by which proxies say that there is somebody behind them. */
const FORWARDING =
  /forwarded|client-?ip|real-ip|connecting-ip|remote-(?:ip|addr)|user-ip|external-address|original-host|^via$/

/**
 * Whether a page that may not call made the request. Browsers send no Origin with a GET that a link or an image makes, and
 * v2 has a GET that writes: such a request says `Sec-Fetch-Site`.
 */
function isFromForeignPage(
  { headers }: IncomingMessage,
  mayCall: (origin: string) => boolean,
): boolean {
  const { origin } = headers
  return origin === undefined ? headers['sec-fetch-site'] === 'cross-site' : !mayCall(origin)
}

function isLocalOrigin(origin: string): boolean {
  const [, host] = /^https?:\/\/(.+)$/.exec(origin) ?? []
  return isLocalHost(nameOf(host))
}

/** The name in `name:port`; empty for anything that has more or is no such thing. */
function nameOf(host: string | undefined): string {
  const url = `http://${host}`
  return /^[\w.:[\]-]+$/.test(host ?? '') && URL.canParse(url) ? new URL(url).hostname : ''
}
