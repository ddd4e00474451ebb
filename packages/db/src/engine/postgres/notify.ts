import pg from 'pg'
import type { NotificationConnection } from '../peers.ts'
import { type Settings, setAll } from './config.ts'

/** The channel of all processes on one database. */
const CHANNEL = 'dowell_chat'

/** Opens a connection that has begun to listen when this resolves. */
export async function listen(
  config: pg.ClientConfig,
  settings: Settings,
  onMessage: (payload: string) => void,
  onClient: (client: pg.Client) => void,
): Promise<NotificationConnection> {
  const client = new pg.Client(config)
  onClient(client)
  const lost = new Promise<void>((resolve) =>
    client.on('error', () => resolve()).on('end', resolve),
  )
  client.on('notification', ({ payload }) => onMessage(payload ?? ''))
  try {
    await client.connect()
    await client.query(`listen ${CHANNEL}; ${setAll(settings)}`)
  } catch (error) {
    await client.end().catch(() => undefined)
    throw error
  }
  return {
    lost,
    async send(payloads) {
      const text = `select pg_notify('${CHANNEL}', notice) from unnest($1::text[]) as notice`
      await client.query({ name: 'notify', text, values: [payloads] })
    },
    end: () => client.end(),
  }
}
