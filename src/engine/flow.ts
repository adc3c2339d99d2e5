import type { Accepted, FlowRequest } from '../contract/flow.ts'
import type { InboundHandler } from '../contract/inbound.ts'
import type { OutboundHandler } from '../contract/outbound.ts'
import type { Endpoint } from '../core/endpoint.ts'
import { asError, assert, errorArea, type ErrorMaker, type SluiceError } from '../core/errors.ts'
import { type Reason, type RelayRecord, reasonOf, type Side } from '../core/flow-record.ts'
import { ReadAhead, readHead } from '../core/head.ts'
import { type Link, Moved, Owner } from '../core/link.ts'
import { type PacketLink, relayPackets } from '../core/packets.ts'
import { refuseWith } from '../core/polite.ts'
import { Relay, type RelayPolicy } from '../core/relay.ts'
import { clean, errorOf, failed, type Scope } from '../core/scope.ts'
import type { FlowRecord } from '../observe/events.ts'
import { decodeProxy } from '../wire/proxy-protocol.ts'
import { type FlowStage, flowStages } from './flow-stages.ts'

const flowTable = {
  'handshake-timeout': ['peer', 'the client did not say in time what it wants'],
  'control-ended': ['network', 'the control connection has ended'],
} as const
const flowError: ErrorMaker<typeof flowTable> = errorArea('flow', flowTable)

export interface FlowPolicy extends RelayPolicy {
  readonly handshakeMs: number
}

/** Which outbound takes a request. */
export type Route = (request: FlowRequest) => {
  readonly tag: string
  readonly handler: OutboundHandler
}

export interface FlowContext {
  readonly id: number
  readonly inbound: string
  readonly listening: Endpoint
  readonly handler: InboundHandler
  /** Every connection begins with a PROXY protocol header, which says who it is for. */
  readonly acceptProxyProtocol: boolean
  readonly route: Route
  readonly policy: FlowPolicy
}

const noBytes = { read: 0, written: 0 } as const

/**
 * One proxied conversation, from the accepted link to the record. Owns everything of it through its
 * scope; the record is made when nothing of it is left.
 */
export class Flow {
  readonly #scope: Scope
  readonly #context: FlowContext
  #source: Endpoint
  readonly #startedAt: number
  #request: FlowRequest | null = null
  #outbound: string | null = null
  #stage: FlowStage = 'accepting'
  #relay: Relay | null = null

  constructor(scope: Scope, context: FlowContext, source: Endpoint) {
    this.#scope = scope
    this.#context = context
    this.#source = source
    this.#startedAt = scope.program.clock.wallNow()
    scope.setNote(() =>
      this.#relay === null
        ? this.#stage
        : `${this.#relay.states} up ${String(this.#relay.upBytes)} down ${String(this.#relay.downBytes)}`,
    )
  }

  /** Serves an accepted link to its end; never rejects. */
  async serve(link: Link): Promise<FlowRecord> {
    let ending: RelayRecord
    try {
      ending = await this.#serve(link)
    } catch (thrown) {
      ending = this.#failure(this.#whyOf(thrown), this.#stage === 'dialing' ? 'local' : 'near')
    }
    return this.#close(ending)
  }

  /** Serves datagrams of one client, which need no head. */
  async servePackets(packets: PacketLink, request: FlowRequest): Promise<FlowRecord> {
    let ending: RelayRecord
    try {
      this.#request = request
      const far = await this.#dialPackets(request)
      this.#enter('relaying')
      ending = await relayPackets(this.#scope, packets, far, this.#idleMs(request))
    } catch (thrown) {
      ending = this.#failure(this.#whyOf(thrown), 'far')
    }
    return this.#close(ending)
  }

  async #serve(link: Link): Promise<RelayRecord> {
    const accepted = await this.#accept(link)
    this.#request = accepted.request
    return accepted.packets === null
      ? this.#serveLink(accepted)
      : this.#serveAssociation(accepted, accepted.packets)
  }

  async #accept(link: Link): Promise<Accepted> {
    const { handler, listening, policy } = this.#context
    const near: Owner = new Owner(this.#scope)
    near.adopt(link)
    let given = near.link
    using deadline = this.#scope.deadline(policy.handshakeMs, 'handshake', () =>
      flowError('handshake-timeout', { detail: { ms: policy.handshakeMs } }),
    )
    const leg = given.scope
    let isAnswered = false
    try {
      if (this.#context.acceptProxyProtocol) given = await afterProxyHeader(given)
      this.#source = given.path.remote
      return await handler.accept(given, {
        scope: this.#scope,
        listening,
        refuse: async (halves, answer, why) => {
          isAnswered = true
          // From here on the refusal has its own, shorter time, and its reason stays.
          deadline.drop()
          await refuseWith(halves, answer, why)
          throw why
        },
      })
    } catch (thrown) {
      const why = this.#whyOf(thrown)
      if (!isAnswered) await leg.end(failed(why))
      await leg.ended
      throw why
    }
  }

  /** What ended the flow, if something did: calls in it then fail for that reason. */
  #whyOf(thrown: unknown): SluiceError {
    return this.#scope.ending === null ? asError(thrown) : errorOf(this.#scope.ending)
  }

  async #serveLink(accepted: Accepted): Promise<RelayRecord> {
    this.#enter('dialing')
    const near = this.#readAhead(accepted.link)
    const leg = near.scope
    const { tag, handler } = this.#context.route(accepted.request)
    this.#outbound = tag
    let far: Link
    try {
      far = await handler.link(accepted.request, this.#scope)
    } catch (thrown) {
      const why = this.#whyOf(thrown)
      const record = this.#failure(why, this.#scope.isOpen ? 'far' : this.#endedBy)
      if (this.#scope.isOpen) {
        await accepted.refuse(near, why)
        await leg.ended
      }
      return record
    }
    this.#enter('opening')
    const opened = await accepted.open(near)
    this.#enter('relaying')
    this.#relay = new Relay(this.#scope, this.#context.policy, opened, far)
    return this.#relay.record
  }

  #endedBy: Side = 'local'

  /** While the dial runs the client is watched: if it fails, so does the flow, dial included. */
  #readAhead(link: Link): Link {
    const onFault = (thrown: unknown): void => {
      if (this.#stage !== 'dialing') return
      this.#endedBy = 'near'
      void this.#scope.end(failed(asError(thrown)))
    }
    // Once that first read has brought something, the link itself tells of what comes after it.
    link.onGone((_half, why) => {
      onFault(why)
    })
    const halves = link.takeApart()
    halves.source = new ReadAhead(halves.source, onFault)
    return halves.join()
  }

  async #serveAssociation(accepted: Accepted, packets: PacketLink): Promise<RelayRecord> {
    const leg = accepted.link.scope
    let far: PacketLink
    try {
      far = await this.#dialPackets(accepted.request)
    } catch (thrown) {
      const why = asError(thrown)
      await accepted.refuse(accepted.link, why)
      await leg.ended
      return this.#failure(why, 'far')
    }
    this.#enter('opening')
    const control = await accepted.open(accepted.link)
    this.#enter('relaying')
    this.#scope.task('control', () => this.#watchControl(control, packets))
    const record = await relayPackets(this.#scope, packets, far, this.#idleMs(accepted.request))
    if (leg.isOpen) await leg.end(clean)
    return record
  }

  /** RFC 1928 section 6: an association ends with the connection that asked for it. */
  async #watchControl(control: Link, packets: PacketLink): Promise<void> {
    try {
      let { source } = control
      for (let got = await source.read(); got !== null; got = await source.read()) {
        if (got instanceof Moved) source = got.to
      }
      await packets.scope.end(clean)
    } catch (thrown) {
      await packets.scope.end(failed(flowError('control-ended', { cause: asError(thrown) })))
    }
  }

  #enter(stage: FlowStage): void {
    assert(flowStages[this.#stage].includes(stage), `a flow goes from ${this.#stage} to ${stage}`)
    this.#stage = stage
  }

  async #dialPackets(request: FlowRequest): Promise<PacketLink> {
    this.#enter('dialing')
    const { tag, handler } = this.#context.route(request)
    this.#outbound = tag
    return handler.packets(request, this.#scope)
  }

  /** Questions with one answer need no long memory. */
  #idleMs(request: FlowRequest): number {
    const { connIdleMs } = this.#context.policy
    const short = request.target === null ? undefined : shortIdleMs.get(request.target.port)
    return short === undefined ? connIdleMs : Math.min(short, connIdleMs)
  }

  #failure(why: SluiceError, side: Side): RelayRecord {
    return {
      reason: reasonFor(why),
      side,
      call: why.call,
      code: why.code,
      system: why.system,
      why,
      up: noBytes,
      down: noBytes,
      upState: 'failed',
      downState: 'failed',
      laterFaults: 0,
    }
  }

  async #close(ending: RelayRecord): Promise<FlowRecord> {
    await this.#scope.end(ending.why === null ? clean : failed(ending.why))
    const lastStage = this.#stage
    this.#enter('over')
    const clock = this.#scope.program.clock
    return {
      ...ending,
      id: this.#context.id,
      inbound: this.#context.inbound,
      source: this.#request?.source ?? this.#source,
      user: this.#request?.user ?? null,
      network: this.#request?.network ?? 'tcp',
      target: this.#request?.target ?? null,
      outbound: this.#outbound,
      stage: lastStage,
      startedAt: this.#startedAt,
      durationMs: Math.round(clock.now() - this.#scope.startedMs),
    }
  }
}

/** DNS, NTP, STUN and mDNS 10 s; QUIC 30 s. */
const shortIdleMs: ReadonlyMap<number, number> = new Map([
  [53, 10_000],
  [123, 10_000],
  [3478, 10_000],
  [5353, 10_000],
  [443, 30_000],
])

function reasonFor(why: SluiceError): Reason {
  if (why.code === 'flow.handshake-timeout') return 'handshake-timeout'
  if (why.code === 'core.unknown') return 'error'
  return reasonOf(why)
}

/** The link behind the header; unless the proxy speaks for itself its path is the one it names. */
async function afterProxyHeader(link: Link): Promise<Link> {
  const halves = link.takeApart()
  const header = await readHead(halves.source, decodeProxy)
  halves.source = header.source
  const { source, local } = header.value
  return halves.join(local || source === null ? halves.path : { ...halves.path, remote: source })
}
