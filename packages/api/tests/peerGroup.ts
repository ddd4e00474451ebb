import type { Peers } from '@dowell-chat/db'

/** Processes that hear each other at once, as long as both are connected. Where they are processes is tested elsewhere. */
export function createPeerGroup() {
  interface Member {
    isConnected: boolean
    readonly hear: Set<(topic: string, body: unknown, from: string) => void>
    readonly joined: Set<() => void>
  }
  const members = new Map<string, Member>()

  function memberOf({ self }: Peers): Member {
    const member = members.get(self)
    if (!member) throw new Error('this one is no member')
    return member
  }

  return {
    join(): Peers {
      const self = `instance ${members.size}`
      const own: Member = { isConnected: false, hear: new Set(), joined: new Set() }
      members.set(self, own)
      return {
        self,
        join: async () => undefined,
        send(topic, body) {
          if (!own.isConnected) return
          const text = JSON.stringify(body)
          for (const [name, { isConnected, hear }] of members) {
            if (name === self || !isConnected) continue
            for (const listen of hear) listen(topic, JSON.parse(text), self)
          }
        },
        on(topic, listener) {
          const listen = (about: string, body: unknown, from: string) => {
            if (about === topic) listener(body, from)
          }
          own.hear.add(listen)
          return () => own.hear.delete(listen)
        },
        onJoin(listener) {
          own.joined.add(listener)
          return () => own.joined.delete(listener)
        },
      }
    },
    /** Once more as well. */
    connect(peers: Peers): void {
      const member = memberOf(peers)
      member.isConnected = true
      for (const listener of member.joined) listener()
    },
    cut(peers: Peers): void {
      memberOf(peers).isConnected = false
    },
  }
}
