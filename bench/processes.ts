import { readFileSync } from 'node:fs'

// What Linux tells of a process; undefined elsewhere.

/** User and system time of a process, all of its threads together, in microseconds. Linux tells it in ticks of 10 ms. */
export function cpuTime(pid: number): number | undefined {
  return timesOf(pid)?.own
}

/** The same of a process and its children, those that ended included. */
export function familyCpuTime(pid: number): number | undefined {
  const times = timesOf(pid)
  const children = readOf(pid, `task/${pid}/children`)?.trim().split(' ').filter(Boolean)
  if (!times || !children) return undefined
  const living = children.map((child) => cpuTime(Number(child)) ?? 0)
  return living.reduce((sum, time) => sum + time, times.own + times.ended)
}

/** Of a process, and of its children that ended. */
function timesOf(pid: number): { own: number; ended: number } | undefined {
  const stat = readOf(pid, 'stat')
  // The second field is the command, in brackets, and may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  const at = (index: number) => Number(fields?.[index]) * 10_000
  return fields && { own: at(11) + at(12), ended: at(13) + at(14) }
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
