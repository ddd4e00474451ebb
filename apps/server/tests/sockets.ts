import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { networkInterfaces } from 'node:os'

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of any shape
  readonly json: any
}

/**
 * One request with exactly these headers: unlike fetch, this may name any Host and Origin, or a header twice.
 */
export async function request(
  url: string,
  options: http.RequestOptions & { body?: string } = {},
): Promise<Answer> {
  const { body, ...rest } = options
  const req = http.request(url, { agent: false, ...rest })
  req.end(body)
  const [res] = (await once(req, 'response')) as [http.IncomingMessage]
  let text = ''
  for await (const chunk of res.setEncoding('utf8')) text += chunk
  return { status: res.statusCode ?? 0, headers: res.headers, text, json: parsed(text) }
}

/** Everything that the server says to these bytes until it closes the connection. The client's half stays open. */
export async function converse(url: string, bytes: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = net.connect({ host: hostname.replace(/[[\]]/g, ''), port: Number(port) })
  socket.setEncoding('utf8')
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  const closed = closeOf(socket)
  socket.write(bytes)
  await closed
  return text
}

/** Waits for the end of a connection, however it comes: a reset is the server's good right. */
export function closeOf(socket: net.Socket): Promise<void> {
  socket.on('error', () => undefined)
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** The answers in what `converse` heard. */
export function answersIn(text: string): Answer[] {
  const answers: Answer[] = []
  let rest = text
  while (rest.startsWith('HTTP/1.1 ')) {
    const end = rest.indexOf('\r\n\r\n')
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n')
    const headers = Object.fromEntries(
      lines.map((line) => {
        const [name = '', ...value] = line.split(': ')
        return [name.toLowerCase(), value.join(': ')]
      }),
    )
    const length = Number(headers['content-length'] ?? 0)
    const body = rest.slice(end + 4, end + 4 + length)
    answers.push({ status: Number(first.split(' ')[1]), headers, text: body, json: parsed(body) })
    rest = rest.slice(end + 4 + length)
  }
  return answers
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])

/** An IPv4 address of this machine that is not loopback, if it has one. */
export const ownAddress = addresses.find((a) => a.family === 'IPv4' && !a.internal)?.address

export const hasIPv6 = addresses.some((a) => a.address === '::1')

/** The same server by another of its addresses. */
export function at(url: string, host: string): string {
  return `http://${host}:${new URL(url).port}`
}

/** A port that nobody listens on, at least a moment ago. */
export async function freePort(): Promise<number> {
  await using taken = net.createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  return (taken.address() as net.AddressInfo).port
}

export async function isListening(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1')
  const isOpen = await new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
  })
  socket.destroy()
  return isOpen
}
