import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'

/**
 * Runs a shell script when this process ends, however it ends: a process that is killed runs no code of its own.
 *
 * The script waits for the end of a pipe that only this process holds. A session of its own keeps Ctrl+C from it.
 *
 * @returns cancels the script
 */
function atEnd(script: string, ...args: string[]): () => void {
  const shell = spawn('sh', ['-c', `trap '' INT TERM HUP; read -r _; ${script}`, 'sh', ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  // Without a shell, as on Windows, a killed run leaves its servers behind.
  shell.on('error', () => undefined)
  shell.unref()
  // The type hides that a pipe is a socket.
  ;(shell.stdin as Socket).unref()
  return () => void shell.kill('SIGKILL')
}

/** Kills a child when this process ends. */
export function killAtEnd(child: ChildProcess): void {
  // Without a pid it could not be started.
  if (child.pid === undefined) return
  const cancel = atEnd('kill -KILL "$1"', `${child.pid}`)
  child.once('exit', cancel)
}

/**
 * Stops the PostgreSQL server of a data folder when this process ends, and removes the folder and its standby.
 *
 * @returns cancels that
 */
export function stopPostgresAtEnd(folder: string): () => void {
  return atEnd(
    `
    tries=0
    while [ $tries -lt 100 ]; do
      tries=$((tries + 1))
      # An immediate shutdown: unlike SIGKILL it removes the shared memory.
      if pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null; then
        sleep 0.1
      else
        rm -rf "$1" "$1-standby" && exit
      fi
    done`,
    folder,
  )
}
