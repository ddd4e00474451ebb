import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

// A process that sends reads and writes at a steady rate, without waiting for earlier ones, and reports each duration.

export interface ProbeJob {
  readonly port: number
  /** Authorization header. */
  readonly authorization: string
  /** Rooms, used in turn. */
  readonly roomIds: readonly string[]
  /** Requests per second. */
  readonly rate: number
  readonly durationMs: number
}

export interface ProbeOutcome {
  /** Times from the due time of each request to the end of its response (ms), in due order. */
  readonly times: readonly number[]
  /** Responses other than 200 and 201, and failed requests. */
  readonly errors: number
}

const agent = new Agent({ keepAlive: true })

async function send(job: ProbeJob, number: number): Promise<boolean> {
  const room = job.roomIds[number % job.roomIds.length]
  const path = `/api/v3/rooms/${room}/messages`
  const body = JSON.stringify({ messageData: `probe ${number}`, side: true, author: 'probe' })
  const isWrite = number % 5 === 0
  return new Promise((resolve) => {
    const req = request(
      {
        agent,
        port: job.port,
        host: '127.0.0.1',
        method: isWrite ? 'POST' : 'GET',
        path,
        headers: { Authorization: job.authorization, 'Content-Type': 'application/json' },
      },
      (res) => {
        res.resume()
        res.on('end', () => resolve(res.statusCode === 200 || res.statusCode === 201))
        res.on('error', () => resolve(false))
      },
    )
    req.on('error', () => resolve(false))
    req.end(isWrite ? body : undefined)
  })
}

async function probe(job: ProbeJob): Promise<ProbeOutcome> {
  const begin = performance.now()
  const times: number[] = []
  const sent: Promise<void>[] = []
  let errors = 0
  for (let number = 0; ; number++) {
    const due = begin + (1000 * number) / job.rate
    if (due - begin >= job.durationMs) break
    await sleep(Math.max(0, due - performance.now()))
    sent.push(
      send(job, number).then((isCorrect) => {
        times[number] = performance.now() - due
        if (!isCorrect) errors++
      }),
    )
  }
  await Promise.all(sent)
  return { times, errors }
}

process.on('message', async (job: ProbeJob) => process.send?.(await probe(job)))
process.on('disconnect', () => process.exit())
