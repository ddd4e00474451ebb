/** Work that a running server repeats. */
export interface Job {
  readonly intervalMs: number
  /** Whether it also runs when the server starts, or when it closes. */
  readonly runsAt: 'start' | 'close'
  /** Never rejects: it logs. */
  run(): Promise<void>
}
