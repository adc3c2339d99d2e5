import dgram from 'node:dgram'
import { type Endpoint, formatEndpoint, parsePort } from '../core/endpoint.ts'
import { coreError, type SluiceError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Now } from '../core/link.ts'
import type { Packet, PacketLink } from '../core/packets.ts'
import { clean, type Ending, errorOf, type Scope } from '../core/scope.ts'
import { isIp } from '../wire/address.ts'
import { systemError } from './errors.ts'
import { plainHost } from './socket-link.ts'

/** What the kernel may keep for one socket in each direction. */
const socketBufferBytes = 1_048_576

export type DatagramListener = (bytes: Uint8Array, peer: Endpoint) => void

/** Anyone may send to it: a server's socket with many clients, or the two below. */
export interface UdpSocket {
  readonly local: Endpoint
  /** Sends to an IP address; false when it cannot be sent now, which for a datagram means lost. */
  send(bytes: Uint8Array, peer: Endpoint): boolean
}

/**
 * Binds a UDP socket that belongs to `scope` and gives every datagram to `onDatagram`, whose bytes it
 * may keep. `onFault` hears what the system says later (an ICMP refusal, say); the socket lives on.
 * Throws `net.address-in-use` and the like.
 */
export async function bindUdp(
  scope: Scope,
  where: Endpoint,
  onDatagram: DatagramListener,
  onFault: (why: SluiceError) => void,
): Promise<UdpSocket> {
  const family = isIp(where.host) === 6 ? 6 : 4
  const socket = dgram.createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    recvBufferSize: socketBufferBytes,
    sendBufferSize: socketBufferBytes,
    lookup: (host, _options, answer) => {
      // Only IP addresses get here: names are resolved before, by ourselves.
      answer(null, host, family)
    },
  })
  const closed = Promise.withResolvers<void>()
  socket.once('close', () => {
    closed.resolve()
  })
  let isOpen = true
  const held = scope.hold('socket', `udp ${formatEndpoint(where)}`, () => {
    isOpen = false
    socket.close()
    return closed.promise
  })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind({ address: where.host, port: where.port }, () => {
        socket.off('error', reject)
        resolve()
      })
    })
  } catch (thrown) {
    held.drop()
    socket.close()
    throw systemError(thrown, 'bind', formatEndpoint(where))
  }
  socket.on('error', thrown => {
    onFault(systemError(thrown, 'read'))
  })
  socket.on('message', (bytes, from) => {
    if (isOpen) onDatagram(bytes, { host: plainHost(from.address), port: parsePort(from.port) })
  })
  const bound = socket.address()
  return {
    local: { host: bound.address, port: parsePort(bound.port) },
    send: (bytes, peer) => {
      if (!isOpen || socket.getSendQueueCount() >= limits.packetsWaitingMax) return false
      const to = addressFor(family, where.host, peer.host)
      if (bytes.length > limits.packetBytesMax || to === null || peer.port === 0) return false
      socket.send(bytes, peer.port, to, thrown => {
        if (thrown !== null) onFault(systemError(thrown, 'write'))
      })
      return true
    },
  }
}

/** How a socket of `family` names `host`; null if it cannot reach it. A socket on `::` serves both. */
function addressFor(family: 4 | 6, bound: string, host: string): string | null {
  const found = isIp(host)
  if (found === family) return host
  return found === 4 && bound === '::' ? `::ffff:${host}` : null
}

/**
 * A packet link from sockets of our own, one for each address family, made when first needed: every
 * peer sees the same address of ours (full cone). Peers must be IP addresses.
 */
export class UdpLink implements PacketLink {
  readonly scope: Scope
  readonly addresses = 'per-packet' as const
  readonly bytesMax: number = limits.packetBytesMax
  readonly local: Endpoint
  readonly #sockets: { four: Promise<UdpSocket> | null; six: Promise<UdpSocket> | null } = {
    four: null,
    six: null,
  }
  #ready: { four: UdpSocket | null; six: UdpSocket | null } = { four: null, six: null }
  readonly #waiting: Packet[] = []
  #wake: (() => void) | null = null
  #ending: Ending | null = null
  #dropped = 0
  #faults = 0
  readonly #from: string | null

  /** Nothing is opened before the first packet is sent. `from`: the local address to send from. */
  constructor(owner: Scope, name: string, from: string | null = null) {
    this.scope = owner.child('packets', name)
    this.#from = from
    this.local = { host: from ?? '0.0.0.0', port: parsePort(0) }
    this.scope.onEnd(ending => {
      this.#ending = ending
      this.#waiting.length = 0
      this.#wake?.()
    })
    this.scope.setNote(() => `dropped ${String(this.#dropped)} faults ${String(this.#faults)}`)
  }

  get dropped(): number {
    return this.#dropped
  }

  receive(batch: Packet[]): Now<number> {
    if (this.#ending !== null) return this.#over(this.#ending)
    if (this.#waiting.length > 0) return this.#fill(batch)
    if (this.#wake !== null) throw coreError('busy', { detail: { call: 'receive' } })
    return this.#wait(batch)
  }

  async #wait(batch: Packet[]): Promise<number> {
    const woken = Promise.withResolvers<void>()
    this.#wake = woken.resolve
    await woken.promise
    this.#wake = null
    return this.#ending === null ? this.#fill(batch) : this.#over(this.#ending)
  }

  #over(ending: Ending): number {
    if (ending === clean) return 0
    throw errorOf(ending)
  }

  #fill(batch: Packet[]): number {
    let count = 0
    for (const place of batch) {
      const packet = this.#waiting.shift()
      if (packet === undefined) break
      place.bytes = packet.bytes
      place.peer = packet.peer
      count += 1
    }
    return count
  }

  async send(batch: readonly Packet[], count: number): Promise<number> {
    let taken = 0
    for (let at = 0; at < count; at++) {
      const packet = batch[at]
      if (packet === undefined) break
      const socket = await this.#socketFor(packet.peer.host).catch(() => this.#unusable())
      if (socket?.send(packet.bytes, packet.peer) === true) taken += packet.bytes.length
      else this.#dropped += 1
    }
    return taken
  }

  /** A family that this machine does not have costs its datagrams, not the association. */
  #unusable(): null {
    if (this.#ending !== null) throw errorOf(this.#ending)
    this.#faults += 1
    return null
  }

  async #socketFor(host: string): Promise<UdpSocket | null> {
    if (this.#ending !== null) throw errorOf(this.#ending)
    const family = isIp(host)
    if (family === 0) return null
    const key = family === 6 ? 'six' : 'four'
    const ready = this.#ready[key]
    if (ready !== null) return ready
    this.#sockets[key] ??= this.#open(family)
    const socket = await this.#sockets[key]
    this.#ready[key] = socket
    return socket
  }

  #open(family: 4 | 6): Promise<UdpSocket> {
    const any = family === 6 ? '::' : '0.0.0.0'
    const from = this.#from !== null && isIp(this.#from) === family ? this.#from : any
    return bindUdp(
      this.scope,
      { host: from, port: parsePort(0) },
      (bytes, peer) => {
        if (this.#waiting.length >= limits.packetsWaitingMax) {
          this.#dropped += 1
          return
        }
        this.#waiting.push({ bytes, peer })
        this.#wake?.()
      },
      () => {
        this.#faults += 1
      },
    )
  }
}
