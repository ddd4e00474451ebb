import { isUtf8 } from 'node:buffer'
import { AppError, type Fields } from '@dowell-chat/api'
import express, { type RequestHandler } from 'express'
import multer, { MulterError } from 'multer'
import type { Incoming, Outgoing } from './request.ts'

/** Reads a request's body into fields; undefined when the request has none. */
export type BodyReader = (req: Incoming, res: Outgoing) => Promise<Fields | undefined>

/** A body as the parsers leave it. */
type Parsed = Incoming & { body: never }

const JSON_TYPE = 'application/json'
const FORM_TYPE = 'application/x-www-form-urlencoded'
const MULTIPART_TYPE = 'multipart/form-data'

/** No documented request has more than a handful. */
const MAX_FIELDS = 100

/**
 * Reads JSON bodies and, where forms are welcome, urlencoded and multipart ones.
 *
 * @param limit bytes; a larger body is refused with 413 before it is held in memory
 * @throws AppError PARSE_ERROR, UNSUPPORTED_MEDIA_TYPE or PAYLOAD_TOO_LARGE
 */
export function createBodyReader(limit: number, options: { forms: boolean }): BodyReader {
  const readText = createTextReader(limit)
  const multipart = promised(
    multer({
      limits: { fieldSize: limit, fields: MAX_FIELDS, parts: MAX_FIELDS, headerPairs: 100 },
    }).none(),
  )

  return async (req, res) => {
    if (!hasBody(req)) return undefined
    const type = mediaTypeOf(req)
    if (type === JSON_TYPE) {
      const text = await readText(req, res)
      return text === '' ? undefined : objectOf(text)
    }
    if (options.forms && type === FORM_TYPE) return fieldsOf(await readText(req, res))
    if (options.forms && type === MULTIPART_TYPE) {
      refuseLong(req, limit)
      const watched = watch(req, res, limit)
      const read = multipart(req, res).catch((error) => {
        throw fromMultipart(error)
      })
      await Promise.race([read, watched.tooLong])
      if (!watched.isUtf8()) throw new AppError('PARSE_ERROR', { message: UTF8 })
      return lastOfEach((req as Parsed).body)
    }
    throw unsupportedType(options.forms ? [JSON_TYPE, FORM_TYPE, MULTIPART_TYPE] : [JSON_TYPE])
  }
}

/** Reads a body as it was sent, for tRPC, which parses it itself. @throws the same */
export function createJsonTextReader(
  limit: number,
): (req: Incoming, res: Outgoing) => Promise<string | undefined> {
  const readText = createTextReader(limit)
  return async (req, res) => {
    if (!hasBody(req)) return undefined
    if (mediaTypeOf(req) !== JSON_TYPE) throw unsupportedType([JSON_TYPE])
    return readText(req, res)
  }
}

/**
 * `a=1&b=2` as fields. Of a key that was given twice the last one counts.
 *
 * @throws AppError PARSE_ERROR when what is percent-encoded is not UTF-8
 */
export function fieldsOf(pairs: string): Record<string, string> {
  if (pairs === '') return {}
  try {
    // A percent sign that encodes nothing stands for itself, as browsers have it.
    decodeURIComponent(pairs.replace(/%(?![0-9a-f]{2})/gi, ''))
  } catch {
    throw new AppError('PARSE_ERROR', { message: 'What is percent-encoded must be UTF-8' })
  }
  return Object.fromEntries(new URLSearchParams(pairs))
}

function createTextReader(limit: number): (req: Incoming, res: Outgoing) => Promise<string> {
  const inflate = promised(express.raw({ limit, type: () => true }))
  return async (req, res) => {
    refuseLong(req, limit)
    const charset = /;\s*charset\s*=\s*"?([^\s;"]*)/i.exec(req.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
      throw new AppError('UNSUPPORTED_MEDIA_TYPE', { message: UTF8 })
    }
    const { 'content-encoding': encoding = 'identity' } = req.headers
    let bytes: Buffer
    if (encoding.toLowerCase() === 'identity') bytes = await readBytes(req, res, limit)
    else {
      await inflate(req, res)
      bytes = (req as Parsed).body
      res.locals.received = bytes.length
    }
    // Otherwise every broken byte would be stored as U+FFFD without a word.
    if (!isUtf8(bytes)) throw new AppError('PARSE_ERROR', { message: UTF8 })
    const text = bytes.toString()
    // What some editors and libraries begin UTF-8 with is none of the text (RFC 8259, 8.1).
    return text.startsWith('\u{feff}') ? text.slice(1) : text
  }
}

/** @throws AppError PAYLOAD_TOO_LARGE as soon as it is; BAD_REQUEST when the caller left in the middle */
function readBytes(req: Incoming, { locals }: Outgoing, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const take = (chunk: Buffer) => {
      length += chunk.length
      locals.received = length
      if (length <= limit) chunks.push(chunk)
      else {
        req.off('data', take)
        reject(new AppError('PAYLOAD_TOO_LARGE'))
      }
    }
    req.on('data', take)
    req.on('end', () =>
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)),
    )
    req.on('close', () => {
      if (!req.complete) reject(new AppError('BAD_REQUEST'))
    })
  })
}

const UTF8 = 'The body must be UTF-8'

/**
 * Looks at a body while multer reads it, which takes broken bytes for U+FFFD and limits each field but not all of them
 * together.
 */
function watch(
  req: Incoming,
  { locals }: Outgoing,
  limit: number,
): { isUtf8(): boolean; tooLong: Promise<never> } {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let good = true
  let length = 0
  const tooLong = new Promise<never>((_, reject) => {
    req.on('data', (chunk: Buffer) => {
      length += chunk.length
      locals.received = length
      if (length > limit) {
        req.unpipe()
        reject(new AppError('PAYLOAD_TOO_LARGE'))
      }
      try {
        decoder.decode(chunk, { stream: true })
      } catch {
        good = false
      }
    })
  })
  return { isUtf8: () => good, tooLong }
}

/** Saves reading a body that says itself that it is too large. */
function refuseLong(req: Incoming, limit: number): void {
  if (Number(req.headers['content-length']) > limit) throw new AppError('PAYLOAD_TOO_LARGE')
}

function unsupportedType(welcome: string[]): AppError {
  return new AppError('UNSUPPORTED_MEDIA_TYPE', {
    message: `The content type of the body must be ${welcome.join(', ')}`,
  })
}

/** Without parameters; a body that does not say what it is has none. */
function mediaTypeOf(req: Incoming): string {
  return (req.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

export function hasBody(req: Incoming): boolean {
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

/** A field that was sent twice counts as it was sent last. */
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
  // What busboy says of a malformed body; it has no status of its own.
  return new AppError('PARSE_ERROR', { cause: error })
}

/** The parsers look at nothing that express adds. */
function promised(middleware: RequestHandler): (req: Incoming, res: Outgoing) => Promise<void> {
  return (req, res) =>
    new Promise((resolve, reject) => {
      middleware(req as never, res as never, (error?: unknown) =>
        error ? reject(error) : resolve(),
      )
    })
}
