/** Runs asynchronous jobs one at a time, in the order of the calls. */
export class Mutex {
  #last: Promise<void> | undefined

  get isLocked(): boolean {
    return this.#last !== undefined
  }

  run<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#last === undefined ? job() : this.#last.then(job)
    const last: Promise<void> = result.then(
      () => this.#unlock(last),
      () => this.#unlock(last),
    )
    this.#last = last
    return result
  }

  #unlock(last: Promise<void>): void {
    if (this.#last === last) this.#last = undefined
  }
}
