import type { CopyProgress } from '@dowell-chat/db'
import cliProgress from 'cli-progress'

/** Shows the progress of a copy on stderr: a bar, or a line every 5 seconds without a terminal. */
export function createProgressBar() {
  const bar = new cliProgress.SingleBar({
    format: '{step} [{bar}] {percentage}%  {value} of {total} rows  {eta_formatted} left  {table}',
    barsize: 30,
    // A killed process could not restore the terminal.
    linewrap: true,
    noTTYOutput: true,
    notTTYSchedule: 5_000,
    emptyOnZero: true,
  })
  let step: string | undefined
  return {
    show({ done, total, ...words }: CopyProgress) {
      if (words.step === step) {
        bar.update(done, words)
        return
      }
      bar.stop()
      bar.start(total, done, words)
      step = words.step
    },
    stop: () => bar.stop(),
  }
}
