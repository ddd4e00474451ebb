import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { operationNamed, type StreamName, streamNames } from '@dowell-chat/api'
import type { SentHeaders } from './http.ts'

/** One server-sent event as it stands in the stream. */
export interface Frame {
  readonly id?: string
  readonly event?: string
  readonly data?: string
  readonly retry?: string
}

// biome-ignore lint/suspicious/noExplicitAny: a test looks into events of every kind
export type Told = any

/** Reads a stream of server-sent events. What nobody has asked for yet waits. */
export class EventReader implements AsyncDisposable {
  readonly response: IncomingMessage
  readonly #request: ClientRequest
  #text = ''
  #frames: Frame[] = []
  #ended = false
  #wake: () => void = () => undefined

  private constructor(req: ClientRequest, response: IncomingMessage) {
    this.#request = req
    this.response = response
    response.setEncoding('utf8')
    response.on('data', (part: string) => this.#read(part))
    // A cut is an end like any other.
    response.on('error', () => undefined)
    response.on('close', () => {
      this.#ended = true
      this.#wake()
    })
  }

  static async open(
    { url }: { url: string },
    path: string,
    headers: SentHeaders = {},
  ): Promise<EventReader> {
    const req = request(`${url}${path}`, { agent: false, headers })
    req.end()
    const [response] = (await once(req, 'response')) as [IncomingMessage]
    req.on('error', () => undefined)
    return new EventReader(req, response)
  }

  get status(): number {
    return this.response.statusCode ?? 0
  }

  get isOpen(): boolean {
    return !this.#ended
  }

  /** The next frame; undefined when the stream has ended. */
  async frame(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.#frames.shift()
      if (frame || this.#ended) return frame
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** What the next event says; undefined when the stream has ended. Heartbeats are passed over. */
  async next(): Promise<Told> {
    for (;;) {
      const frame = await this.frame()
      if (!frame) return undefined
      if (frame.data === undefined || frame.event !== undefined) continue
      const told = superjsonOrPlain(JSON.parse(frame.data))
      if (told.type !== 'heartbeat') return told
    }
  }

  /** The next event of one of these types; those before it are passed over. */
  async nextOf(...types: string[]): Promise<Told> {
    for (;;) {
      const told = await this.next()
      if (told === undefined || types.includes(told.type)) return told
    }
  }

  /** All that is still to come. */
  async rest(): Promise<Told[]> {
    const all: Told[] = []
    for (let told = await this.next(); told; told = await this.next()) all.push(told)
    return all
  }

  close(): void {
    this.#request.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  #read(part: string): void {
    const frames = (this.#text + part).split('\n\n')
    this.#text = frames.pop() ?? ''
    for (const text of frames) {
      const fields = text.split('\n').map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')]
      })
      this.#frames.push(Object.fromEntries(fields))
    }
    this.#wake()
  }
}

function superjsonOrPlain(told: Told): Told {
  return told.json ?? told
}

/** Where a subscription is found on tRPC's wire. */
export function trpcPath(name: StreamName, input: unknown): string {
  return `/trpc/${name}?input=${encodeURIComponent(JSON.stringify({ json: input }))}`
}

/** One surface over which a stream can be opened. */
export interface StreamVariant {
  readonly name: StreamName
  readonly title: string
  /** @param query what else the URL has */
  open(
    app: { url: string },
    input: Record<string, unknown>,
    headers?: SentHeaders,
    query?: string,
  ): Promise<EventReader>
}

export const streamVariants: readonly StreamVariant[] = streamNames.flatMap((name) => [
  {
    name,
    title: `v3 ${name}`,
    open: (app, input, headers, query = '') =>
      EventReader.open(app, restPath(name, input) + query, headers),
  },
  {
    name,
    title: `tRPC ${name}`,
    open: (app, input, headers, query = '') =>
      EventReader.open(app, trpcPath(name, input) + query, headers),
  },
])

function restPath(name: StreamName, input: Record<string, unknown>): string {
  const rest = { ...input }
  const path = operationNamed(name).rest.path.replace(/\{(\w+)\}/g, (_, key: string) => {
    const value = String(rest[key])
    delete rest[key]
    return encodeURIComponent(value)
  })
  return `${path}?${new URLSearchParams(rest as Record<string, string>)}`
}

/** What a stream says first: 200, or the status of the failure that is told in its place. */
export async function outcomeOfStream(reader: EventReader): Promise<number> {
  if (reader.status !== 200) return reader.status
  for (let frame = await reader.frame(); frame; frame = await reader.frame()) {
    if (frame.event === 'serialized-error') return JSON.parse(frame.data ?? '').json.data.httpStatus
    if (frame.data?.includes('"ready"')) return 200
  }
  throw new Error('a stream ended without a word')
}
