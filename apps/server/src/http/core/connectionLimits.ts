import type { Server } from 'node:http'
import type { DropArgument, Socket } from 'node:net'
import type { Logger } from 'pino'

export interface ConnectionLimits {
  /** Open connections of the process; 0: no limit. */
  readonly max: number
  /** Open connections from one address; 0: no limit. */
  readonly perAddress: number
  /** As limits by address count it; undefined for a peer that has no limit, such as a proxy. */
  addressOf(peer: string | undefined): string | undefined
}

/** At most one warning in this time. */
const WARNING_INTERVAL_MS = 60_000

/** Closes new connections beyond the limits without a reply, before anything is read from them. */
export function limitConnections(
  server: Server,
  { max, perAddress, addressOf }: ConnectionLimits,
  logger: Logger,
): void {
  const open = new Map<string, number>()
  let refused = 0
  let isQuiet = false

  function warn(setting: string, address: string | undefined): void {
    refused++
    if (!isQuiet) report(setting, address)
  }

  /** @param address the last one that was refused */
  function report(setting: string, address: string | undefined): void {
    isQuiet = true
    logger.warn({ setting, address, refused }, 'refused connections beyond the limit')
    refused = 0
    setTimeout(() => {
      isQuiet = false
      if (refused > 0) report(setting, address)
    }, WARNING_INTERVAL_MS).unref()
  }

  if (max > 0) server.maxConnections = max
  server.on('drop', (peer?: DropArgument) => warn('CONNECTIONS_MAX', peer?.remoteAddress))
  if (perAddress === 0) return
  server.on('connection', (socket: Socket) => {
    const address = addressOf(socket.remoteAddress)
    if (address === undefined) return
    const count = (open.get(address) ?? 0) + 1
    if (count > perAddress) {
      warn('CONNECTIONS_PER_ADDRESS', address)
      socket.destroy()
      return
    }
    open.set(address, count)
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1
      if (left > 0) open.set(address, left)
      else open.delete(address)
    })
  })
}
