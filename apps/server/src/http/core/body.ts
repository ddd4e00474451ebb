import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { AppError, badField, type Fields } from '@dowell-chat/api'
import { Busboy } from '@fastify/busboy'
import express from 'express'
import { firstEvent } from './firstEvent.ts'

/** The bytes of a body that were received so far, after decompression. */
export interface ByteMeter {
  bytes: number
}

/**
 * Reads a request's body; undefined when the request has none.
 *
 * @param checkJson called with the text of a JSON body that was parsed
 */
export type BodyReader<Body> = (
  req: IncomingMessage,
  meter: ByteMeter,
  checkJson?: (text: string) => void,
) => Promise<Body | undefined>

/** A request as the parsers leave it. */
type Parsed = IncomingMessage & { body: never }

const JSON_TYPE = 'application/json'
const MERGE_PATCH_TYPE = 'application/merge-patch+json'
const FORM_TYPE = 'application/x-www-form-urlencoded'
const MULTIPART_TYPE = 'multipart/form-data'

/** No documented request has more than a handful. */
const MAX_FIELDS = 100

/**
 * Reads JSON bodies, those of PATCH also as merge patches, and, with `forms`, urlencoded and multipart ones, into fields.
 *
 * @param limit bytes; a larger body is refused before it is held in memory
 * @throws AppError PARSE_ERROR, UNSUPPORTED_MEDIA_TYPE or PAYLOAD_TOO_LARGE
 */
export function createBodyReader(limit: number, options: { forms: boolean }): BodyReader<Fields> {
  const readBytes = createBytesReader(limit)
  return async (req, meter, checkJson) => {
    if (!(await hasBody(req))) return undefined
    const type = mediaTypeOf(req)
    if (type === JSON_TYPE || (req.method === 'PATCH' && isMergePatch(req))) {
      const text = textOf(req, await readBytes(req, meter))
      if (text === '') return undefined
      const fields = objectOf(text)
      checkJson?.(text)
      return fields
    }
    if (options.forms && type === FORM_TYPE)
      return fieldsOf(textOf(req, await readBytes(req, meter)))
    if (options.forms && type === MULTIPART_TYPE) {
      return readMultipart(req, await readBytes(req, meter), limit)
    }
    if (options.forms) throw unsupportedType([JSON_TYPE, FORM_TYPE, MULTIPART_TYPE])
    throw unsupportedType(req.method === 'PATCH' ? [JSON_TYPE, MERGE_PATCH_TYPE] : [JSON_TYPE])
  }
}

/** Reads a JSON body without parsing it. @throws as {@link createBodyReader} */
export function createJsonTextReader(limit: number): BodyReader<string> {
  const readBytes = createBytesReader(limit)
  return async (req, meter) => {
    if (!(await hasBody(req))) return undefined
    if (mediaTypeOf(req) !== JSON_TYPE) throw unsupportedType([JSON_TYPE])
    return textOf(req, await readBytes(req, meter))
  }
}

/**
 * Parses `a=1&b=2`. The last value of a repeated key counts.
 *
 * @throws AppError PARSE_ERROR when percent-encoded bytes are not UTF-8
 */
export function fieldsOf(pairs: string): Record<string, string> {
  return Object.fromEntries(pairsOf(pairs))
}

/** The same with every value. @throws as {@link fieldsOf} */
export function pairsOf(pairs: string): [name: string, value: string][] {
  if (pairs === '') return []
  try {
    // As in browsers, a percent sign that encodes nothing is a percent sign.
    decodeURIComponent(pairs.replace(/%(?![0-9a-f]{2})/gi, ''))
  } catch {
    throw new AppError('PARSE_ERROR', { message: 'What is percent-encoded must be UTF-8' })
  }
  return [...new URLSearchParams(pairs)]
}

/** As `Content-Encoding` has them. The last two mean the same (RFC 9110, 8.4.1.3). */
const CODINGS = ['identity', 'deflate', 'br', 'gzip', 'x-gzip']

/** Reads the bytes of a body, decompressed. They are UTF-8: decoding would silently replace each invalid byte by U+FFFD. */
function createBytesReader(
  limit: number,
): (req: IncomingMessage, meter: ByteMeter) => Promise<Buffer> {
  const parse = express.raw({ limit, type: () => true })
  // The parser uses nothing that express adds to a request, and no response.
  const inflate = (req: IncomingMessage) =>
    new Promise<Buffer>((resolve, reject) => {
      parse(req as never, undefined as never, (error?: unknown) =>
        error ? reject(error) : resolve((req as Parsed).body),
      )
    })
  return async (req, meter) => {
    if (Number(req.headers['content-length']) > limit) throw new AppError('PAYLOAD_TOO_LARGE')
    const coding = (req.headers['content-encoding'] ?? 'identity').toLowerCase()
    if (!CODINGS.includes(coding)) {
      throw new AppError('UNSUPPORTED_MEDIA_TYPE', {
        message: `The content encoding of the body must be one of ${CODINGS.join(', ')}`,
      })
    }
    let bytes: Buffer
    if (coding === 'identity') bytes = await whileOpen(req, readPlain(req, meter, limit))
    else {
      if (coding === 'x-gzip') req.headers['content-encoding'] = 'gzip'
      bytes = await whileOpen(req, inflate(req))
      meter.bytes = bytes.length
    }
    if (!isUtf8(bytes)) throw new AppError('PARSE_ERROR', { message: UTF8 })
    return bytes
  }
}

/** @throws AppError UNSUPPORTED_MEDIA_TYPE for another charset */
function textOf({ headers }: IncomingMessage, bytes: Buffer): string {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]*)/i.exec(headers['content-type'] ?? '')?.[1]
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', { message: UTF8 })
  }
  const text = bytes.toString()
  // A byte order mark is not part of the text (RFC 8259, 8.1).
  return text.startsWith('\u{feff}') ? text.slice(1) : text
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
function readPlain(req: IncomingMessage, meter: ByteMeter, limit: number): Promise<Buffer> {
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

/**
 * Parses a multipart form into fields. The last value of a repeated field counts.
 *
 * @throws AppError PARSE_ERROR, PAYLOAD_TOO_LARGE, or BAD_REQUEST for a file
 */
function readMultipart(
  { headers }: IncomingMessage,
  bytes: Buffer,
  limit: number,
): Promise<Record<string, string>> {
  return new Promise<Record<string, string>>((resolve, reject) => {
    const fields: [name: string, value: string][] = []
    const parser = new Busboy({
      headers: { 'content-type': headers['content-type'] ?? '' },
      limits: { fieldSize: limit, fields: MAX_FIELDS, parts: MAX_FIELDS, headerPairs: 100 },
    })
    parser.on('field', (name, value) => fields.push([name, value]))
    parser.on('file', (name, file) => {
      file.resume()
      reject(badField(name || 'body', 'must be text, not a file'))
    })
    for (const event of ['partsLimit', 'fieldsLimit'] as const) {
      parser.on(event, () => reject(new AppError('PAYLOAD_TOO_LARGE')))
    }
    parser.on('error', reject)
    parser.on('finish', () => resolve(Object.fromEntries(fields)))
    parser.end(bytes)
  }).catch((error: unknown) => {
    throw error instanceof AppError ? error : new AppError('PARSE_ERROR', { cause: error })
  })
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

/** Whether the body is a JSON merge patch (RFC 7396). */
export function isMergePatch(req: IncomingMessage): boolean {
  return mediaTypeOf(req) === MERGE_PATCH_TYPE
}

/**
 * Whether a request has a body of at least one byte. Proxies send an empty body in chunks, without a Content-Type: its type
 * says nothing.
 *
 * @throws AppError BAD_REQUEST when the client leaves before the first byte
 */
export async function hasBody(req: IncomingMessage): Promise<boolean> {
  const { 'content-length': length, 'transfer-encoding': coding } = req.headers
  if (coding === undefined) return length !== undefined && Number(length) !== 0
  await whileOpen(req, firstEvent(req, ['readable', 'end']))
  return req.readableLength > 0
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
