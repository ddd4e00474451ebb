import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'

/**
 * A connection that sends requests made beforehand, one at a time, and of an answer reads no more than it must: the
 * status, the length, the end. A general HTTP client costs more than the servers that it would measure.
 */
export class Connection {
  readonly #socket: Socket
  #onAnswer: (status: number, bytes: number) => void = () => undefined
  #onFailure: (error: Error) => void = () => undefined
  /** The beginning of an answer whose head is not complete yet. */
  #head: Buffer | undefined
  #status = 0
  /** Bytes of the body so far. */
  #received = 0
  /** Bytes of the body in all; -1 when it comes in chunks; undefined while the head is not read. */
  #length: number | undefined
  /** The last bytes of a body in chunks. */
  #tail = ''
  /** Set: whole answers are kept, for {@link once}. */
  keep: Buffer[] | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (data) => {
      this.keep?.push(data)
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
    onAnswer: (status: number, bytes: number) => void,
    onFailure: (error: Error) => void,
  ): void {
    this.#onAnswer = onAnswer
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
      // With one request at a time nothing follows the last chunk, and JSON has no line breaks that could look like it.
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
    this.#onAnswer(this.#status, this.#received)
  }
}

export interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** Sends one request on a connection of its own and reads the whole answer. */
export async function once(port: number, bytes: Buffer): Promise<Answer> {
  const connection = await Connection.open(port)
  connection.keep = []
  try {
    const status = await new Promise<number>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('no answer within 30 seconds')), 30_000)
      const done = (then: () => void) => {
        clearTimeout(late)
        then()
      }
      connection.send(
        bytes,
        (answered) => done(() => resolve(answered)),
        (error) => done(() => reject(error)),
      )
    })
    const whole = Buffer.concat(connection.keep)
    const end = whole.indexOf('\r\n\r\n')
    const lines = whole.toString('latin1', 0, end).split('\r\n').slice(1)
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    const rest = whole.subarray(end + 4)
    const chunked = headers.get('transfer-encoding') === 'chunked'
    return { status, headers, body: (chunked ? unchunk(rest) : rest).toString() }
  } finally {
    connection.close()
  }
}

function unchunk(bytes: Buffer): Buffer {
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
