import type { OutboundHandler } from '../contract/outbound.ts'
import type { Protocols } from '../contract/protocols.ts'
import type { SluiceConfig } from '../config/config.ts'
import type { Clock } from '../core/clock.ts'
import { coreError, type SluiceError } from '../core/errors.ts'
import { defaultRelayPolicy } from '../core/relay.ts'
import { clean, type LedgerRow, Program, Scope, scopeError } from '../core/scope.ts'
import { type Network, network, type Resolver } from '../net/network.ts'
import type { SocketOptions } from '../net/socket-link.ts'
import type { EngineEvent, EventSink } from '../observe/events.ts'
import type { FlowPolicy, Route } from './flow.ts'
import { InboundServer } from './inbound-server.ts'

export interface EngineOptions {
  readonly protocols: Protocols
  readonly clock: Clock
  /** Made with the engine's own scope, so that its questions end with the engine. */
  readonly resolver: (scope: Scope) => Resolver
  readonly sink: EventSink
  readonly socket?: Partial<SocketOptions>
  readonly connectTimeoutMs?: number
  /** Wins over what the configuration says; for tests and for programs that know better. */
  readonly policy?: Partial<FlowPolicy>
}

const connectTimeoutMsDefault = 5_000
const bugsBeforeNoise = 20
/** How long a stop waits for a flow whose inbound or outbound does not notice that it has ended. */
const recordsMs = 1_000

/** The program: inbounds, outbounds and every flow between them, in one ledger. */
export class Engine {
  readonly #program: Program
  readonly #root: Scope
  readonly #options: EngineOptions
  readonly #inbounds: InboundServer[] = []
  readonly #startedMs: number
  #flowsEnded = 0
  #lastId = 0
  #stopping: Promise<number> | null = null
  #drained: (() => void) | null = null
  #isAborted = false

  private constructor(options: EngineOptions) {
    this.#options = options
    this.#program = new Program(options.clock)
    this.#root = Scope.root(this.#program, 'sluice')
    this.#startedMs = options.clock.now()
    this.#program.onBug(why => {
      if (this.#program.bugsTotal <= bugsBeforeNoise)
        this.#emit({ kind: 'fault', where: 'bug', why })
    })
  }

  /** Opens every inbound of `config`; throws the first failure, and then nothing is left open. */
  static async start(config: SluiceConfig, options: EngineOptions): Promise<Engine> {
    const engine = new Engine(options)
    try {
      await engine.#open(config)
    } catch (thrown) {
      await engine.abort()
      throw thrown
    }
    return engine
  }

  async #open(config: SluiceConfig): Promise<void> {
    const { protocols, resolver, sink, socket } = this.#options
    const net = network(resolver(this.#root), socket)
    const route = this.#routeOf(config, net)
    const raw = protocols.transports.find(transport => transport.type === 'raw')
    if (raw === undefined) throw coreError('bug', { detail: { what: 'no raw transport' } })
    const policy = this.#policyOf(config)
    for (const inbound of config.inbounds) {
      const protocol = protocols.inbounds.find(known => known.type === inbound.type)
      if (protocol === undefined) throw coreError('bug', { detail: { inbound: inbound.type } })
      const server = await InboundServer.open(this.#root, {
        tag: inbound.tag,
        where: { host: inbound.listen, port: inbound.port },
        acceptProxyProtocol: inbound.acceptProxyProtocol,
        handler: protocol.create(inbound.options),
        transport: raw.create({}, net),
        policy,
        route,
        nextId: () => {
          this.#lastId += 1
          return this.#lastId
        },
        sink,
        onRecord: record => {
          this.#flowsEnded += 1
          this.#emit({ kind: 'flow-ended', record })
          this.#lookDrained()
        },
      })
      this.#inbounds.push(server)
      this.#emit({
        kind: 'listening',
        inbound: inbound.tag,
        type: inbound.type,
        local: server.local,
        networks: server.networks,
      })
    }
  }

  #routeOf(config: SluiceConfig, net: Network): Route {
    const { protocols, connectTimeoutMs } = this.#options
    const made = config.outbounds.map(outbound => {
      const protocol = protocols.outbounds.find(known => known.type === outbound.type)
      if (protocol === undefined) throw coreError('bug', { detail: { outbound: outbound.type } })
      const handler: OutboundHandler = protocol.create(outbound.options, {
        network: net,
        connectTimeoutMs: connectTimeoutMs ?? connectTimeoutMsDefault,
        sendThrough: null,
      })
      return { tag: outbound.tag, handler }
    })
    const [first] = made
    if (first === undefined) throw coreError('bug', { detail: { what: 'no outbound' } })
    return () => first
  }

  #policyOf(config: SluiceConfig): FlowPolicy {
    const { handshakeMs, connIdleMs, halfCloseIdleMs, uplinkOnlyMs, downlinkOnlyMs } = config.policy
    return {
      ...defaultRelayPolicy,
      handshakeMs,
      connIdleMs,
      halfCloseIdleMs,
      writeStallMs: connIdleMs,
      ...(uplinkOnlyMs === undefined ? {} : { uplinkOnlyMs }),
      ...(downlinkOnlyMs === undefined ? {} : { downlinkOnlyMs }),
      ...this.#options.policy,
    }
  }

  get inbounds(): readonly InboundServer[] {
    return this.#inbounds
  }
  /** Flows that are not over. */
  get flows(): number {
    return this.#inbounds.reduce((sum, inbound) => sum + inbound.flows, 0)
  }
  get flowsEnded(): number {
    return this.#flowsEnded
  }
  /** Everything that has an owner now, parents before children; the first row is the program. */
  ledger(): LedgerRow[] {
    return [...this.#root.rows()]
  }
  /** Broken invariants so far; they are faults in the event stream too. */
  get bugs(): readonly SluiceError[] {
    return this.#program.bugs
  }

  /**
   * Stops listening, lets flows end by themselves for `graceMs`, then resets the rest. Gives the number
   * of ledger rows that are left, which is 0. Idempotent.
   */
  stop(graceMs: number): Promise<number> {
    this.#stopping ??= this.#drain(graceMs)
    return this.#stopping
  }

  /** Stops now: every flow is reset. */
  abort(): Promise<number> {
    this.#isAborted = true
    this.#drained?.()
    this.#stopping ??= this.#drain(0)
    return this.#stopping
  }

  async #drain(graceMs: number): Promise<number> {
    this.#emit({ kind: 'draining', flows: this.flows, graceMs })
    await Promise.all(this.#inbounds.map(inbound => inbound.stopListening()))
    if (!this.#isAborted) await this.#drainedWithin(graceMs)
    await Promise.all(this.#inbounds.map(inbound => inbound.end(scopeError('stopped'))))
    // A record is made a few promises after its flow's scope is over.
    await this.#drainedWithin(recordsMs)
    await this.#root.end(clean)
    const left = this.ledger().length - 1 + this.flows
    this.#emit({
      kind: 'stopped',
      flows: this.#flowsEnded,
      durationMs: Math.round(this.#options.clock.now() - this.#startedMs),
      left,
    })
    return left
  }

  /** Waits until no flow is left, but not longer than `graceMs`. */
  async #drainedWithin(graceMs: number): Promise<void> {
    if (this.flows === 0 || graceMs === 0) return
    const over = Promise.withResolvers<void>()
    this.#drained = over.resolve
    using timer = this.#root.timer('drain', () => {
      over.resolve()
    })
    timer.setAfter(graceMs)
    await over.promise
  }

  #lookDrained(): void {
    if (this.flows === 0) this.#drained?.()
  }

  #emit(event: EngineEvent): void {
    this.#options.sink(event)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(drainMsDefault)
  }
}

/** How long flows may go on after a polite stop. */
const drainMsDefault = 10_000
