import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** How the proxy treats the bytes that a client sends. */
export type Way =
  | 'through'
  /** Nothing arrives, and nothing is answered, not even the end of a connection. */
  | 'held'
  /** A commit is cut off before the server has it. */
  | 'no commit'
  /** A commit arrives, and its answer does not. */
  | 'no answer to a commit'

export interface TestProxy extends AsyncDisposable {
  /** The same URL through the proxy. */
  readonly url: string
  way: Way
  /** Ends every connection and takes no new one. */
  down(): Promise<void>
  up(): Promise<void>
}

/** A TCP proxy before a PostgreSQL server. */
export async function createProxy(target: string): Promise<TestProxy> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    return socket
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect(Number(port), hostname)
    let isCutOff = false
    const cut = () => {
      client.destroy()
      upstream.destroy()
    }
    keep(client).on('close', cut)
    keep(upstream).on('close', cut)
    client.on('end', () => {
      if (proxy.way !== 'held') cut()
    })
    client.on('data', (part) => {
      if (proxy.way === 'held') return
      if (part.includes('commit')) {
        if (proxy.way === 'no commit') return cut()
        isCutOff = proxy.way === 'no answer to a commit'
      }
      upstream.write(part)
    })
    upstream.on('data', (part) => {
      if (isCutOff) return cut()
      client.write(part)
    })
  })
  const listen = async (at: number) => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
  }
  const down = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await listen(0)
  const own = (server.address() as AddressInfo).port
  const url = new URL(target)
  url.host = `127.0.0.1:${own}`
  const proxy: TestProxy = {
    url: url.href,
    way: 'through',
    down,
    up: () => listen(own),
    [Symbol.asyncDispose]: down,
  }
  return proxy
}
