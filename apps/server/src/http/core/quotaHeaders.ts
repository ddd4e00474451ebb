/** How much of one quota is left. */
export interface QuotaState {
  readonly limit: number
  readonly windowSeconds: number
  readonly remaining: number
  readonly resetSeconds: number
}

/** The quotas that a request has used so far, for the headers of its reply. */
export class QuotaHeaders {
  #states: Map<string, QuotaState> | undefined

  set(name: string, state: QuotaState): void {
    this.#states ??= new Map()
    this.#states.set(name, state)
  }

  /** Both headers are lists. https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ */
  appendTo(headers: string[]): void {
    if (!this.#states) return
    let policies = ''
    let states = ''
    for (const [name, { limit, windowSeconds, remaining, resetSeconds }] of this.#states) {
      const separator = policies === '' ? '' : ', '
      policies += `${separator}"${name}";q=${limit};w=${windowSeconds}`
      states += `${separator}"${name}";r=${remaining};t=${resetSeconds}`
    }
    headers.push('RateLimit-Policy', policies, 'RateLimit', states)
  }
}
