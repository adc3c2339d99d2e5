/**
 * What does a flow cost above its sockets, and a byte above the system calls? Everything here runs on
 * links in memory. `node --expose-gc bench/flow-overhead.ts` measures once and prints JSON.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { logDefaults, policyDefaults, type SluiceConfig } from '../src/config/config.ts'
import { SystemClock } from '../src/core/clock.ts'
import { parsePort } from '../src/core/endpoint.ts'
import { defaultRelayPolicy, Relay } from '../src/core/relay.ts'
import { clean, Program, Scope } from '../src/core/scope.ts'
import { Wheel, type WheelEntry } from '../src/core/wheel.ts'
import { Engine } from '../src/engine/engine.ts'
import { tunnelInbound } from '../src/protocol/tunnel/inbound.ts'
import { FakeClock } from '../src/testing/simulation.ts'
import type { Bench } from './harness/bench.ts'
import { MemoryLink, memoryOutbound, MemoryTransport, type Script } from './harness/memory-links.ts'
import type { Figure } from './harness/numbers.ts'
import type { Table } from './harness/report.ts'

const flows = 40_000
const flowsAtOnce = 200
const liveFlows = 10_000
const chunks = 200_000
const entries = 50_000

const chunk = new Uint8Array(16_384)
const few = new Uint8Array(100)
const short: Script = { chunks: 1, chunk: few, valuesPerTurn: 16, staysOpen: false }
const silent: Script = { chunks: 1, chunk: few, valuesPerTurn: 16, staysOpen: true }
/** The client has said much before the dial was done, and then nothing. */
const talkative: Script = { ...silent, chunk }
const byValue: Script = { chunks, chunk, valuesPerTurn: 16, staysOpen: false }
const byPromise: Script = { chunks, chunk, valuesPerTurn: 0, staysOpen: false }
const empty: Script = { chunks: 0, chunk, valuesPerTurn: 16, staysOpen: false }

export const flowOverhead: Bench = {
  name: 'flow-overhead',
  run: async ({ runs, say }) => {
    const all: Measured[] = []
    for (let at = 1; at <= runs; at++) {
      const file = fileURLToPath(import.meta.url)
      const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file])
      all.push(JSON.parse(stdout) as Measured)
      say(`flow-overhead, ${String(at)}: ${JSON.stringify(all.at(-1))}`)
    }
    return { bench: 'flow-overhead', tables: tablesOf(all), absent: [] }
  },
}

interface Measured {
  readonly flowUs: number
  readonly linksUs: number
  readonly scopesUs: number
  readonly flowBytes: number
  readonly linksBytes: number
  readonly scopesBytes: number
  readonly firstBytes: number
  readonly valueUs: number
  readonly promiseUs: number
  readonly walkMs: number
  readonly setNs: number
  readonly moveNs: number
  readonly clearNs: number
  readonly turnMs: number
}

function tablesOf(all: readonly Measured[]): Table[] {
  const row = (subject: string, ...columns: readonly ((one: Measured) => number)[]) => ({
    subject,
    samples: columns.map(column => all.map(column)),
  })
  const table = (title: string, figures: readonly Figure[], rows: Table['rows']): Table => ({
    title,
    figures,
    rows,
    isCompared: false,
    remarks: [],
  })
  const less = (name: string, digits: number): Figure => ({ name, digits, isMoreBetter: false })
  return [
    table(
      'one flow, accepted to recorded (budget for what Sluice adds: 10 µs and 1,536 B)',
      [less('CPU, µs', 2), less('live, B', 0)],
      [
        row(
          'whole flow on links in memory',
          one => one.flowUs,
          one => one.flowBytes,
        ),
        row(
          'its two links and bytes without a flow',
          one => one.linksUs,
          one => one.linksBytes,
        ),
        row(
          'the difference: what Sluice adds',
          one => one.flowUs - one.linksUs,
          one => one.flowBytes - one.linksBytes,
        ),
        row(
          'of it: scopes, ledger rows, timer',
          one => one.scopesUs,
          one => one.scopesBytes,
        ),
      ],
    ),
    table(
      'what an idle flow still holds of the first 16 KB of its client (wanted: 0)',
      [less('live, B', 0)],
      [row('whole flow on links in memory', one => one.firstBytes - one.flowBytes)],
    ),
    table(
      'one chunk through the relay (budget 0.2 µs)',
      [less('CPU, µs', 3)],
      [
        row('links that give values, 16 in a turn', one => one.valueUs),
        row('links that give promises', one => one.promiseUs),
      ],
    ),
    table(
      '50,000 at once',
      [less('', 1)],
      [
        row('walk of 50,000 ledger rows, ms', one => one.walkMs),
        row('timer wheel: set, ns each', one => one.setNs),
        row('timer wheel: move, ns each', one => one.moveNs),
        row('timer wheel: clear, ns each', one => one.clearNs),
        row('timer wheel: 300 s with all of them due, ms', one => one.turnMs),
      ],
    ),
  ]
}

async function measure(): Promise<Measured> {
  const { flowUs } = await flowTime()
  const live = await flowMemory(silent)
  return {
    flowUs,
    ...(await linkTime()),
    scopesUs: scopeTime(),
    flowBytes: live.bytes,
    firstBytes: (await flowMemory(talkative)).bytes,
    walkMs: live.walkMs,
    linksBytes: await linkMemory(),
    scopesBytes: scopeMemory(),
    valueUs: await chunkTime(byValue),
    promiseUs: await chunkTime(byPromise),
    ...wheelTimes(),
  }
}

/** CPU time of the process, collector included, in microseconds. */
function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** The median of five measurements, after one that counts for nothing. */
async function timed(count: number, work: () => Promise<void> | void): Promise<number> {
  const samples: number[] = []
  for (let at = 0; at < 6; at++) {
    collect()
    const before = cpuUs()
    await work()
    if (at > 0) samples.push((cpuUs() - before) / count)
  }
  return samples.sort((a, b) => a - b)[2] ?? Number.NaN
}

function collect(): void {
  if (globalThis.gc === undefined) throw new Error('needs node --expose-gc')
  globalThis.gc()
  globalThis.gc()
}

function usedBytes(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function pause(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve)
  })
}

interface Rig {
  readonly engine: Engine
  readonly inbound: MemoryTransport
  /** Settles when that many flows have ended since the last call. */
  ended(count: number): Promise<void>
}

async function rig(far: Script): Promise<Rig> {
  const inbound = new MemoryTransport()
  let seen = 0
  let waited: { readonly count: number; readonly resolve: () => void } | null = null
  const config: SluiceConfig = {
    log: logDefaults,
    policy: policyDefaults,
    inbounds: [
      {
        tag: 'in',
        type: 'dokodemo-door',
        listen: '192.0.2.1',
        port: parsePort(1),
        acceptProxyProtocol: false,
        options: { address: '192.0.2.2', port: 80, networks: ['tcp'] },
      },
    ],
    outbounds: [{ tag: 'out', type: 'freedom', options: {} }],
  }
  const engine = await Engine.start(config, {
    protocols: {
      inbounds: [tunnelInbound],
      outbounds: [memoryOutbound(() => far)],
      transports: [inbound.transport],
    },
    clock: new SystemClock(),
    resolver: () => ({ resolve: () => Promise.reject(new Error('no names here')) }),
    sink: event => {
      if (event.kind !== 'flow-ended') return
      if (event.record.reason !== 'clean' && far !== silent) throw new Error(event.record.reason)
      seen += 1
      if (waited !== null && seen >= waited.count) waited.resolve()
    },
  })
  const ended = (count: number): Promise<void> =>
    new Promise(resolve => {
      seen = 0
      waited = { count, resolve }
    })
  return { engine, inbound, ended }
}

async function flowTime(): Promise<{ flowUs: number }> {
  const { engine, inbound, ended } = await rig(short)
  const flowUs = await timed(flows, async () => {
    for (let at = 0; at < flows; at += flowsAtOnce) {
      const over = ended(flowsAtOnce)
      for (let one = 0; one < flowsAtOnce; one++) inbound.accept(short)
      await over
    }
  })
  expectNothingLeft(await engine.stop(0), engine)
  return { flowUs }
}

async function flowMemory(near: Script): Promise<{ bytes: number; walkMs: number }> {
  const { engine, inbound } = await rig(silent)
  for (let at = 0; at < flowsAtOnce; at++) inbound.accept(near)
  await pause()
  const before = usedBytes()
  for (let at = 0; at < liveFlows; at++) inbound.accept(near)
  await pause()
  const bytes = (usedBytes() - before) / liveFlows
  let rows = 0
  const us = await timed(1, () => {
    rows = engine.ledger().length
  })
  expectNothingLeft(await engine.stop(0), engine)
  return { bytes, walkMs: (us / 1_000 / rows) * 50_000 }
}

function expectNothingLeft(left: number, engine: Engine): void {
  if (left !== 0 || engine.bugs.length > 0)
    throw new Error(`left ${String(left)}`, { cause: engine.bugs[0] })
}

/** The same links and bytes with nobody in between: what the flow's cost is measured against. */
async function linkTime(): Promise<{ linksUs: number }> {
  const root = Scope.root(new Program(new SystemClock()), 'links')
  const one = async (): Promise<void> => {
    const near = MemoryLink.over(root, 'near', short)
    const far = MemoryLink.over(root, 'far', short)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      for (;;) {
        const read = await from.source.read()
        if (!(read instanceof Uint8Array)) break
        await to.sink.write(read)
      }
      await to.sink.closeWrite()
    }
    await near.scope.end(clean)
    await far.scope.end(clean)
  }
  const linksUs = await timed(flows, async () => {
    for (let at = 0; at < flows; at += flowsAtOnce) {
      await Promise.all(Array.from({ length: flowsAtOnce }, one))
    }
  })
  return { linksUs }
}

async function linkMemory(): Promise<number> {
  const root = Scope.root(new Program(new SystemClock()), 'links')
  const kept: unknown[] = []
  const open = (count: number): void => {
    for (let at = 0; at < count; at++) {
      for (const name of ['near', 'far']) {
        const link = MemoryLink.over(root, name, silent)
        void link.source.read()
        kept.push(link)
        void Promise.resolve(link.source.read()).catch(() => undefined)
      }
    }
  }
  open(flowsAtOnce)
  const before = usedBytes()
  open(liveFlows)
  const bytes = (usedBytes() - before) / liveFlows
  await root.end(clean)
  return kept.length > 0 ? bytes : Number.NaN
}

/** A flow's part of the ledger: the flow, two legs, two sockets, one timer that is set. */
function openScopes(root: Scope): Scope {
  const flow = root.child('flow', '#1')
  for (const name of ['near', 'far']) flow.child('leg', name).hold('socket', name, release)
  flow.timer('relay', release).setAfter(300_000)
  return flow
}

function release(): void {
  return undefined
}

function scopeTime(): number {
  const root = Scope.root(new Program(new SystemClock()), 'scopes')
  const samples: number[] = []
  for (let round = 0; round < 6; round++) {
    collect()
    const before = cpuUs()
    for (let at = 0; at < flows; at++) void openScopes(root).end(clean)
    samples.push((cpuUs() - before) / flows)
  }
  return samples.slice(1).sort((a, b) => a - b)[2] ?? Number.NaN
}

function scopeMemory(): number {
  const root = Scope.root(new Program(new SystemClock()), 'scopes')
  for (let at = 0; at < flowsAtOnce; at++) openScopes(root)
  const before = usedBytes()
  for (let at = 0; at < liveFlows; at++) openScopes(root)
  const bytes = (usedBytes() - before) / liveFlows
  void root.end(clean)
  return bytes
}

/** One direction carries all the chunks, the other ends at once. */
function chunkTime(script: Script): Promise<number> {
  const program = new Program(new SystemClock())
  return timed(chunks, async () => {
    const root = Scope.root(program, 'chunks')
    const near = MemoryLink.over(root, 'near', script)
    const far = MemoryLink.over(root, 'far', { ...empty, valuesPerTurn: script.valuesPerTurn })
    const record = await new Relay(root, defaultRelayPolicy, near, far).record
    if (record.up.written !== chunks * chunk.length) throw new Error('bytes are missing')
    await root.end(clean)
  })
}

class Entry implements WheelEntry {
  wheelPrev: WheelEntry | null = null
  wheelNext: WheelEntry | null = null
  wheelSlot = -1
  dueTick = 0
  onDue(): void {
    return undefined
  }
}

function wheelTimes(): { setNs: number; moveNs: number; clearNs: number; turnMs: number } {
  const clock = new FakeClock()
  const wheel = new Wheel(clock)
  const all = Array.from({ length: entries }, () => new Entry())
  const each = (work: (entry: Entry, at: number) => void): number => {
    const began = performance.now()
    for (const [at, entry] of all.entries()) work(entry, at)
    return ((performance.now() - began) * 1e6) / entries
  }
  const due = (at: number): number => clock.now() + 1_000 + ((at * 7_919) % 299_000)
  const samples: { setNs: number; moveNs: number; clearNs: number; turnMs: number }[] = []
  for (let round = 0; round < 6; round++) {
    const setNs = each((entry, at) => wheel.set(entry, due(at)))
    const moveNs = each((entry, at) => wheel.set(entry, due(at + 1)))
    const clearNs = each(entry => wheel.clear(entry))
    each((entry, at) => wheel.set(entry, due(at)))
    const began = performance.now()
    while (wheel.size > 0) {
      clock.jumpTo(clock.wakeMs)
      clock.wakeDue()
    }
    samples.push({ setNs, moveNs, clearNs, turnMs: performance.now() - began })
  }
  const middle = (pick: (one: (typeof samples)[number]) => number): number =>
    samples
      .slice(1)
      .map(pick)
      .sort((a, b) => a - b)[2] ?? Number.NaN
  return {
    setNs: middle(one => one.setNs),
    moveNs: middle(one => one.moveNs),
    clearNs: middle(one => one.clearNs),
    turnMs: middle(one => one.turnMs),
  }
}

if (import.meta.main) console.log(JSON.stringify(await measure()))
