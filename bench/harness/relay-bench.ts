import { setTimeout as sleep } from 'node:timers/promises'
import type { Settings } from './bench.ts'
import { anonymousBytes, descriptorCount } from './child.ts'
import { type Answer, Load } from './load.ts'
import type { Figure } from './numbers.ts'
import { findRelays, loadCommand, type Mode, type Relay, run, type Running } from './relays.ts'
import type { Report, Row, Table } from './report.ts'

/** What is asked of every relay. */
export type Question =
  | { readonly kind: 'throughput'; readonly direction: 'up' | 'down'; readonly count: number }
  | { readonly kind: 'connections'; readonly count: number }
  | { readonly kind: 'idle'; readonly count: number }

const pauseMs = 150
/** After many connections were opened or closed, before memory is looked at. */
const settleMs = 700
const warmConnections = 100

const throughputFigures: readonly Figure[] = [
  { name: 'Gbit/s', digits: 1, isMoreBetter: true },
  { name: 'CPU, s per GB', digits: 3, isMoreBetter: false },
]
const connectionFigures: readonly Figure[] = [
  { name: 'connections/s', digits: 0, isMoreBetter: true },
  { name: 'CPU, µs per connection', digits: 0, isMoreBetter: false },
]
const idleFigures: readonly Figure[] = [
  { name: 'memory, KB per connection', digits: 1, isMoreBetter: false },
  { name: 'descriptors per connection', digits: 2, isMoreBetter: false },
]

/** Asks every relay that is here every question, in turn: A B C A B C and so on. */
export async function askRelays(
  bench: string,
  mode: Mode,
  questions: readonly Question[],
  settings: Settings,
): Promise<Report> {
  const { present, absent } = findRelays(settings.folder)
  const relays = present.filter(relay => relay.modes.includes(mode))
  const load = await Load.start(loadCommand(settings.folder))
  try {
    const tables: Table[] = []
    for (const question of questions) {
      const ask = new Asking(mode, question, load, settings)
      tables.push(await ask.all(relays))
    }
    return { bench, tables, absent }
  } finally {
    await load.stop()
  }
}

class Asking {
  readonly #mode: Mode
  readonly #question: Question
  readonly #load: Load
  readonly #settings: Settings
  readonly #remarks = new Set<string>()

  constructor(mode: Mode, question: Question, load: Load, settings: Settings) {
    this.#mode = mode
    this.#question = question
    this.#load = load
    this.#settings = settings
  }

  async all(relays: readonly Relay[]): Promise<Table> {
    const samples = new Map(relays.map(relay => [relay, [[], []] as [number[], number[]]]))
    const isFresh = this.#question.kind === 'idle'
    const running = isFresh ? [] : await this.#startAll(relays)
    try {
      for (let at = 1; at <= this.#settings.runs; at++) {
        for (const relay of relays) {
          const one = running.find(each => each.relay === relay) ?? (await this.#start(relay))
          const pair = await this.#measure(one)
          for (const [column, value] of pair.entries()) samples.get(relay)?.[column]?.push(value)
          this.#settings.say(`${this.#title()}, ${String(at)}: ${relay.name} ${pair.join(' ')}`)
          if (isFresh) await one.child.stop()
          await sleep(pauseMs)
        }
      }
    } finally {
      await Promise.all(running.map(one => one.child.stop()))
    }
    const rows: Row[] = relays.map(relay => ({
      subject: relay.name,
      samples: samples.get(relay) ?? [],
    }))
    return {
      title: this.#title(),
      figures: this.#figures(),
      rows,
      isCompared: true,
      remarks: [...this.#remarks],
    }
  }

  async #startAll(relays: readonly Relay[]): Promise<Running[]> {
    const running: Running[] = []
    for (const relay of relays) {
      const one = await this.#start(relay)
      running.push(one)
      // Once without a clock: compilers and caches are warm in the first run then.
      await this.#ask(one, 300, 0)
      await sleep(pauseMs)
    }
    return running
  }

  async #start(relay: Relay): Promise<Running> {
    const { folder, profileFolder } = this.#settings
    const nodeOptions =
      profileFolder === null
        ? []
        : [
            '--cpu-prof',
            `--cpu-prof-dir=${profileFolder}`,
            `--cpu-prof-name=${this.#profileName()}`,
          ]
    return run(relay, { mode: this.#mode, origin: this.#load.origin, folder, nodeOptions })
  }

  #profileName(): string {
    return `${this.#mode}-${this.#title().replaceAll(/[^a-z0-9]+/g, '-')}.cpuprofile`
  }

  async #measure(one: Running): Promise<[number, number]> {
    if (this.#question.kind === 'idle') return this.#measureIdle(one, this.#question.count)
    const answer = await this.#ask(one, this.#settings.seconds * 1_000, 300)
    this.#note(one.relay, answer)
    if (this.#question.kind === 'connections') {
      return [answer.count / answer.seconds, (answer.cpuSeconds * 1e6) / answer.count]
    }
    return [(answer.bytes * 8) / 1e9 / answer.seconds, answer.cpuSeconds / (answer.bytes / 1e9)]
  }

  #ask(one: Running, ms: number, warmMs: number): Promise<Answer> {
    const question = this.#question
    return this.#load.run({
      do: question.kind === 'throughput' ? 'throughput' : 'connections',
      relay: one.address,
      socks: this.#mode === 'socks',
      direction: question.kind === 'throughput' ? question.direction : 'down',
      count: question.count,
      warmMs,
      ms,
      pid: one.child.pid,
    })
  }

  async #measureIdle(one: Running, count: number): Promise<[number, number]> {
    const { pid } = one.child
    const at = { relay: one.address, socks: this.#mode === 'socks' }
    await this.#load.run({ do: 'open', ...at, count: warmConnections })
    await this.#load.run({ do: 'close', ...at })
    await sleep(settleMs)
    const before = { bytes: anonymousBytes(pid), descriptors: descriptorCount(pid) }
    const opened = await this.#load.run({ do: 'open', ...at, count })
    this.#note(one.relay, opened)
    await sleep(settleMs)
    const grown = anonymousBytes(pid) - before.bytes
    const descriptors = descriptorCount(pid) - before.descriptors
    await this.#load.run({ do: 'close', ...at })
    return [grown / 1_024 / count, descriptors / count]
  }

  #note(relay: Relay, answer: Answer): void {
    if (answer.failed === 0) return
    this.#remarks.add(`${relay.name}: ${String(answer.failed)} connections failed: ${answer.why}`)
  }

  #figures(): readonly Figure[] {
    if (this.#question.kind === 'throughput') return throughputFigures
    return this.#question.kind === 'connections' ? connectionFigures : idleFigures
  }

  #title(): string {
    const { kind, count } = this.#question
    const many = count === 1 ? '1 connection' : `${String(count)} connections`
    if (kind === 'throughput') {
      return `${this.#question.direction === 'up' ? 'upload' : 'download'}, ${many}`
    }
    return kind === 'connections'
      ? `short connections, ${String(count)} at once`
      : `idle connections, ${String(count)}`
  }
}
