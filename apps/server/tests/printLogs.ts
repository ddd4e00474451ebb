import { afterAll, afterEach } from 'vitest'
import { takeServerLogs } from './serverLogs.ts'

// A setup file: it runs before each test file.

afterEach(({ task }) => {
  const logs = takeServerLogs()
  if (task.result?.state === 'fail') print(`${task.name}\n${logs}`)
})

// A hook that fails skips its tests, so no test prints why.
// biome-ignore lint/correctness/noEmptyPattern: vitest takes fixtures from this pattern
afterAll(({}, suite) => {
  const logs = takeServerLogs()
  if (hasFailed(suite)) print(logs)
})

interface Task {
  readonly result?: { readonly state: string }
  readonly tasks?: readonly Task[]
}

function hasFailed({ result, tasks = [] }: Task): boolean {
  return result?.state === 'fail' || tasks.some(hasFailed)
}

function print(text: string): void {
  process.stderr.write(`${text}\n`)
}
