/**
 * `npm run soak`: flows in all ways to end, hundreds of thousands of them, through a real engine over
 * the loopback. After each tenth nothing may be left: no ledger row, no descriptor, no memory, and each
 * flow has its record. `--flows 200000`, `--seed 1`, `--at-once 100`, `--patience 2000` (milliseconds
 * that the engine waits for a silent client), `--only NAME` (ways with NAME in theirs), `--snapshots FOLDER` (heap snapshots after the first and
 * the last tenth). Exit code 1 on any violation.
 */
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeHeapSnapshot } from 'node:v8'
import type { Engine, EngineEvent, Reason } from '../../src/index.ts'
import { doorsOf, open } from './engine.ts'
import { differences, heldBytes, stateOf } from './state.ts'
import { type Order, type Told, wayNames, wayOfAddress, type WayName, ways } from './ways.ts'

const { values } = parseArgs({
  options: {
    flows: { type: 'string', default: '200000' },
    seed: { type: 'string', default: '1' },
    'at-once': { type: 'string', default: '100' },
    patience: { type: 'string', default: '2000' },
    only: { type: 'string', default: '' },
    snapshots: { type: 'string' },
  },
})

/** Memory may grow by this much from the least that it was after the first tenth or later. */
const growthMax = 0.05
/** How long the last flows may take to be gone once their clients are. */
const settleMs = 10_000
const lingering = 30
const warmFlows = 400
/** Whose clients may be gone before they are accepted: their records do not know where they came from. */
const mayBeUnknown: readonly WayName[] = [
  'zero-byte-reset',
  'client-reset',
  'gone-while-dialing',
  'gone-after-first-bytes',
]

type FlowEnded = EngineEvent & { readonly kind: 'flow-ended' }

/** What the engine said, counted; nothing of it is kept. */
class Records {
  total = 0
  /** Of clients whose address was gone before they were accepted. */
  unknown = 0
  readonly byWay = new Map<WayName, number>()
  readonly unexpected: string[] = []
  readonly reasons = new Map<string, number>()

  see({ record }: FlowEnded): void {
    this.total += 1
    const way = record.inbound === 'unix' ? 'unix' : wayOfAddress(record.source.host)
    if (way === null) this.unknown += 1
    else this.byWay.set(way, (this.byWay.get(way) ?? 0) + 1)
    const key = `${way ?? 'gone early'}: ${record.reason}, ${record.side}, ${record.stage}, ${String(record.code)}`
    this.reasons.set(key, (this.reasons.get(key) ?? 0) + 1)
    const expected: readonly Reason[] =
      way === null ? mayBeUnknown.flatMap(name => ways[name].reasons) : ways[way].reasons
    if (expected.includes(record.reason)) return
    if (this.unexpected.length < 20)
      this.unexpected.push(`${key} up ${record.upState} down ${record.downState}`)
  }
}

/** The process with clients and origin. */
class Peers {
  readonly #child = fork(fileURLToPath(new URL('peers.ts', import.meta.url)), [], {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  readonly #told: Told[] = []
  #wake: () => void = () => undefined
  #isGone = false

  constructor() {
    this.#child.on('message', message => {
      this.#told.push(message as Told)
      this.#wake()
    })
    this.#child.once('exit', () => {
      this.#isGone = true
      this.#wake()
    })
  }

  order(order: Order): void {
    this.#child.send(order)
  }

  async next<K extends Told['kind']>(kind: K): Promise<Told & { kind: K }> {
    while (this.#told.length === 0) {
      if (this.#isGone) throw new Error('the process of the clients has ended')
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
    const told = this.#told.shift()
    if (told?.kind !== kind) throw new Error(`told ${String(told?.kind)} instead of ${kind}`)
    return told as Told & { kind: K }
  }

  async quit(): Promise<void> {
    if (this.#isGone) return
    this.order({ kind: 'quit' })
    await once(this.#child, 'exit')
  }
}

/** Runs all of it and gives the number of violations. */
async function soak(
  flows: number,
  seed: number,
  atOnce: number,
  patienceMs: number,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-soak-'))
  const peers = new Peers()
  const violations: string[] = []
  const violate = (text: string): void => {
    violations.push(text)
    console.log(`  VIOLATION ${text}`)
  }
  try {
    const { origin } = await peers.next('origin')
    const records = new Records()
    const engine = await open(origin, join(folder, 'door.sock'), patienceMs, event => {
      if (event.kind === 'flow-ended') records.see(event)
      else if (event.kind === 'fault') violate(`fault in ${event.where}: ${event.why.message}`)
    })
    peers.order({ kind: 'doors', doors: doorsOf(engine, join(folder, 'door.sock')), patienceMs })
    const run = new Run(engine, peers, records, violate)
    await run.tenths({ flows, seed, atOnce })
    await run.stop()
    console.log(
      [...records.reasons]
        .map(([key, count]) => `  ${String(count)} x ${key}`)
        .sort(byText)
        .join('\n'),
    )
    return violations.length
  } finally {
    await peers.quit()
    rmSync(folder, { recursive: true, force: true })
  }
}

function byText(a: string, b: string): number {
  return (a.split(' x ')[1] ?? '').localeCompare(b.split(' x ')[1] ?? '')
}

class Run {
  readonly #engine: Engine
  readonly #peers: Peers
  readonly #records: Records
  readonly #violate: (text: string) => void
  readonly #made = new Map<WayName, number>()
  readonly #began = performance.now()
  #unexpectedTold = 0

  constructor(engine: Engine, peers: Peers, records: Records, violate: (text: string) => void) {
    this.#engine = engine
    this.#peers = peers
    this.#records = records
    this.#violate = violate
  }

  async tenths(all: {
    readonly flows: number
    readonly seed: number
    readonly atOnce: number
  }): Promise<void> {
    console.log(`${String(all.flows)} flows, seed ${String(all.seed)}`)
    // Once without a check of what is left: compilers, caches and tables are filled then.
    await this.#play(warmFlows, all.seed + 1_000, all.atOnce, true)
    await this.#settled(null)
    const before = stateOf(this.#engine)
    // Compiled code that nothing runs any more is dropped at some time, so the least may come late.
    let leastBytes = Number.POSITIVE_INFINITY
    for (let tenth = 1; tenth <= 10; tenth++) {
      const flows =
        Math.floor((all.flows * tenth) / 10) - Math.floor((all.flows * (tenth - 1)) / 10)
      // Deadlines take their time, so that a short run meets them in two tenths only.
      await this.#play(flows, all.seed + tenth, all.atOnce, flows >= 5_000 || tenth % 5 === 1)
      await this.#settled(before)
      const bytes = heldBytes()
      leastBytes = Math.min(leastBytes, bytes)
      const grown = bytes - leastBytes
      if (grown > leastBytes * growthMax) {
        this.#violate(`memory grew by ${kilobytes(grown)} from ${kilobytes(leastBytes)}`)
      }
      this.#compare()
      this.#tell(tenth, bytes, grown)
      if (tenth === 1 || tenth === 10) snapshot(tenth)
    }
  }

  async #play(flows: number, seed: number, atOnce: number, hasSlow: boolean): Promise<void> {
    this.#peers.order({ kind: 'run', flows, seed, atOnce, hasSlow, only: values.only })
    await this.#ran()
  }

  async #ran(): Promise<void> {
    const ran = await this.#peers.next('ran')
    for (const name of wayNames) {
      this.#made.set(name, (this.#made.get(name) ?? 0) + (ran.made[name] ?? 0))
    }
    for (const text of ran.faults) this.#violate(`a client: ${text}`)
    const more = ran.faultsTotal - ran.faults.length
    if (more > 0) this.#violate(`and ${String(more)} more clients`)
    if (ran.delayMs > 500)
      console.log(`  the clients' process stood still for ${String(ran.delayMs)} ms`)
  }

  get #madeTotal(): number {
    return [...this.#made.values()].reduce((sum, count) => sum + count, 0)
  }

  /** Waits until nothing is left, and tells what is if that takes too long. */
  async #settled(before: ReturnType<typeof stateOf> | null): Promise<void> {
    const untilMs = performance.now() + settleMs
    let left: string[] = []
    while (performance.now() < untilMs) {
      const isOver = this.#engine.flows === 0 && this.#records.total >= this.#madeTotal
      left = before === null ? [] : differences(before, stateOf(this.#engine))
      if (isOver && left.length === 0) return
      await sleep(10)
    }
    for (const text of left) this.#violate(text)
    if (this.#engine.flows > 0) this.#violate(`${String(this.#engine.flows)} flows do not end`)
  }

  /** Every flow has one record, and it says what such a flow may say. */
  #compare(): void {
    const { records } = this
    if (records.total !== this.#madeTotal) {
      this.#violate(`${String(records.total)} records of ${String(this.#madeTotal)} flows`)
    }
    let unknown = 0
    for (const name of wayNames) {
      const missing = (this.#made.get(name) ?? 0) - (records.byWay.get(name) ?? 0)
      if (mayBeUnknown.includes(name)) unknown += missing
      else if (missing !== 0) this.#violate(`${name}: ${String(missing)} records are missing`)
    }
    if (unknown !== records.unknown) {
      this.#violate(`${String(records.unknown)} records without a source, not ${String(unknown)}`)
    }
    for (const text of records.unexpected.slice(this.#unexpectedTold))
      this.#violate(`record ${text}`)
    this.#unexpectedTold = records.unexpected.length
    for (const bug of this.#engine.bugs) this.#violate(`bug: ${bug.message} ${bug.stack ?? ''}`)
  }

  get records(): Records {
    return this.#records
  }

  #tell(tenth: number, bytes: number, grown: number): void {
    const seconds = ((performance.now() - this.#began) / 1_000).toFixed(1)
    console.log(
      `${String(tenth)}/10: ${String(this.#records.total)} flows, ${seconds} s, ` +
        `memory ${kilobytes(bytes)} (${kilobytes(grown)} above the least), ` +
        `rss ${kilobytes(process.memoryUsage.rss())}`,
    )
  }

  /** Stops the engine under live flows: all of them are recorded, and nothing is left. */
  async stop(): Promise<void> {
    this.#peers.order({ kind: 'linger', flows: lingering })
    await this.#peers.next('lingering')
    const left = await this.#engine.stop(50)
    if (left !== 0) this.#violate(`${String(left)} ledger rows are left after the stop`)
    await this.#ran()
    this.#compare()
    const rows = this.#engine.ledger().length
    if (rows !== 1) this.#violate(`${String(rows)} rows in the ledger of an engine that stopped`)
  }
}

function snapshot(tenth: number): void {
  if (values.snapshots === undefined) return
  console.log(
    `  ${writeHeapSnapshot(join(resolve(values.snapshots), `tenth-${String(tenth)}.heapsnapshot`))}`,
  )
}

function kilobytes(bytes: number): string {
  return `${Math.round(bytes / 1_024).toLocaleString('en-US')} KB`
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  console.error(`--${name} takes a whole number above 0, not "${text}"`)
  process.exit(1)
}

if (process.platform !== 'linux') {
  console.error('the soak needs the whole of 127.0.0.0/8, as Linux has it')
  process.exit(1)
}
if (globalThis.gc === undefined) {
  const again = [...process.execArgv, '--expose-gc', ...process.argv.slice(1)]
  const { status } = spawnSync(process.execPath, again, { stdio: 'inherit' })
  process.exit(status ?? 1)
}

const flows = positive('flows', values.flows)
const delay = monitorEventLoopDelay({ resolution: 20 })
delay.enable()
const began = performance.now()
const violations = await soak(
  flows,
  positive('seed', values.seed),
  positive('at-once', values['at-once']),
  positive('patience', values.patience),
)
delay.disable()
console.log(
  `soak: ${String(flows)} flows, seed ${values.seed}, ${((performance.now() - began) / 1_000).toFixed(1)} s, ` +
    `longest turn ${String(Math.round(delay.max / 1e6))} ms, ${String(violations)} violations`,
)
process.exitCode = violations === 0 ? 0 : 1
