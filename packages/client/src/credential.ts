import { DowellChatError } from './error.ts'

type Send = typeof fetch
type HeaderValues = Record<string, string>

export interface CredentialOptions {
  /** Headers for every request, or a function that is asked before each. */
  readonly headers?: HeaderValues | (() => HeaderValues | Promise<HeaderValues>)
  /**
   * Answers a user token. Asked when there is none yet, before each connection for events, and when the server refused
   * the last one.
   */
  readonly token?: () => string | Promise<string>
  /** Stands in for the global fetch. */
  readonly fetch?: Send
}

/** Adds the credential to requests, and renews it. */
export class Credential {
  readonly #options: CredentialOptions
  #token: Promise<string> | undefined
  #identity: string | undefined
  /** Told when requests begin to go out under another identity. */
  onIdentity = (): void => {}

  constructor(options: CredentialOptions) {
    this.#options = options
  }

  /**
   * Names whoever the last request was for, the same in every tab of a browser: two callers with one identity see the same
   * events. Undefined before the first request, and where the credential does not tell.
   */
  get identity(): string | undefined {
    return this.#identity
  }

  /** A fetch with the credential. When that is refused it asks for a new one, once. */
  readonly fetch: Send = async (input, init) => {
    const used = this.#ask()
    const response = await this.#send(input, init)
    if (response.status !== 401 || !this.#canRenew) return response
    // Unless another request has done so meanwhile.
    if (this.#token === used) this.renew()
    await response.body?.cancel()
    return this.#send(input, init)
  }

  /** Asks for a new token with the next request. */
  renew(): void {
    this.#token = undefined
  }

  /** Finds out the identity. */
  async identify(): Promise<void> {
    await this.#headers()
  }

  get #canRenew(): boolean {
    return this.#options.token !== undefined || typeof this.#options.headers === 'function'
  }

  async #send(input: Parameters<Send>[0], init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    for (const [name, value] of await this.#headers()) headers.set(name, value)
    const { fetch: send = fetch } = this.#options
    return send(input, { ...init, headers })
  }

  async #headers(): Promise<Headers> {
    const { headers } = this.#options
    const found = new Headers(typeof headers === 'function' ? await headers() : headers)
    const token = await this.#ask()
    if (token !== undefined) found.set('Authorization', `Bearer ${token}`)
    const identity = this.#identityOf(found.get('Authorization'))
    if (identity !== this.#identity) {
      this.#identity = identity
      this.onIdentity()
    }
    return found
  }

  /** Requests of one moment share one question. */
  #ask(): Promise<string> | undefined {
    const { token } = this.#options
    if (this.#token || !token) return this.#token
    const asked = (async () => token())().catch((cause) => {
      throw new DowellChatError('NETWORK', 'There is no token', { cause })
    })
    this.#token = asked
    asked.catch(() => {
      if (this.#token === asked) this.#token = undefined
    })
    return asked
  }

  #identityOf(authorization: string | null): string | undefined {
    if (authorization !== null) return userOf(authorization)
    // A fetch of the caller's own may add what we do not see.
    return this.#options.fetch ? undefined : 'nobody'
  }
}

/**
 * What a user token says of its user; undefined for an API key, which tells nothing that is not secret. The token is not
 * verified: whoever forges one reaches no more by it than their own tabs.
 */
function userOf(authorization: string): string | undefined {
  try {
    const [, payload = ''] = authorization.split('.')
    const text = atob(payload.replaceAll('-', '+').replaceAll('_', '/'))
    const { org, sub, side, rooms } = JSON.parse(text)
    return typeof org === 'string' ? JSON.stringify([org, sub, side, rooms]) : undefined
  } catch {
    return undefined
  }
}
