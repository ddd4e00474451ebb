/** True if the browser reports that it is offline; false outside of browsers. */
export function isOffline(): boolean {
  return 'navigator' in globalThis && 'onLine' in navigator && navigator.onLine === false
}

/** Calls back when the browser comes online; never outside of browsers. @returns a function that removes the listener */
export function onOnline(listener: () => void): () => void {
  const target = globalThis as Partial<
    Pick<EventTarget, 'addEventListener' | 'removeEventListener'>
  >
  target.addEventListener?.('online', listener)
  return () => target.removeEventListener?.('online', listener)
}
