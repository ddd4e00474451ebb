import type { Peers } from '@dowell-chat/db'

/** Simulated instances: messages arrive at once, as long as both sides are connected. */
export function createPeerGroup() {
  interface Member {
    isConnected: boolean
    readonly listeners: Set<(topic: string, body: unknown, from: string) => void>
    readonly joined: Set<() => void>
  }
  const members = new Map<string, Member>()

  function memberOf({ self }: Peers): Member {
    const member = members.get(self)
    if (!member) throw new Error('not a member of this group')
    return member
  }

  return {
    join(): Peers {
      const self = `instance ${members.size}`
      const own: Member = { isConnected: false, listeners: new Set(), joined: new Set() }
      members.set(self, own)
      return {
        self,
        join: async () => undefined,
        send(topic, body) {
          if (!own.isConnected) return
          const text = JSON.stringify(body)
          for (const [name, { isConnected, listeners }] of members) {
            if (name === self || !isConnected) continue
            for (const listen of listeners) listen(topic, JSON.parse(text), self)
          }
        },
        on(topic, listener) {
          const listen = (messageTopic: string, body: unknown, from: string) => {
            if (messageTopic === topic) listener(body, from)
          }
          own.listeners.add(listen)
          return () => own.listeners.delete(listen)
        },
        onJoin(listener) {
          own.joined.add(listener)
          return () => own.joined.delete(listener)
        },
      }
    },
    /** May be called again. */
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
