/** A piece of this length of a secret, wherever it is found, is a leak. */
export const PIECE = 20

/** Credentials that may be nowhere but with whom they were given to. */
export class Secrets {
  readonly #titles = new Map<string, string>()

  /** @returns the credential */
  keep(title: string, credential: string): string {
    for (const piece of piecesOf(credential)) {
      if (!this.#titles.has(piece)) this.#titles.set(piece, title)
    }
    return credential
  }

  /** The titles of those of which a text has a piece. */
  leaksIn(text: string): string[] {
    const found = new Set<string>()
    for (let at = 0; at + PIECE <= text.length; at++) {
      const title = this.#titles.get(text.slice(at, at + PIECE))
      if (title) found.add(title)
    }
    return [...found]
  }
}

/** Every piece of a key's random part, in each way of writing it, or of what a token says and is signed with. */
function piecesOf(credential: string): string[] {
  const key = /^dck_[0-9a-f]{24}_(.{43}).{8}$/.exec(credential)?.[1]
  const bytes = Buffer.from(key ?? '', 'base64url')
  const texts = key
    ? [credential.slice('dck_'.length + 25), bytes.toString('hex'), bytes.toString('base64')]
    : credential.split('.').slice(1)
  return texts.flatMap((text) =>
    Array.from({ length: text.length - PIECE + 1 }, (_, at) => text.slice(at, at + PIECE)),
  )
}
