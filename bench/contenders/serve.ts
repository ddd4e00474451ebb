import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** `sqlite:` and a path, or a PostgreSQL server. */
export function databaseUrl(): string {
  return process.env.DATABASE_URL ?? ''
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
