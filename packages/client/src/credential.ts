import { DowellChatError } from './error.ts'

type Fetch = typeof fetch
type HeaderValues = Record<string, string>

/** How a client authenticates, and sends its requests. */
export interface CredentialOptions {
  /** Headers for every request, or a function that is called before each. */
  readonly headers?: HeaderValues | (() => HeaderValues | Promise<HeaderValues>)
  /** Returns a user token. Called for the first request, before each event stream, and once after a 401. */
  readonly token?: () => string | Promise<string>
  /** Replaces the global fetch. */
  readonly fetch?: Fetch
}

/** Adds the credential to requests and renews it after a 401. */
export class Credential {
  readonly #options: CredentialOptions
  #token: Promise<string> | undefined
  #identity: string | undefined
  /** Called when requests start to use another identity. */
  onIdentityChange = (): void => {}

  constructor(options: CredentialOptions) {
    this.#options = options
  }

  /**
   * Identity of the last request's user, equal in every tab: two clients with one identity may read the same events.
   * Undefined before the first request, and if the credential does not reveal it.
   */
  get identity(): string | undefined {
    return this.#identity
  }

  /** Fetches with the credential. After a 401 it renews the credential and retries once. */
  readonly fetch: Fetch = async (input, init) => {
    const used = this.#getToken()
    const response = await this.#send(input, init)
    if (response.status !== 401 || !this.#canRenew) return response
    // A concurrent request may have renewed it already.
    if (this.#token === used) this.discardToken()
    await response.body?.cancel()
    return this.#send(input, init)
  }

  /** Makes the next request get a new token. */
  discardToken(): void {
    this.#token = undefined
  }

  /** Determines the identity without a request. @throws DowellChatError `NETWORK` if the token function fails */
  async resolveIdentity(): Promise<void> {
    await this.#createHeaders()
  }

  get #canRenew(): boolean {
    return this.#options.token !== undefined || typeof this.#options.headers === 'function'
  }

  async #send(input: Parameters<Fetch>[0], init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    for (const [name, value] of await this.#createHeaders()) headers.set(name, value)
    const { fetch: send = fetch } = this.#options
    return send(input, { ...init, headers })
  }

  async #createHeaders(): Promise<Headers> {
    const { headers } = this.#options
    const created = new Headers(typeof headers === 'function' ? await headers() : headers)
    const token = await this.#getToken()
    if (token !== undefined) created.set('Authorization', `Bearer ${token}`)
    const identity = this.#identityFrom(created.get('Authorization'))
    if (identity !== this.#identity) {
      this.#identity = identity
      this.onIdentityChange()
    }
    return created
  }

  /** Returns the current token. Concurrent requests share one call of the token function. */
  #getToken(): Promise<string> | undefined {
    const { token } = this.#options
    if (this.#token || !token) return this.#token
    const pending = (async () => token())().catch((cause) => {
      throw new DowellChatError('NETWORK', 'The token function failed', { cause })
    })
    this.#token = pending
    pending.catch(() => {
      if (this.#token === pending) this.#token = undefined
    })
    return pending
  }

  #identityFrom(authorization: string | null): string | undefined {
    if (authorization !== null) return identityFromToken(authorization)
    // A custom fetch may add a credential that is not visible here.
    return this.#options.fetch ? undefined : 'anonymous'
  }
}

/**
 * Returns the identity in a user token; undefined for an API key, which contains only a secret. The token is not verified:
 * a forged one reaches only tabs of its own browser.
 */
function identityFromToken(authorization: string): string | undefined {
  try {
    const [, payload = ''] = authorization.split('.')
    const text = atob(payload.replaceAll('-', '+').replaceAll('_', '/'))
    const { org, sub, side, rooms } = JSON.parse(text)
    return typeof org === 'string' ? JSON.stringify([org, sub, side, rooms]) : undefined
  } catch {
    return undefined
  }
}
