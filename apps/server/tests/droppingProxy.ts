import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface DroppingProxy extends AsyncDisposable {
  readonly url: string
  /** How many answers were dropped so far. */
  readonly dropped: number
}

/**
 * A proxy that drops answers: the server has done what it was asked, and the client does not learn of it. It drops the
 * first answer and every second one after it of the requests that match.
 *
 * @param matches the method and the URL of a request, as in `POST /trpc/createMessage`
 */
export async function createDroppingProxy(target: string, matches: RegExp): Promise<DroppingProxy> {
  const { hostname, port } = new URL(target)
  let matched = 0
  let dropped = 0
  const server = createServer((req, res) => {
    const { method, url: path, headers } = req
    const isDropped = matches.test(`${method} ${path}`) && matched++ % 2 === 0
    const onward = request({ hostname, port, method, path, headers, agent: false }, (answer) => {
      if (isDropped) {
        answer.resume().once('close', () => {
          dropped++
          req.socket.destroy()
        })
        return
      }
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      res.flushHeaders()
      answer.on('error', () => res.destroy())
      answer.pipe(res)
    })
    onward.on('error', () => req.socket.destroy())
    res.on('close', () => onward.destroy())
    req.pipe(onward)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get dropped() {
      return dropped
    },
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
