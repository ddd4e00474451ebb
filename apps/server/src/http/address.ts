import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

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
