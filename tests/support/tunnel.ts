import assert from 'node:assert/strict'
import {
  type Endpoint,
  type Engine,
  type EngineEvent,
  type FlowRecord,
  type LedgerRow,
  parseConfig,
  parsePort,
  type SluiceConfig,
  start,
  type StartOptions,
} from '../../src/index.ts'
import { activeResources, becomes, descriptorsByKind, within } from './resources.ts'

export interface Target {
  readonly host: string
  readonly port: number
}

export interface TunnelOptions extends Omit<StartOptions, 'onEvent'> {
  /** Where the inbound `tunnel` leads; nobody listens there when left out. */
  readonly target?: Target
  /** The address all inbounds listen on; loopback when left out. */
  readonly listen?: string
  /** More of the same kind, by tag. */
  readonly tunnels?: Readonly<Record<string, Target>>
  /** The `protocol` of the only outbound; `freedom` when left out. */
  readonly outbound?: string
  readonly outboundSettings?: Readonly<Record<string, unknown>>
}

/** A port that only root may listen on and nobody does: the one of `tcpmux`. */
const nobody: Target = { host: '127.0.0.1', port: 1 }
/** The file takes no port 0, and no port twice: these stand in for "any". */
const firstStandIn = 20_000

/**
 * A whole configuration: `dokodemo-door` inbounds that lead to given places, `socks`, `http` and
 * `mixed` inbounds with their own names as tags, each on a port that the system chooses.
 */
function tunnelConfig(options: TunnelOptions = {}): SluiceConfig {
  const tunnels = { tunnel: options.target ?? nobody, ...options.tunnels }
  let standIn = firstStandIn
  const place = (): { listen: string; port: number } => {
    standIn += 1
    return { listen: options.listen ?? '127.0.0.1', port: standIn }
  }
  const { config } = parseConfig(
    'test',
    JSON.stringify({
      log: { access: 'none', error: 'none' },
      inbounds: [
        ...Object.entries(tunnels).map(([tag, { host, port }]) => ({
          ...place(),
          tag,
          protocol: 'dokodemo-door',
          settings: { address: host, port },
        })),
        ...['socks', 'http', 'mixed'].map(protocol => ({
          ...place(),
          tag: protocol,
          protocol,
        })),
      ],
      outbounds: [
        { protocol: options.outbound ?? 'freedom', settings: options.outboundSettings ?? {} },
      ],
    }),
    options,
  )
  const port = parsePort(0)
  return { ...config, inbounds: config.inbounds.map(inbound => ({ ...inbound, port })) }
}

/** A record without the error object, so that one from another process looks the same. */
export type SeenRecord = Omit<FlowRecord, 'why'>

/** The records of an engine in order, each to be taken once. */
export class Records {
  readonly all: SeenRecord[] = []
  #taken = 0
  #woken = Promise.withResolvers<void>()

  add(record: SeenRecord): void {
    this.all.push(record)
    this.#woken.resolve()
    this.#woken = Promise.withResolvers<void>()
  }
  /** The next one nobody has taken, awaited if need be. */
  async next(limitMs = 20_000): Promise<SeenRecord> {
    const at = this.#taken
    this.#taken += 1
    for (;;) {
      const record = this.all[at]
      if (record !== undefined) return record
      await within(this.#woken.promise, limitMs, 'a flow record')
    }
  }
  async take(count: number): Promise<SeenRecord[]> {
    const records: SeenRecord[] = []
    for (let at = 0; at < count; at++) records.push(await this.next())
    return records
  }
  /** Those that nobody has waited for. */
  get left(): readonly SeenRecord[] {
    return this.all.slice(this.#taken)
  }
}

/** Sorts what an engine says into records, faults and the rest. */
export class Heard {
  /** All but the records. */
  readonly events: EngineEvent[] = []
  readonly records = new Records()

  readonly sink = (event: EngineEvent): void => {
    if (event.kind === 'flow-ended') {
      // The error is let go: its stack still knows the objects it came through, sockets among them.
      const { why: _, ...record } = event.record
      this.records.add(record)
    } else this.events.push(event)
  }
  get faults(): EngineEvent[] {
    return this.events.filter(event => event.kind === 'fault')
  }
}

/** The ledger in lines, without ages. */
function ledgerLines(rows: readonly LedgerRow[]): string[] {
  return rows.map(({ kind, name, depth, state, note }) =>
    `${'  '.repeat(depth)}${kind} ${name} ${state} ${note}`.trimEnd(),
  )
}

/** A running engine with its inbounds. */
export class Tunnel implements AsyncDisposable {
  readonly engine: Engine
  readonly heard: Heard
  /** The ledger while nothing goes on. */
  readonly rest: readonly string[]
  constructor(engine: Engine, heard: Heard) {
    this.engine = engine
    this.heard = heard
    this.rest = this.ledger()
  }
  get records(): Records {
    return this.heard.records
  }
  ledger(): string[] {
    return ledgerLines(this.engine.ledger())
  }
  /** The port of the inbound with this tag. */
  port(tag = 'tunnel'): number {
    return this.local(tag).port
  }
  local(tag = 'tunnel'): Endpoint {
    const inbound = this.engine.inbounds.find(known => known.tag === tag)
    assert.ok(inbound !== undefined, `there is an inbound "${tag}"`)
    return inbound.local
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.abort()
  }
}

/** Starts an engine with the inbounds of `tunnelConfig`. */
export async function startTunnel(options: TunnelOptions = {}): Promise<Tunnel> {
  const heard = new Heard()
  const engine = await start(tunnelConfig(options), { ...options, onEvent: heard.sink })
  return new Tunnel(engine, heard)
}

/**
 * Runs `body` with an engine and then looks at what is left: every flow over, one record each and all
 * of them taken by `body`, the ledger as it was, no fault, no broken invariant, nothing after the
 * stop, and the process as it was before. With `isAlone: false` the process is left to the caller,
 * because other tests run in it at the same time.
 */
export async function withEngine(
  { isAlone = true, ...options }: TunnelOptions & { readonly isAlone?: boolean },
  body: (tunnel: Tunnel) => Promise<void>,
): Promise<void> {
  const check = async (): Promise<void> => {
    const tunnel = await startTunnel(options)
    const { engine, heard } = tunnel
    try {
      await body(tunnel)
      await becomes(() => engine.flows === 0)
      assert.deepEqual(tunnel.ledger(), tunnel.rest, 'the ledger is as it was before')
    } catch (thrown) {
      await engine.abort()
      throw thrown
    }
    assert.equal(await engine.abort(), 0, 'rows left after the stop')
    checkHeard(heard, engine.bugs.map(String))
  }
  await (isAlone ? leavingNothing(check) : check())
}

/** Runs `body`, after which the process must have the descriptors and the like that it had before. */
async function leavingNothing(body: () => Promise<void>): Promise<void> {
  const before = footprint()
  await body()
  await becomes(() => footprint() === before, 2_000)
  assert.equal(footprint(), before, 'the process is as it was before')
}

/** What an engine may have said once it has stopped. */
export function checkHeard(heard: Heard, bugs: readonly string[]): void {
  const { records } = heard
  assert.deepEqual(bugs, [], 'no broken invariant')
  assert.deepEqual(heard.faults, [], 'no fault')
  assert.deepEqual(records.left, [], 'no record that nobody waited for')
  const ids = records.all.map(record => record.id)
  assert.equal(new Set(ids).size, ids.length, 'one record for each flow')
  const [stopped, ...more] = heard.events.filter(event => event.kind === 'stopped')
  assert.ok(stopped !== undefined && more.length === 0, 'it says once that it has stopped')
  assert.equal(stopped.left, 0, 'and that nothing is left')
  assert.equal(stopped.flows, records.all.length, 'and how many flows there were')
}

/** Descriptors and what holds the loop, as text to compare. */
export function footprint(): string {
  const { socket, eventfd, other } = descriptorsByKind()
  const held = Object.entries(activeResources())
    .filter(([kind]) => /TCP|UDP|Timeout|Pipe|Cares|GetAddr/.test(kind))
    .map(([kind, count]) => `${kind} ${String(count)}`)
  return [`sockets ${String(socket)}`, `other ${String(eventfd + other)}`, ...held].join(', ')
}
