import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The file that DATABASE_URL names. */
export function databaseFile(): string {
  const url = process.env.DATABASE_URL ?? ''
  if (!url.startsWith('sqlite:')) throw new Error('DATABASE_URL must be sqlite: and a path')
  return url.slice('sqlite:'.length)
}

/** Listens on a free port, says so in the words that the bench waits for, and ends at SIGTERM. */
export function serve(server: Server, close: () => void): void {
  server.keepAliveTimeout = 65_000
  server.listen(0, '127.0.0.1', () => {
    process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`)
  })
  process.once('SIGTERM', () => {
    server.close(close)
    server.closeAllConnections()
  })
}
