import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What the descriptors of this process are. */
export interface Descriptors {
  readonly socket: number
  readonly pipe: number
  readonly eventfd: number
  readonly file: number
  /** epoll, timerfd, io_uring and whatever else the kernel has. */
  readonly other: number
}

/** Counts the descriptors of this process by kind; Linux only. */
export function descriptorsByKind(): Descriptors {
  const counts = { socket: 0, pipe: 0, eventfd: 0, file: 0, other: 0 }
  for (const name of readdirSync('/proc/self/fd')) {
    const kind = kindOf(name)
    if (kind !== null) counts[kind] += 1
  }
  return counts
}

function kindOf(name: string): keyof Descriptors | null {
  let target: string
  try {
    target = readlinkSync(`/proc/self/fd/${name}`)
  } catch {
    // It was the one that reads the list.
    return null
  }
  if (target.startsWith('socket:')) return 'socket'
  if (target.startsWith('pipe:')) return 'pipe'
  if (target.startsWith('anon_inode:[eventfd')) return 'eventfd'
  return target.startsWith('/') ? 'file' : 'other'
}

/** What keeps the event loop alive, each kind with its number. */
export function activeResources(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo().sort()) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

/** A state of the kernel's table of TCP connections. */
export type TcpState = 'SYN-SENT' | 'TIME-WAIT'
const tcpStates: Readonly<Record<TcpState, string>> = { 'SYN-SENT': '02', 'TIME-WAIT': '06' }

/** The IPv4 connections of this machine, or of this process's namespace, as `local port>remote port`. */
export function connectionsIn(state: TcpState): string[] {
  const rows = readFileSync('/proc/net/tcp', 'latin1').trim().split('\n').slice(1)
  return rows.flatMap(row => {
    const [, local = '', remote = '', at] = row.trim().split(/\s+/)
    return at === tcpStates[state] ? [`${portOf(local)}>${portOf(remote)}`] : []
  })
}

function portOf(address: string): string {
  return String(Number.parseInt(address.split(':')[1] ?? '', 16))
}

const pollMs = 5

/** Waits until `holds`, looking again and again; false when that took longer than `limitMs`. */
export async function becomes(holds: () => boolean, limitMs = 5_000): Promise<boolean> {
  const limit = performance.now() + limitMs
  while (!holds()) {
    if (performance.now() > limit) return false
    await sleep(pollMs)
  }
  return true
}

/** `work`, or a failure with this text once `limitMs` are over. */
export async function within<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    late.reject(new Error(`${what}: not within ${String(limitMs)} ms`))
  }, limitMs)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** The bytes that this process holds once the collector has run, and its resident ones. */
export async function memoryInUse(): Promise<MemoryInUse> {
  // What was freed is counted as such only some turns later.
  for (let round = 0; round < 4; round++) {
    collectGarbage()
    await sleep(pollMs)
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { kept: heapUsed + external, resident: rss }
}

export interface MemoryInUse {
  readonly kept: number
  readonly resident: number
}

let collector: unknown
/** Runs the collector. */
export function collectGarbage(): void {
  if (collector === undefined) {
    setFlagsFromString('--expose-gc')
    collector = runInNewContext('gc')
  }
  if (typeof collector === 'function') collector()
}
