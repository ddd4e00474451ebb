import type { Buffer } from 'node:buffer'
import { hash } from 'node:crypto'
import { toJson } from '@dowell-chat/api'
import { bytesOf } from './bytes.ts'
import { answer, type Incoming, type Outgoing, sendHead } from './exchange.ts'

/** An answer as it is sent. */
interface Written {
  readonly body: Buffer
  /** Strong: the same tag is the same bytes. */
  readonly tag: string
}

/** Answers a read. */
export type AnswerRead = (req: Incoming, res: Outgoing, output: unknown) => void

/**
 * Answers reads with an entity tag, and with 304 who has the same bytes already. A browser may keep an answer and must ask
 * each time whether it still holds; nobody between may keep it.
 */
export function createReadAnswers(): AnswerRead {
  // A frozen answer is one that others get as well.
  const kept = new WeakMap<object, Written>()

  function written(output: object): Written {
    const known = kept.get(output)
    if (known) return known
    const body = bytesOf(toJson(output))
    const made = { body, tag: `"${hash('sha256', body, 'base64url')}"` }
    if (Object.isFrozen(output)) kept.set(output, made)
    return made
  }

  return (req, res, output) => {
    const { body, tag } = written(output as object)
    const headers = ['Cache-Control', 'private, no-cache', 'ETag', tag]
    if (names(req.headers['if-none-match'], tag)) {
      sendHead(res, 304, undefined, headers)
      res.end()
    } else answer(res, 200, body, [...headers, 'Content-Type', 'application/json; charset=utf-8'])
  }
}

/** Whether an If-None-Match names the tag; proxies that compress make a tag weak (RFC 9110, 13.1.2). */
function names(condition: string | undefined, tag: string): boolean {
  if (condition === undefined) return false
  if (condition === tag || condition.trim() === '*') return true
  return condition.match(/"[^"]*"/g)?.includes(tag) ?? false
}
