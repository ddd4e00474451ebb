import { readFileSync } from 'node:fs'

// What Linux tells of a process; undefined elsewhere.

/** User and system time of a process, all of its threads together, in microseconds. Linux tells it in ticks of 10 ms. */
export function cpuTime(pid: number): number | undefined {
  const stat = readOf(pid, 'stat')
  // The second field is the command, in brackets, and may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields && (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** Bytes. */
export function residentMemory(pid: number): number | undefined {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readOf(pid, 'status') ?? '')?.[1]
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
}

function readOf(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return undefined
  }
}
