import assert from 'node:assert/strict'
import dgram from 'node:dgram'
import { formatEndpoint, parsePort } from '../../src/index.ts'
import type { Client } from './proxy-client.ts'
import { within } from './proxy-wait.ts'

export interface Datagram {
  readonly bytes: Buffer
  /** `address:port` of the sender. */
  readonly from: string
}

/** A UDP socket of a test. */
export class UdpPeer {
  readonly socket: dgram.Socket
  readonly #received: Datagram[] = []
  #wake: () => void = () => undefined
  #receivedTotal = 0

  private constructor(socket: dgram.Socket) {
    this.socket = socket
    socket.on('message', (bytes, { address, port }) => {
      this.#receivedTotal += 1
      this.#received.push({ bytes, from: formatEndpoint({ host: address, port: parsePort(port) }) })
      this.#wake()
    })
  }

  static async bind(host: string, port: number): Promise<UdpPeer> {
    const type = host.includes(':') ? 'udp6' : 'udp4'
    const socket = dgram.createSocket({ type, recvBufferSize: 1_048_576 })
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind({ address: host, port }, resolve)
    })
    return new UdpPeer(socket)
  }

  get port(): number {
    return this.socket.address().port
  }
  /** `address:port` of our end. */
  get name(): string {
    const { address, port } = this.socket.address()
    return formatEndpoint({ host: address, port: parsePort(port) })
  }
  get receivedTotal(): number {
    return this.#receivedTotal
  }

  /** From now on every datagram goes back to where it came from. */
  echoes(): void {
    this.socket.on('message', (bytes, { address, port }) => {
      this.socket.send(bytes, port, address)
    })
  }

  /** Settled when the kernel has it. */
  async send(bytes: Uint8Array | string, port: number, host = '127.0.0.1'): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.socket.send(bytes, port, host, error => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  /** The next datagram that nobody has asked for yet. */
  async next(limitMs?: number): Promise<Datagram> {
    const wait = async (): Promise<Datagram> => {
      for (;;) {
        const datagram = this.#received.shift()
        if (datagram !== undefined) return datagram
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
    return within(wait(), 'a datagram', undefined, limitMs)
  }

  close(): Promise<void> {
    return new Promise(resolve => {
      this.socket.close(resolve)
    })
  }
}

/** `[reserved 2][fragment][address]` of RFC 1928 section 7, written by hand. */
export function socksUdp(
  target: string,
  port: number,
  bytes: Uint8Array | string,
  fragment = 0,
): Buffer {
  const head = Buffer.from([0, 0, fragment])
  return Buffer.concat([head, socksAddress(target, port), Buffer.from(bytes)])
}

/** `[type][address][port]` of RFC 1928 section 5, written by hand: IPv4 or a domain. */
export function socksAddress(host: string, port: number): Buffer {
  const tail = Buffer.from([port >> 8, port & 0xff])
  if (/^[0-9.]+$/.test(host)) {
    return Buffer.concat([Buffer.from([1, ...host.split('.').map(Number)]), tail])
  }
  if (host === '::1')
    return Buffer.concat([Buffer.from([4]), Buffer.alloc(15), Buffer.from([1]), tail])
  const name = Buffer.from(host, 'latin1')
  return Buffer.concat([Buffer.from([3, name.length]), name, tail])
}

/** The client's side of an association. */
export class Association {
  readonly control: Client
  readonly peer: UdpPeer
  /** Where to send datagrams. */
  readonly port: number

  private constructor(control: Client, peer: UdpPeer, port: number) {
    this.control = control
    this.peer = peer
    this.port = port
  }

  /** Asks for an association without users; `named` is the port the client says it sends from. */
  static async open(control: Client, peer: UdpPeer, named = 0): Promise<Association> {
    control.send(Buffer.from([5, 1, 0]))
    assert.deepEqual([...(await control.read(2))], [5, 0])
    control.send(Buffer.concat([Buffer.from([5, 3, 0]), socksAddress('0.0.0.0', named)]))
    const reply = await control.read(10)
    assert.deepEqual([...reply.subarray(0, 8)], [5, 0, 0, 1, 127, 0, 0, 1])
    return new Association(control, peer, reply.readUInt16BE(8))
  }

  async send(target: string, port: number, bytes: Uint8Array | string): Promise<void> {
    await this.peer.send(socksUdp(target, port, bytes), this.port)
  }

  /** The next answer: who sent it and what. */
  async next(): Promise<{ readonly bytes: Buffer; readonly from: string }> {
    const { bytes } = await this.peer.next()
    assert.deepEqual([...bytes.subarray(0, 3)], [0, 0, 0])
    const size = bytes[3] === 1 ? 4 : 16
    assert.equal(bytes[3], size === 4 ? 1 : 4)
    const host = size === 4 ? bytes.subarray(4, 8).join('.') : bytes.subarray(4, 20).toString('hex')
    const from = `${host}:${String(bytes.readUInt16BE(4 + size))}`
    return { bytes: bytes.subarray(6 + size), from }
  }
}
