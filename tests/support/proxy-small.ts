/**
 * An engine in a process of its own, for a test that exhausts it: inbounds as JSON in the first
 * argument, policy in the second. Says its port, and on any message how it stands.
 */
import { readdirSync } from 'node:fs'
import { Proxy, type ProxySetup } from './proxy-bench.ts'

export interface Standing {
  readonly flows: number
  readonly bugs: readonly string[]
  readonly descriptors: number
  /** Ended flows, by `reason code stage`. */
  readonly ended: Readonly<Record<string, number>>
  readonly faults: number
}

const setup: ProxySetup = JSON.parse(process.argv[2] ?? '')
const proxy = await Proxy.start(setup)
process.on('message', () => {
  const ended: Record<string, number> = {}
  for (const { reason, code, stage } of proxy.records) {
    const key = `${reason} ${String(code)} ${stage}`
    ended[key] = (ended[key] ?? 0) + 1
  }
  const standing: Standing = {
    flows: proxy.engine.flows,
    bugs: proxy.engine.bugs.map(String),
    descriptors: descriptors(),
    ended,
    faults: proxy.faults.length,
  }
  process.send?.(standing)
})
process.send?.({ port: proxy.port() })

/** -1 when none is left to look with. */
function descriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length - 1
  } catch {
    return -1
  }
}
