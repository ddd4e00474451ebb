import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** Sends reads and writes at a steady rate, whatever becomes of those before, and tells how long each took. */
export interface ProbeJob {
  readonly port: number
  /** The Authorization header. */
  readonly authorization: string
  /** Rooms that are read and written to in turn. */
  readonly roomIds: readonly string[]
  /** Requests a second. */
  readonly rate: number
  /** Milliseconds. */
  readonly duration: number
}

export interface ProbeOutcome {
  /** Milliseconds from when a request was due to the end of its answer, in the order in which they were due. */
  readonly times: readonly number[]
  /** Answers that were neither 200 nor 201, and requests without an answer. */
  readonly errors: number
}

const agent = new Agent({ keepAlive: true })

async function ask(job: ProbeJob, number: number): Promise<boolean> {
  const room = job.roomIds[number % job.roomIds.length]
  const path = `/api/v3/rooms/${room}/messages`
  const body = JSON.stringify({ messageData: `probe ${number}`, side: true, author: 'probe' })
  const writes = number % 5 === 0
  return new Promise((resolve) => {
    const sent = request(
      {
        agent,
        port: job.port,
        host: '127.0.0.1',
        method: writes ? 'POST' : 'GET',
        path,
        headers: { Authorization: job.authorization, 'Content-Type': 'application/json' },
      },
      (res) => {
        res.resume()
        res.on('end', () => resolve(res.statusCode === 200 || res.statusCode === 201))
        res.on('error', () => resolve(false))
      },
    )
    sent.on('error', () => resolve(false))
    sent.end(writes ? body : undefined)
  })
}

async function probe(job: ProbeJob): Promise<ProbeOutcome> {
  const begun = performance.now()
  const times: number[] = []
  const asked: Promise<void>[] = []
  let errors = 0
  for (let number = 0; ; number++) {
    const due = begun + (1000 * number) / job.rate
    if (due - begun >= job.duration) break
    await sleep(Math.max(0, due - performance.now()))
    asked.push(
      ask(job, number).then((isRight) => {
        times[number] = performance.now() - due
        if (!isRight) errors++
      }),
    )
  }
  await Promise.all(asked)
  return { times, errors }
}

process.on('message', async (job: ProbeJob) => process.send?.(await probe(job)))
process.on('disconnect', () => process.exit())
