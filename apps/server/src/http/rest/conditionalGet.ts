import type { Buffer } from 'node:buffer'
import { hash } from 'node:crypto'
import { type AtVersion, toJson, Unchanged } from '@dowell-chat/api'
import { LRUCache } from 'lru-cache'
import { answer, type Incoming, type Outgoing, sendHead } from '../core/request.ts'
import { bytesOf } from '../core/utf8.ts'

/** An answer as it is sent. */
interface Written {
  readonly body: Buffer
  /** Strong: the same tag is the same bytes. */
  readonly tag: string
}

/** A read: what it is called by, and how its answer is made. */
export interface Read {
  /** The same for the same question, whoever asks. */
  readonly question: string
  /** Answers, or throws {@link Unchanged} when `atVersion` says so. */
  answer(atVersion: AtVersion): Promise<unknown>
  /** Told how many bytes of an answer were made, whether or not they are sent. */
  charge(bytes: number): Promise<void>
}

/** Answers a read. */
export type AnswerRead = (req: Incoming, res: Outgoing, read: Read) => Promise<void>

/** What a question was answered with, and at which version. */
interface Known {
  readonly version: string
  readonly tag: string
}

/** Questions whose tags are known, and the characters of the longest one. Together they take about 30 MB. */
const MAX_KNOWN = 50_000
const MAX_QUESTION = 300

/**
 * Answers reads with an entity tag, and with 304 if the client's tag matches. A browser may keep an answer and must ask
 * each time whether it still holds; proxies do not store it.
 *
 * A tag is made of the bytes of an answer. Of an answer whose version is known, such as a room's, the tag is known without
 * making the answer again: while nothing changes, a conditional read reads no content.
 */
export function createReadAnswers(): AnswerRead {
  // A frozen answer is one that others get as well.
  const kept = new WeakMap<object, Written>()
  const tags = new LRUCache<string, Known>({ max: MAX_KNOWN })

  function written(output: object): Written {
    const known = kept.get(output)
    if (known) return known
    const body = bytesOf(toJson(output))
    const made = { body, tag: `"${hash('sha256', body, 'base64url')}"` }
    if (Object.isFrozen(output)) kept.set(output, made)
    return made
  }

  return async (req, res, { question, answer: make, charge }) => {
    const condition = req.headers['if-none-match']
    let version: string | undefined
    const atVersion: AtVersion = (current) => {
      version = current
      if (condition === undefined) return
      const known = tags.get(question)
      if (known?.version === current && names(condition, known.tag)) throw new Unchanged(known.tag)
    }
    let made: Written
    try {
      made = written((await make(atVersion)) as object)
    } catch (error) {
      if (!(error instanceof Unchanged)) throw error
      sendUnchanged(res, error.message)
      return
    }
    const { body, tag } = made
    if (version !== undefined && question.length <= MAX_QUESTION) {
      tags.set(question, { version, tag })
    }
    await charge(body.length)
    if (names(condition, tag)) sendUnchanged(res, tag)
    else {
      answer(res, 200, body, [
        ...readHeaders(tag),
        'Content-Type',
        'application/json; charset=utf-8',
      ])
    }
  }
}

function sendUnchanged(res: Outgoing, tag: string): void {
  sendHead(res, 304, undefined, readHeaders(tag))
  res.end()
}

function readHeaders(tag: string): string[] {
  return ['Cache-Control', 'private, no-cache', 'ETag', tag]
}

/** Whether an If-None-Match names the tag; proxies that compress make a tag weak (RFC 9110, 13.1.2). */
function names(condition: string | undefined, tag: string): boolean {
  if (condition === undefined) return false
  if (condition === tag || condition.trim() === '*') return true
  return condition.match(/"[^"]*"/g)?.includes(tag) ?? false
}
