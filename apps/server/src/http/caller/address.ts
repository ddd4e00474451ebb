import type { IncomingMessage } from 'node:http'
import { isIP, isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import proxyaddr from 'proxy-addr'

/** What the headers of proxies say of a request, as far as those proxies are trusted. */
export interface Proxies {
  /** The caller's address. */
  callerOf(req: IncomingMessage): string | undefined
  /** Whether the caller came over TLS, which ends at a proxy. */
  isSecure(req: IncomingMessage): boolean
}

/** @param trusted addresses, subnets, or names of ranges that express knows, too */
export function createProxies(trusted: readonly string[]): Proxies {
  const trust = proxyaddr.compile([...trusted])
  return {
    callerOf: (req) => proxyaddr(req, trust),
    isSecure({ headers, socket }) {
      const proto = headers['x-forwarded-proto']
      if (proto === undefined || !trust(socket.remoteAddress ?? '', 0)) return false
      return String(proto).split(',', 1)[0]?.trim() === 'https'
    },
  }
}

/** Whether an address is of this machine's own loopback, an IPv4 one also as IPv6 writes it (`::ffff:7f00:1`). */
export function isLoopback(address: string | undefined): boolean {
  return parse(address)?.range() === 'loopback'
}

/** `localhost` and everything below it (RFC 6761, 6.3), and loopback addresses. */
export function isLocalHost(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'))
  )
}

/**
 * Whom a budget by address belongs to, whatever way the address is written. Of an IPv6 address the first 64 bits: one
 * customer has all the rest. What is no address shares one budget: a stranger may have made it up.
 */
export function networkOf(address: string | undefined): string {
  if (address !== undefined && isIPv4(address)) return address
  // Some proxies forward the caller's port as well.
  const parsed = parse(address?.replace(/^(?:\[(.+)\]|([\d.]+))(?::\d+)?$/, '$1$2'))
  if (parsed instanceof ipaddr.IPv6) {
    const network = parsed.parts.slice(0, 4).map((part) => part.toString(16))
    return `${network.join(':')}::/64`
  }
  return parsed?.toString() ?? 'unknown'
}

/** Only whole addresses: ipaddr.js alone would take `127.1` and `0x7f000001`, too. */
function parse(address = ''): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  return isIP(address) > 0 && ipaddr.isValid(address) ? ipaddr.process(address) : undefined
}
