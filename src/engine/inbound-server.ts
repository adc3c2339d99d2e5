import type { InboundHandler } from '../contract/inbound.ts'
import type { TransportHandler } from '../contract/transport.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { Link } from '../core/link.ts'
import { AssociationTable, PushedPackets } from '../core/packets.ts'
import { failed, type Scope } from '../core/scope.ts'
import { asError, type SluiceError } from '../core/errors.ts'
import { bindUdp, type UdpSocket } from '../net/udp.ts'
import type { Listener } from '../net/listen.ts'
import type { EventSink, FlowRecord } from '../observe/events.ts'
import { Flow, type FlowPolicy, type Route } from './flow.ts'

export interface InboundSetup {
  readonly tag: string
  readonly where: Endpoint
  readonly acceptProxyProtocol: boolean
  readonly handler: InboundHandler
  readonly transport: TransportHandler
  readonly policy: FlowPolicy
  readonly route: Route
  readonly nextId: () => number
  readonly sink: EventSink
  readonly onRecord: (record: FlowRecord) => void
}

/** One inbound while it runs: its listeners, and the flows that came through them. */
export class InboundServer {
  readonly #scope: Scope
  readonly #listeners: Scope
  readonly #setup: InboundSetup
  readonly #associations = new AssociationTable()
  #local: Endpoint
  #flows = 0

  private constructor(scope: Scope, setup: InboundSetup) {
    this.#scope = scope
    this.#listeners = scope.child('task', 'listeners')
    this.#setup = setup
    this.#local = setup.where
    scope.setNote(() => `${String(this.#flows)} flows`)
  }

  /** Listens; throws what `listen` throws, and then nothing is left open. */
  static async open(owner: Scope, setup: InboundSetup): Promise<InboundServer> {
    const server = new InboundServer(owner.child('inbound', setup.tag), setup)
    try {
      await server.#listen()
    } catch (thrown) {
      const why = asError(thrown)
      await server.#scope.end(failed(why))
      throw why
    }
    return server
  }

  get tag(): string {
    return this.#setup.tag
  }
  get networks(): readonly string[] {
    return this.#setup.handler.networks
  }
  get local(): Endpoint {
    return this.#local
  }
  /** Flows that are not over. */
  get flows(): number {
    return this.#flows
  }

  async #listen(): Promise<void> {
    const { handler, transport, where } = this.#setup
    if (handler.networks.includes('tcp')) {
      const listener: Listener = await transport.listen(this.#listeners, where, {
        onLink: link => {
          this.#serve(link)
        },
        onFault: why => {
          this.#fault('accept', why)
        },
      })
      this.#local = listener.local
    }
    if (handler.networks.includes('udp')) {
      const at = { host: where.host, port: this.#local.port }
      // Its clients are answered by it, so it lives as long as their flows.
      const scope = this.#scope.child('listener', 'udp')
      const socket = await bindUdp(
        scope,
        at,
        (bytes, peer) => {
          this.#onDatagram(socket, bytes, peer)
        },
        why => {
          this.#fault('udp', why)
        },
      )
      this.#local = socket.local
    }
  }

  #serve(link: Link): void {
    this.#count(this.#newFlow(link.path.remote).flow.serve(link))
  }

  #newFlow(source: Endpoint): { readonly flow: Flow; readonly scope: Scope } {
    const id = this.#setup.nextId()
    const scope = this.#scope.child('flow', `#${String(id)}`)
    const context = { ...this.#setup, id, inbound: this.#setup.tag, listening: this.#local }
    return { flow: new Flow(scope, context, source), scope }
  }

  #count(ended: Promise<FlowRecord>): void {
    this.#flows += 1
    ended
      .then(record => {
        this.#flows -= 1
        this.#setup.onRecord(record)
      })
      .catch((thrown: unknown) => {
        this.#scope.program.report(thrown)
      })
  }

  #onDatagram(socket: UdpSocket, bytes: Uint8Array, peer: Endpoint): void {
    const target = this.#setup.handler.packetTarget?.(this.#local)
    if (target === undefined) return
    const known = this.#associations.find(peer)
    if (known !== null) {
      known.push(bytes, target)
      return
    }
    if (!this.#listeners.isOpen) return
    const { flow, scope } = this.#newFlow(peer)
    const packets = new PushedPackets(
      scope.child('association', ''),
      this.#local,
      'fixed',
      packet => socket.send(packet.bytes, peer),
    )
    this.#associations.add(peer, packets)
    packets.push(bytes, target)
    this.#count(flow.servePackets(packets, { network: 'udp', target, user: null, source: peer }))
  }

  #fault(where: string, why: SluiceError): void {
    this.#setup.sink({ kind: 'fault', where: `${this.#setup.tag} ${where}`, why })
  }

  /** Accepts nothing any more; flows go on. */
  async stopListening(): Promise<void> {
    await this.#listeners.end({ kind: 'clean' })
  }

  async end(why: SluiceError): Promise<void> {
    await this.#scope.end(failed(why))
  }
}
