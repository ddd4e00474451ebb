import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface BadProxy extends AsyncDisposable {
  readonly url: string
  /** How often each harm was done. */
  readonly harm: Readonly<Record<Harm, number>>
  /** Does no more harm. */
  calm(): void
}

type Harm = 'cut' | 'halfClose' | 'delay'

/**
 * A way to a server that is as bad as a train's: connections are cut, end in one direction only, or stand still, at random.
 *
 * @param port where the server is
 */
export async function createBadProxy(port: number): Promise<BadProxy> {
  const harm = { cut: 0, halfClose: 0, delay: 0 }
  const sockets = new Set<Socket>()
  let isCalm = false

  /** Whether something happens that does in one of so many parts. */
  const happens = (what: Harm, oneIn: number) => {
    if (isCalm || Math.random() * oneIn > 1) return false
    harm[what]++
    return true
  }

  function pass(from: Socket, to: Socket): void {
    from.on('data', (part) => {
      if (happens('cut', 60)) {
        // In the middle of what it has to say, mostly; and nothing after that, which TCP would never do.
        from.removeAllListeners('data').pause()
        to.write(part.subarray(0, Math.floor(Math.random() * part.length)), () => {
          from.destroy()
          to.destroy()
        })
        return
      }
      to.write(part)
      if (happens('halfClose', 150)) to.end()
      else if (happens('delay', 20)) {
        from.pause()
        setTimeout(() => from.resume(), Math.random() * 300)
      }
    })
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
  }

  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    for (const socket of [near, far]) sockets.add(socket)
    pass(near, far)
    pass(far, near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    harm,
    calm() {
      isCalm = true
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
