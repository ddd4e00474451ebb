import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { AppError, type Fields } from '@dowell-chat/api'
import express, { type RequestHandler } from 'express'
import multer, { MulterError } from 'multer'

/** The bytes of a body that were received so far, after decompression. */
export interface ByteMeter {
  bytes: number
}

/** Reads a request's body; undefined when the request has none. */
export type BodyReader<Body> = (req: IncomingMessage, meter: ByteMeter) => Promise<Body | undefined>

/** A request as the parsers leave it. */
type Parsed = IncomingMessage & { body: never }

const JSON_TYPE = 'application/json'
const FORM_TYPE = 'application/x-www-form-urlencoded'
const MULTIPART_TYPE = 'multipart/form-data'

/** No documented request has more than a handful. */
const MAX_FIELDS = 100

/**
 * Reads JSON bodies and, with `forms`, urlencoded and multipart ones, into fields.
 *
 * @param limit bytes; a larger body is refused before it is held in memory
 * @throws AppError PARSE_ERROR, UNSUPPORTED_MEDIA_TYPE or PAYLOAD_TOO_LARGE
 */
export function createBodyReader(limit: number, options: { forms: boolean }): BodyReader<Fields> {
  const readText = createTextReader(limit)
  const multipart = promised(
    multer({
      limits: { fieldSize: limit, fields: MAX_FIELDS, parts: MAX_FIELDS, headerPairs: 100 },
    }).none(),
  )

  return async (req, meter) => {
    if (!hasBody(req)) return undefined
    const type = mediaTypeOf(req)
    if (type === JSON_TYPE) {
      const text = await readText(req, meter)
      return text === '' ? undefined : objectOf(text)
    }
    if (options.forms && type === FORM_TYPE) return fieldsOf(await readText(req, meter))
    if (options.forms && type === MULTIPART_TYPE) {
      assertDeclaredLength(req, limit)
      const watched = watch(req, meter, limit)
      const read = multipart(req).catch((error) => {
        throw fromMultipart(error)
      })
      await whileOpen(req, Promise.race([read, watched.tooLong]))
      if (!watched.isUtf8()) throw new AppError('PARSE_ERROR', { message: UTF8 })
      return lastOfEach((req as Parsed).body)
    }
    throw unsupportedType(options.forms ? [JSON_TYPE, FORM_TYPE, MULTIPART_TYPE] : [JSON_TYPE])
  }
}

/** Reads a JSON body without parsing it. @throws as {@link createBodyReader} */
export function createJsonTextReader(limit: number): BodyReader<string> {
  const readText = createTextReader(limit)
  return async (req, meter) => {
    if (!hasBody(req)) return undefined
    if (mediaTypeOf(req) !== JSON_TYPE) throw unsupportedType([JSON_TYPE])
    return readText(req, meter)
  }
}

/**
 * Parses `a=1&b=2`. The last value of a repeated key counts.
 *
 * @throws AppError PARSE_ERROR when percent-encoded bytes are not UTF-8
 */
export function fieldsOf(pairs: string): Record<string, string> {
  if (pairs === '') return {}
  try {
    // As in browsers, a percent sign that encodes nothing is a percent sign.
    decodeURIComponent(pairs.replace(/%(?![0-9a-f]{2})/gi, ''))
  } catch {
    throw new AppError('PARSE_ERROR', { message: 'What is percent-encoded must be UTF-8' })
  }
  return Object.fromEntries(new URLSearchParams(pairs))
}

function createTextReader(
  limit: number,
): (req: IncomingMessage, meter: ByteMeter) => Promise<string> {
  const inflate = promised(express.raw({ limit, type: () => true }))
  return async (req, meter) => {
    assertDeclaredLength(req, limit)
    const charset = /;\s*charset\s*=\s*"?([^\s;"]*)/i.exec(req.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
      throw new AppError('UNSUPPORTED_MEDIA_TYPE', { message: UTF8 })
    }
    const { 'content-encoding': encoding = 'identity' } = req.headers
    let bytes: Buffer
    if (encoding.toLowerCase() === 'identity') {
      bytes = await whileOpen(req, readBytes(req, meter, limit))
    } else {
      await whileOpen(req, inflate(req))
      bytes = (req as Parsed).body
      meter.bytes = bytes.length
    }
    // Decoding would silently replace each invalid byte by U+FFFD.
    if (!isUtf8(bytes)) throw new AppError('PARSE_ERROR', { message: UTF8 })
    const text = bytes.toString()
    // A byte order mark is not part of the text (RFC 8259, 8.1).
    return text.startsWith('\u{feff}') ? text.slice(1) : text
  }
}

/** Rejects with BAD_REQUEST when the request ends before its body does. Not every parser notices. */
function whileOpen<Body>(req: IncomingMessage, read: Promise<Body>): Promise<Body> {
  const cut = new Promise<never>((_, reject) => {
    const rejectIfCut = () => {
      if (!req.complete) reject(new AppError('BAD_REQUEST'))
    }
    if (req.destroyed) rejectIfCut()
    else req.once('close', rejectIfCut)
  })
  return Promise.race([read, cut])
}

/** @throws AppError PAYLOAD_TOO_LARGE */
function readBytes(req: IncomingMessage, meter: ByteMeter, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const onData = (chunk: Buffer) => {
      meter.bytes += chunk.length
      if (meter.bytes <= limit) chunks.push(chunk)
      else {
        req.off('data', onData)
        reject(new AppError('PAYLOAD_TOO_LARGE'))
      }
    }
    req.on('data', onData)
    req.on('end', () =>
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)),
    )
  })
}

const UTF8 = 'The body must be UTF-8'

/** Checks a body while multer reads it: multer replaces invalid bytes by U+FFFD, and limits each field but not their sum. */
function watch(
  req: IncomingMessage,
  meter: ByteMeter,
  limit: number,
): { isUtf8(): boolean; tooLong: Promise<never> } {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let isValid = true
  const tooLong = new Promise<never>((_, reject) => {
    req.on('data', (chunk: Buffer) => {
      meter.bytes += chunk.length
      if (meter.bytes > limit) {
        req.unpipe()
        reject(new AppError('PAYLOAD_TOO_LARGE'))
      }
      try {
        decoder.decode(chunk, { stream: true })
      } catch {
        isValid = false
      }
    })
  })
  return { isUtf8: () => isValid, tooLong }
}

/** Refuses a body by its Content-Length before it is read. @throws AppError PAYLOAD_TOO_LARGE */
function assertDeclaredLength(req: IncomingMessage, limit: number): void {
  if (Number(req.headers['content-length']) > limit) throw new AppError('PAYLOAD_TOO_LARGE')
}

function unsupportedType(supported: string[]): AppError {
  return new AppError('UNSUPPORTED_MEDIA_TYPE', {
    message: `The content type of the body must be ${supported.join(', ')}`,
  })
}

/** Without parameters. A missing Content-Type yields ''. */
function mediaTypeOf(req: IncomingMessage): string {
  return (req.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

export function hasBody(req: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = req.headers
  return encoding !== undefined || (length !== undefined && Number(length) !== 0)
}

function objectOf(text: string): Fields {
  const body = parse(text)
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Fields
  throw new AppError('PARSE_ERROR', { message: 'The body must be a JSON object' })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('PARSE_ERROR', { cause })
  }
}

/** The last value of a repeated field counts. */
function lastOfEach(body: Fields): Fields {
  return Object.fromEntries(
    Object.entries(body ?? {}).map(([key, value]) => [
      key,
      Array.isArray(value) ? value.at(-1) : value,
    ]),
  )
}

function fromMultipart(error: unknown): unknown {
  if (error instanceof MulterError) {
    if (error.code === 'LIMIT_UNEXPECTED_FILE') {
      const field = error.field ?? 'body'
      return new AppError('BAD_REQUEST', { errors: { [field]: ['must be text, not a file'] } })
    }
    if (error.code.startsWith('LIMIT_')) return new AppError('PAYLOAD_TOO_LARGE')
  }
  // busboy's errors for malformed bodies have no status.
  return new AppError('PARSE_ERROR', { cause: error })
}

/** The parsers use nothing that express adds to a request, and no response. */
function promised(middleware: RequestHandler): (req: IncomingMessage) => Promise<void> {
  return (req) =>
    new Promise((resolve, reject) => {
      middleware(req as never, undefined as never, (error?: unknown) =>
        error ? reject(error) : resolve(),
      )
    })
}
