import { isIP } from 'node:net'
import { type Actor, AppError } from '@dowell-chat/api'
import { anyApiKeyExists, type Database } from '@dowell-chat/db'
import type { Request } from 'express'
import type { Config } from '../config.ts'

/** Who needs no credential. */
export interface OpenMode {
  /** Whether any caller may come without a credential at all. */
  isOn(): Promise<boolean>
  /** Lets a caller without a credential pass. @throws AppError UNAUTHORIZED or FORBIDDEN, saying what to do */
  admit(req: Request): Promise<void>
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
 * DNS rebinding) and so must the Origin be (no cross-site requests).
 */
export function createOpenMode(config: Config, db: Database): OpenMode {
  // Keys are never deleted, so a yes is for ever and need not be asked again.
  let keysExist = false

  async function isOn(): Promise<boolean> {
    if (config.AUTH === 'open') return true
    keysExist ||= await anyApiKeyExists(db.read)
    return !keysExist
  }

  /** A page's GET without CORS (an image, a link) names no Origin; browsers then tell where it comes from in this way. */
  function isFromForeignPage({ headers }: Request): boolean {
    const { origin } = headers
    if (origin === undefined) return headers['sec-fetch-site'] === 'cross-site'
    return !isLocalOrigin(origin) && !isListed(config, origin)
  }

  return {
    isOn,
    async admit(req) {
      if (!(await isOn())) throw new AppError('UNAUTHORIZED')
      if (config.AUTH === 'open') return
      if (!isFromThisMachine(req)) {
        throw new AppError('UNAUTHORIZED', {
          message: `This server has no API key yet and so answers callers on its own machine only: ${HOW}`,
        })
      }
      if (!isLocalHost(hostOf(req.headers.host))) {
        throw new AppError('FORBIDDEN', {
          message:
            'Without an API key this server answers only under a name of its own machine, such as localhost',
        })
      }
      if (isFromForeignPage(req)) {
        throw new AppError('FORBIDDEN', {
          message: 'Without an API key this server answers pages of its own machine only',
        })
      }
    },
    async admitHolder(actor) {
      if (actor.kind !== 'user' || actor.keyId !== undefined || (await isOn())) return
      throw new AppError('UNAUTHORIZED', { message: 'The token was made before there was a key' })
    },
    async allowsOrigin(origin) {
      if (isListed(config, origin)) return true
      return isLocalOrigin(origin) && (await isOn())
    },
  }
}

function isListed(config: Config, origin: string): boolean {
  return config.CORS_ORIGINS.includes('*') || config.CORS_ORIGINS.includes(origin)
}

/**
 * Whether the caller itself is on this machine. A proxy on this machine is not the caller: what it forwards counts by the
 * address that it names if it is trusted (express works that out), and as foreign if it is not.
 */
function isFromThisMachine(req: Request): boolean {
  const { headers, socket } = req
  const forwarded = headers['x-forwarded-for'] ?? headers.forwarded ?? headers['x-real-ip']
  if (forwarded === undefined) return isLoopback(socket.remoteAddress)
  return isLoopback(req.ip) && req.ips.length > 0
}

function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address
  return plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'))
}

function isLocalOrigin(origin: string): boolean {
  return URL.canParse(origin) && isLocalHost(new URL(origin).hostname)
}

function hostOf(host: string | undefined): string {
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : ''
}

/** `localhost` and everything below it (RFC 6761, 6.3), and loopback addresses. */
function isLocalHost(hostname: string): boolean {
  const name = hostname.replace(/^\[|\]$/g, '')
  return name === 'localhost' || name.endsWith('.localhost') || isLoopback(name)
}
