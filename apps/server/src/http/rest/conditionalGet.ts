import type { Buffer } from 'node:buffer'
import { hash } from 'node:crypto'
import { type AtVersion, encodeOnce, type Fields, toJson, Unchanged } from '@dowell-chat/api'
import { LRUCache } from 'lru-cache'
import { type HeaderList, jsonReply, type MessageReply } from '../core/reply.ts'
import type { HttpRequest } from '../core/request.ts'
import { toUtf8 } from '../core/utf8.ts'

interface Representation {
  readonly body: Buffer
  /** Strong: the same tag is the same bytes. */
  readonly tag: string
}

export interface Read {
  /** Equal for equal input, regardless of the caller. */
  readonly key: string
  /** Returns the output, or throws {@link Unchanged} when `atVersion` does. */
  run(atVersion: AtVersion): Promise<unknown>
  /** Returns the object in the output that has a version; undefined for an output without one. */
  resource?: ((output: never) => Versioned) | undefined
  /** Called with the bytes of each output that was encoded, sent or not. */
  charge(bytes: number): Promise<void>
}

/** An object with a version, which its entity tag ends with. */
export interface Versioned {
  readonly version: number
}

export type ConditionalGet = (
  request: Pick<HttpRequest, 'raw'>,
  read: Read,
) => Promise<MessageReply>

/** The tag of a read's output, and the version that it had. */
interface KnownTag {
  readonly version: string
  readonly tag: string
}

/** Tags that are kept, and the characters of their longest key. Together they take about 30 MB. */
const MAX_TAGS = 50_000
const MAX_KEY_CHARS = 300

/** A strong tag. That of an object with a version ends with it, for If-Match. */
export function entityTag(json: string | Buffer, resource?: Versioned): string {
  const version = resource ? `.${resource.version}` : ''
  return `"${hash('sha256', json, 'base64url')}${version}"`
}

export function readKey(operation: string, fields: Fields): string {
  return `${operation} ${JSON.stringify(fields)}`
}

/**
 * Serves reads with an entity tag, and with 304 if the client's tag matches. A browser may keep a reply and must revalidate
 * it; proxies do not store it.
 *
 * A tag is a hash of the body, with the version of an object that has one. For an output with a version, such as a room's, the tag is kept by version: while nothing
 * changes, a conditional read reads no content.
 */
export function createConditionalGet(): ConditionalGet {
  const tags = new LRUCache<string, KnownTag>({ max: MAX_TAGS })

  return async ({ raw }, { key, run, resource, charge }) => {
    const condition = raw.headers['if-none-match']
    let version: string | undefined
    const atVersion: AtVersion = (current) => {
      version = current
      if (condition === undefined) return
      const known = tags.get(key)
      if (known?.version === current && matches(condition, known.tag)) {
        throw new Unchanged(known.tag)
      }
    }
    let representation: Representation
    try {
      const output = (await run(atVersion)) as object
      representation = represent(output, resource?.(output as never))
    } catch (error) {
      if (!(error instanceof Unchanged)) throw error
      return notModified(error.message)
    }
    const { body, tag } = representation
    if (version !== undefined && key.length <= MAX_KEY_CHARS) tags.set(key, { version, tag })
    await charge(body.length)
    if (matches(condition, tag)) return notModified(tag)
    return jsonReply(200, body, [
      ...cacheHeaders(tag),
      'Content-Type',
      'application/json; charset=utf-8',
    ])
  }
}

function represent(output: object, resource: Versioned | undefined): Representation {
  if (resource) return encode(output, resource)
  // Frozen outputs are shared between readers.
  return Object.isFrozen(output)
    ? encodeOnce(output, 'rest', (shared) => encode(shared))
    : encode(output)
}

function encode(output: object, resource?: Versioned): Representation {
  const body = toUtf8(toJson(output))
  return { body, tag: entityTag(body, resource) }
}

function notModified(tag: string): MessageReply {
  return { status: 304, headers: cacheHeaders(tag) }
}

function cacheHeaders(tag: string): HeaderList {
  return ['Cache-Control', 'private, no-cache', 'ETag', tag]
}

/** Whether an If-None-Match names the tag. Proxies that compress make a tag weak (RFC 9110, 13.1.2). */
function matches(condition: string | undefined, tag: string): boolean {
  if (condition === undefined) return false
  if (condition === tag || condition.trim() === '*') return true
  return condition.match(/"[^"]*"/g)?.includes(tag) ?? false
}
