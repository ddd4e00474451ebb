import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'

/**
 * Sends prepared requests one at a time, and parses only status, length and end of a response. A general HTTP client would
 * use more CPU time than the servers.
 */
export class Connection {
  readonly #socket: Socket
  #onResponse: (status: number, bytes: number) => void = () => undefined
  #onFailure: (error: Error) => void = () => undefined
  /** Start of a response whose head is incomplete. */
  #head: Buffer | undefined
  #status = 0
  /** Received bytes of the body. */
  #received = 0
  /** Bytes of the whole body; -1 if chunked; undefined until the head is read. */
  #length: number | undefined
  /** Last bytes of a chunked body. */
  #tail = ''
  /** If set, collects the bytes of responses, for {@link sendOnce}. */
  recorded: Buffer[] | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (data) => {
      this.recorded?.push(data)
      this.#read(data)
    })
    socket.on('error', (error) => this.#onFailure(error))
    socket.on('close', () => this.#onFailure(new Error('the server closed the connection')))
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.removeAllListeners('error')
        resolve(new Connection(socket))
      })
      socket.on('error', reject)
    })
  }

  send(
    bytes: Buffer,
    onResponse: (status: number, bytes: number) => void,
    onFailure: (error: Error) => void,
  ): void {
    this.#onResponse = onResponse
    this.#onFailure = onFailure
    this.#socket.write(bytes)
  }

  close(): void {
    this.#onFailure = () => undefined
    this.#socket.destroy()
  }

  #read(data: Buffer): void {
    let body = data
    if (this.#length === undefined) {
      const buffer = this.#head ? Buffer.concat([this.#head, data]) : data
      const end = buffer.indexOf('\r\n\r\n')
      if (end < 0) {
        this.#head = buffer
        return
      }
      this.#head = undefined
      this.#readHead(buffer.toString('latin1', 0, end))
      body = buffer.subarray(end + 4)
    }
    this.#received += body.length
    if (this.#length === -1) {
      // Nothing follows the last chunk, since requests are not pipelined; JSON contains no raw line breaks.
      this.#tail = (this.#tail + body.toString('latin1', Math.max(0, body.length - 5))).slice(-5)
      if (this.#tail === '0\r\n\r\n') this.#finish()
    } else if (this.#received >= (this.#length ?? 0)) {
      this.#finish()
    }
  }

  #readHead(head: string): void {
    this.#status = Number(head.slice(9, 12))
    this.#received = 0
    this.#tail = ''
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
    if (length !== undefined) this.#length = Number(length)
    else this.#length = this.#status === 304 || this.#status === 204 ? 0 : -1
    if (this.#status === 304) this.#length = 0
  }

  #finish(): void {
    this.#length = undefined
    this.#onResponse(this.#status, this.#received)
  }
}

export interface HttpResponse {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** Sends one request on a new connection. @throws Error without a response within 30 seconds */
export async function sendOnce(port: number, bytes: Buffer): Promise<HttpResponse> {
  const connection = await Connection.open(port)
  connection.recorded = []
  try {
    const status = await new Promise<number>((resolve, reject) => {
      const timeout = setTimeout(() => reject(new Error('no response within 30 seconds')), 30_000)
      const done = (then: () => void) => {
        clearTimeout(timeout)
        then()
      }
      connection.send(
        bytes,
        (status) => done(() => resolve(status)),
        (error) => done(() => reject(error)),
      )
    })
    const whole = Buffer.concat(connection.recorded)
    const end = whole.indexOf('\r\n\r\n')
    const lines = whole.toString('latin1', 0, end).split('\r\n').slice(1)
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    const body = whole.subarray(end + 4)
    const isChunked = headers.get('transfer-encoding') === 'chunked'
    return { status, headers, body: (isChunked ? decodeChunks(body) : body).toString() }
  } finally {
    connection.close()
  }
}

function decodeChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (;;) {
    const end = bytes.indexOf('\r\n', at)
    const length = Number.parseInt(bytes.toString('latin1', at, end), 16)
    if (!(length > 0)) return Buffer.concat(parts)
    parts.push(bytes.subarray(end + 2, end + 2 + length))
    at = end + 2 + length + 2
  }
}
