import type { IncomingMessage } from 'node:http'
import { isIP, isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import proxyaddr from 'proxy-addr'

/** Reads the headers of trusted proxies. */
export interface Proxies {
  /** The caller's address; `unknown` if a proxy names something else. */
  callerOf(req: IncomingMessage): string
  /** Whether the peer of a connection is a trusted proxy. */
  isTrusted(address: string | undefined): boolean
  /** Whether the caller used TLS, which ends at a proxy. */
  isSecure(req: IncomingMessage): boolean
}

/** @param trusted addresses, subnets, or names of ranges as express has them */
export function createProxies(trusted: readonly string[]): Proxies {
  const trust = proxyaddr.compile([...trusted])
  return {
    callerOf: (req) => normaliseAddress(proxyaddr(req, trust)),
    isTrusted: (address) => trust(address ?? '', 0),
    isSecure({ headers, socket }) {
      const proto = headers['x-forwarded-proto']
      if (proto === undefined || !trust(socket.remoteAddress ?? '', 0)) return false
      return String(proto).split(',', 1)[0]?.trim() === 'https'
    },
  }
}

/** Whether an address is a loopback address, also one mapped to IPv6 (`::ffff:7f00:1`). */
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

/** Writes an address in its usual form. Invalid ones are all the same, since callers can make them up. */
export function normaliseAddress(address: string | undefined): string {
  if (address !== undefined && isIPv4(address)) return address
  // Some proxies add the caller's port.
  const parsed = parse(address?.replace(/^(?:\[(.+)\]|([\d.]+))(?::\d+)?$/, '$1$2'))
  // The zone may be any text.
  return parsed?.toString().replace(/%.*$/, '') ?? 'unknown'
}

/** Converts an address to its rate-limit key: the first 64 bits of an IPv6 address, since one customer has all the rest. */
export function networkOf(address: string | undefined): string {
  const normal = normaliseAddress(address)
  if (isIPv4(normal)) return normal
  const parsed = parse(normal)
  if (!(parsed instanceof ipaddr.IPv6)) return normal
  const network = parsed.parts.slice(0, 4).map((part) => part.toString(16))
  return `${network.join(':')}::/64`
}

/** ipaddr.js alone would accept `127.1` and `0x7f000001`, too. */
function parse(address = ''): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  return isIP(address) > 0 && ipaddr.isValid(address) ? ipaddr.process(address) : undefined
}
