import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Returns `DATABASE_URL`: `sqlite:` and a path, or a PostgreSQL URL. */
export function databaseUrl(): string {
  return process.env.DATABASE_URL ?? ''
}

/** Listens on a free port, prints the URL that the benchmark waits for, and stops on SIGTERM. */
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
