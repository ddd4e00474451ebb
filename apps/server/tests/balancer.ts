import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** Spreads connections over servers, each to the next one that takes it, whoever comes and wherever they were before. */
export async function createBalancer(
  ports: readonly number[],
): Promise<AsyncDisposable & { readonly url: string }> {
  const sockets = new Set<Socket>()
  let turn = 0

  function lead(near: Socket, attempts: number): void {
    const port = ports[turn++ % ports.length] as number
    const far = connect(port, '127.0.0.1')
    far.once('connect', () => {
      sockets.add(far)
      near.pipe(far).pipe(near)
      far.on('close', () => near.destroy())
      near.on('close', () => far.destroy())
    })
    far.on('error', () => {
      const wasConnected = sockets.has(far)
      if (!wasConnected && attempts > 1 && !near.destroyed) lead(near, attempts - 1)
      else near.destroy()
    })
    far.on('close', () => sockets.delete(far))
  }

  const server = createServer((near) => {
    sockets.add(near)
    near.on('error', () => near.destroy())
    near.on('close', () => sockets.delete(near))
    lead(near, ports.length)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
