import { copyOf } from '../../bytes/bytes.ts'
import { limits } from '../../core/limits.ts'
import type { Now } from '../../core/link.ts'
import type { Packet, PacketLink } from '../../core/packets.ts'
import type { Scope } from '../../core/scope.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Resolver } from '../../net/network.ts'
import { isIp } from '../../wire/address.ts'

/** Names of one association that are remembered; the oldest makes room. */
const namesMax = 1_024

/**
 * Packets whose peer may be a name. A name is resolved once; datagrams for it wait meanwhile, within a
 * bound, and those for other peers do not wait for them.
 */
export class ResolvingPackets implements PacketLink {
  readonly scope: Scope
  readonly local: Endpoint
  readonly addresses: 'per-packet' = 'per-packet' as const
  readonly bytesMax: number
  readonly #below: PacketLink
  readonly #only: Endpoint | null
  readonly #resolver: Resolver
  /** The address of a name, or the datagrams that wait for it. */
  readonly #names = new Map<string, string | Packet[]>()
  #waiting = 0
  #dropped = 0

  /** With `only` nobody but that target is heard: the flow was made for it alone. */
  constructor(below: PacketLink, resolver: Resolver, only: Endpoint | null) {
    this.#only = only
    this.#below = below
    this.#resolver = resolver
    this.scope = below.scope
    this.local = below.local
    this.bytesMax = below.bytesMax
  }

  get dropped(): number {
    return this.#dropped + this.#below.dropped
  }

  receive(batch: Packet[]): Now<number> {
    return this.#only === null ? this.#below.receive(batch) : this.#receiveFrom(this.#only, batch)
  }

  async #receiveFrom(only: Endpoint, batch: Packet[]): Promise<number> {
    for (;;) {
      const count = await this.#below.receive(batch)
      if (count === 0) return 0
      const address = this.#names.get(only.host) ?? only.host
      let kept = 0
      for (let at = 0; at < count; at++) {
        const packet = batch[at]
        const place = batch[kept]
        if (packet === undefined || place === undefined) break
        if (packet.peer.port !== only.port || packet.peer.host !== address) {
          this.#dropped += 1
          continue
        }
        place.bytes = packet.bytes
        place.peer = packet.peer
        kept += 1
      }
      if (kept > 0) return kept
    }
  }

  async send(batch: readonly Packet[], count: number): Promise<number> {
    const ready: Packet[] = []
    let waiting = 0
    for (let at = 0; at < count; at++) {
      const packet = batch[at]
      if (packet === undefined) break
      const host = this.#addressOf(packet)
      if (host === null) waiting += packet.bytes.length
      else ready.push({ bytes: packet.bytes, peer: { host, port: packet.peer.port } })
    }
    return waiting + (await this.#below.send(ready, ready.length))
  }

  /** Null: the datagram waits for its name, or was dropped. */
  #addressOf(packet: Packet): string | null {
    const { host } = packet.peer
    if (isIp(host) !== 0) return host
    const known = this.#names.get(host)
    if (typeof known === 'string') return known
    if (this.#waiting >= limits.packetsWaitingMax) {
      this.#dropped += 1
      return null
    }
    this.#waiting += 1
    const kept: Packet = { bytes: copyOf(packet.bytes), peer: packet.peer }
    if (known === undefined) this.#resolve(host, [kept])
    else known.push(kept)
    return null
  }

  #resolve(name: string, waiting: Packet[]): void {
    if (this.#names.size >= namesMax) {
      const [oldest] = this.#names.keys()
      if (oldest !== undefined) this.#names.delete(oldest)
    }
    this.#names.set(name, waiting)
    this.scope.task(`resolve ${name}`, async () => {
      try {
        const [address] = await this.#resolver.resolve(this.scope, name)
        if (address === undefined) throw new Error('a resolver gives at least one address')
        this.#names.set(name, address)
        await this.#sendWaiting(waiting, address)
      } catch {
        // A name without an address costs its datagrams, as the network does; the next one asks again.
        if (this.#names.get(name) === waiting) this.#names.delete(name)
        this.#dropped += waiting.length
      }
      this.#waiting -= waiting.length
    })
  }

  async #sendWaiting(waiting: readonly Packet[], host: string): Promise<void> {
    const packets = waiting.map(({ bytes, peer }) => ({ bytes, peer: { host, port: peer.port } }))
    if (this.scope.isOpen) await this.#below.send(packets, packets.length)
  }
}
