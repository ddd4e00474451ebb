import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Deps } from '@dowell-chat/api'
import type { OpenMode } from './http/caller/openMode.ts'
import type { EventStreams } from './http/streams/eventStreams.ts'
import type { Job } from './jobs/job.ts'

export interface App {
  /**
   * Migrates the database and listens. If that fails, or `close` is called meanwhile, it undoes everything and rejects.
   *
   * @returns the server's URL, the database's location, and a warning for the operator
   */
  start(): Promise<{ url: string; database: string; notice: string | undefined }>
  /** Stops accepting, answers the requests in flight, then closes the database. May be called at any time, and twice. */
  close(): Promise<void>
}

export interface LifecycleOptions {
  readonly deps: Deps
  readonly openMode: OpenMode
  readonly server: Server
  readonly streams: EventStreams
  readonly jobs: readonly Job[]
  readonly listen: { readonly port: number; readonly host: string }
  /** Aborted when the app begins to close. */
  readonly closing: AbortController
}

/**
 * The time that requests in flight have when the server closes. Together with the 5 s for which the last write may wait for
 * a lock, closing stays below the 10 s of common supervisors.
 */
const GRACE_MS = 4_000

/** The time that a failed start has to undo everything: a database may no longer respond. */
const UNDO_MS = 5_000

/** How often connections that became idle are closed. */
const CLOSE_IDLE_MS = 50

/** Starts and closes the parts of the app in order. */
export function createLifecycle(options: LifecycleOptions): App {
  const { deps, openMode, server, streams, jobs, listen, closing } = options
  const timers: NodeJS.Timeout[] = []
  let closed: Promise<void> | undefined

  function close(): Promise<void> {
    closing.abort()
    closed ??= closeInOrder()
    return closed
  }

  async function closeInOrder(): Promise<void> {
    // First: clients of streams reconnect elsewhere while the last requests are answered.
    deps.live.end('shutdown')
    if (server.listening) await closeServer(server)
    deps.live.close()
    streams.close()
    for (const timer of timers) clearInterval(timer)
    for (const job of jobs) if (job.runsAt === 'close') await job.run()
    await deps.db.close()
  }

  function assertNotClosing(): void {
    if (closing.signal.aborted) throw new Error('the server was closed before it had started')
  }

  async function open() {
    await deps.db.migrateToLatest()
    assertNotClosing()
    await deps.db.peers?.join()
    assertNotClosing()
    const notice = await openMode.notice()
    assertNotClosing()
    server.listen(listen.port, listen.host)
    await once(server, 'listening')
    if (closing.signal.aborted) server.close()
    assertNotClosing()
    const { port } = server.address() as AddressInfo
    // From here on nothing can fail.
    for (const job of jobs) {
      if (job.runsAt === 'start') void job.run()
      timers.push(setInterval(job.run, job.intervalMs))
    }
    return { url: `http://${urlHost(listen.host)}:${port}`, database: deps.db.location, notice }
  }

  return {
    async start() {
      try {
        return await open()
      } catch (error) {
        const undone = new AbortController()
        const late = sleep(UNDO_MS, undefined, { signal: undone.signal })
        await Promise.race([close(), late]).catch(() => undefined)
        undone.abort()
        throw error
      }
    },
    close,
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  const deadline = performance.now() + GRACE_MS
  // Node does not close a connection that becomes idle only now.
  while (!(await Promise.race([closed.then(() => true), sleep(CLOSE_IDLE_MS, false)]))) {
    if (performance.now() < deadline) server.closeIdleConnections()
    else server.closeAllConnections()
  }
}

/** The host in a URL for callers on this machine: `0.0.0.0` and `::` cannot be called. */
function urlHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}
