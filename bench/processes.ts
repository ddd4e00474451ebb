import { readFileSync } from 'node:fs'

// Figures from Linux's /proc; undefined on other systems.

/** Returns user and system time of a process, in microseconds with a resolution of 10 ms. */
export function cpuTime(pid: number): number | undefined {
  return readTimes(pid)?.own
}

/** Returns the CPU time of a process and its children, including ended ones (µs). */
export function familyCpuTime(pid: number): number | undefined {
  const times = readTimes(pid)
  const children = readProc(pid, `task/${pid}/children`)?.trim().split(' ').filter(Boolean)
  if (!times || !children) return undefined
  const running = children.map((child) => cpuTime(Number(child)) ?? 0)
  return running.reduce((sum, time) => sum + time, times.own + times.ended)
}

/** Returns the CPU times of a process itself and of its ended children (µs). */
function readTimes(pid: number): { own: number; ended: number } | undefined {
  const stat = readProc(pid, 'stat')
  // The second field, the command in brackets, may contain spaces and brackets.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  const at = (index: number) => Number(fields?.[index]) * 10_000
  return fields && { own: at(11) + at(12), ended: at(13) + at(14) }
}

/** Returns the resident memory of a process in bytes. */
export function residentMemory(pid: number): number | undefined {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readProc(pid, 'status') ?? '')?.[1]
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
}

function readProc(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return undefined
  }
}
