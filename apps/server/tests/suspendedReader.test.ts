import { expect, test } from 'vitest'
import { EventReader } from './eventReader.ts'
import { spawnHere } from './serverProcess.ts'
import { createTestApp, openRoom } from './support.ts'

/** Follows a room as its customer, with the typed client. */
const FOLLOW = `
import { createDowellChat } from '@dowell-chat/client'
const [, url, roomId] = process.argv
const chat = createDowellChat({ url })
chat.room(roomId, { readerId: 'ABCD12345', readerSide: false }).subscribe({
  onEvent() {},
  onError(error) { throw error },
})
`

test('a suspended client is absent within 60 seconds, and present again when it goes on', async () => {
  let ahead = 0
  // Heartbeats come quickly; the clock says how long there was none.
  const app = await createTestApp({}, { clock: () => Date.now() + ahead, streamHeartbeat: 100 })
  await using _ = app
  const roomId = await openRoom(app)
  await using watcher = await EventReader.open(app, `/api/v3/rooms/${roomId}/events`)
  const customerIs = async (isPresent: boolean) => {
    while ((await watcher.nextOf('presence')).customer !== isPresent);
  }
  await customerIs(false)
  const args = ['--input-type=module', '-e', FOLLOW, app.url, roomId]
  const { child, ended } = spawnHere(args)
  try {
    await customerIs(true)
    // It sends heartbeats, so time alone does not end its presence.
    const sent = () => app.log.filter(({ req }) => JSON.stringify(req).includes('sendHeartbeat'))
    await expect.poll(() => sent().length).toBeGreaterThan(3)
    ahead += 45_000
    await expect.poll(() => sent().length).toBeGreaterThan(6)

    child.kill('SIGSTOP')
    const before = sent().length
    // Those that were under way have arrived once several rounds of heartbeats brought no more.
    await using other = await EventReader.open(app, `/api/v3/rooms/${roomId}/events`)
    for (let beats = 0; beats < 5; ) {
      const frame = await other.frame()
      if (frame?.data?.includes('"heartbeat"')) beats++
    }
    expect(sent().length - before).toBeLessThan(3)
    ahead += 45_000
    await customerIs(false)
    child.kill('SIGCONT')
    await customerIs(true)
  } finally {
    child.kill('SIGKILL')
    await ended
  }
})
