import type { IncomingMessage } from 'node:http'
import { type Actor, AppError } from '@dowell-chat/api'
import { anyApiKeyExists, type Database } from '@dowell-chat/db'
import type { Config } from '../config.ts'
import { isLocalHost, isLoopback } from './address.ts'

/** Who needs no credential. */
export interface OpenMode {
  /** Whether any caller may come without a credential at all. */
  isOn(): Promise<boolean>
  /**
   * Lets a caller without a credential pass.
   *
   * @param forwarded whether a trusted proxy passed the request on
   * @throws AppError UNAUTHORIZED or FORBIDDEN, saying what to do
   */
  admit(req: IncomingMessage, forwarded: boolean): Promise<void>
  /**
   * Lets a caller with a valid credential pass. A token that was asked for in open mode ends with it: no key can revoke it.
   *
   * @throws AppError UNAUTHORIZED
   */
  admitHolder(actor: Actor): Promise<void>
  /** Whether pages of this origin may call. */
  allowsOrigin(origin: string): Promise<boolean>
}

const HOW = 'make one with "npm run cli -- keys create", or set AUTH=open'

/**
 * Open mode lets a developer start without any configuration: while no API key exists, callers on this machine need
 * none. A web page that such a caller visits must not gain by it, so there the Host must be a name of this machine (no
 * DNS rebinding) and no other site's page may have made the request (no cross-site requests).
 */
export function createOpenMode(config: Config, db: Database): OpenMode {
  // Keys are never deleted, so a yes is for ever and need not be asked again.
  let keysExist = false

  async function isOn(): Promise<boolean> {
    if (config.AUTH === 'open') return true
    keysExist ||= await anyApiKeyExists(db.read)
    return !keysExist
  }

  return {
    isOn,
    async admit(req, forwarded) {
      if (!(await isOn())) throw new AppError('UNAUTHORIZED')
      if (config.AUTH === 'open') return
      if (!isFromThisMachine(req, forwarded)) {
        throw new AppError('UNAUTHORIZED', {
          message: `This server has no API key yet and so answers callers on its own machine only, without a proxy between: ${HOW}`,
        })
      }
      if (!isLocalHost(nameOf(req.headers.host))) {
        throw new AppError('FORBIDDEN', {
          message:
            'Without an API key this server answers only under a name of its own machine, such as localhost',
        })
      }
      if (isFromForeignPage(config, req)) {
        throw new AppError('FORBIDDEN', {
          message:
            'Without an API key this server answers pages of its own machine only, and those of the origins that CORS_ORIGINS names',
        })
      }
    },
    async admitHolder(actor) {
      if (actor.kind !== 'user' || actor.keyId !== undefined || (await isOn())) return
      throw new AppError('UNAUTHORIZED', { message: 'The token was made before there was a key' })
    },
    async allowsOrigin(origin) {
      if (config.CORS_ORIGINS.includes('*') || config.CORS_ORIGINS.includes(origin)) return true
      return isLocalOrigin(origin) && (await isOn())
    },
  }
}

/**
 * Whether the caller itself is on this machine. A proxy on this machine is not the caller: what it forwards is from here
 * if it is trusted and nobody along the way is from elsewhere, and foreign in every other case.
 */
function isFromThisMachine(req: IncomingMessage, forwarded: boolean): boolean {
  if (!isLoopback(req.socket.remoteAddress)) return false
  if (!isForwarded(req)) return true
  const way = String(req.headers['x-forwarded-for']).split(',')
  return forwarded && way.every((address) => isLoopback(address.trim()))
}

/** Headers, besides `X-Forwarded-…`, by which proxies say that there is somebody behind them. */
const FORWARDING = new Set([
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'client-ip',
  'fastly-client-ip',
  'fly-client-ip',
  'forwarded',
  'forwarded-for',
  'proxy-client-ip',
  'true-client-ip',
  'via',
  'x-appengine-user-ip',
  'x-azure-clientip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-envoy-external-address',
  'x-original-forwarded-for',
  'x-original-host',
  'x-real-ip',
  'x-remote-addr',
  'x-remote-ip',
])

/** Nobody but a proxy still speaks HTTP/1.0, above all nginx as it comes, which adds no header and sends a local Host. */
function isForwarded({ httpVersion, headers }: IncomingMessage): boolean {
  return (
    httpVersion === '1.0' ||
    Object.keys(headers).some((name) => name.startsWith('x-forwarded') || FORWARDING.has(name))
  )
}

/**
 * Whether a page of another site made the request. Browsers send no Origin with a GET that a link or an image makes, and
 * v2 has a GET that writes: such a request says `Sec-Fetch-Site`. CORS_ORIGINS must name an origin here. A `*` lets pages
 * bring their own credential from anywhere, and to need none is no credential.
 */
function isFromForeignPage(config: Config, { headers }: IncomingMessage): boolean {
  const { origin } = headers
  if (origin === undefined) return headers['sec-fetch-site'] === 'cross-site'
  return !isLocalOrigin(origin) && !config.CORS_ORIGINS.includes(origin)
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
