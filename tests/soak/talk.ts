import net from 'node:net'
import type { Random } from '../../src/testing/random.ts'
import { networkOf, type WayName } from './ways.ts'

/** A client's side of one flow. */
export class Talk {
  readonly socket: net.Socket
  #parts: Buffer[] = []
  #size = 0
  #end: string | null = null
  #isClosed = false
  #wake: () => void = () => undefined

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('data', (part: Buffer) => {
      this.#parts.push(part)
      this.#size += part.length
      this.#wake()
    })
    socket.on('end', () => {
      this.#end ??= 'end'
      this.#wake()
    })
    socket.on('error', thrown => {
      this.#end ??= 'code' in thrown ? String(thrown.code) : thrown.message
      this.#wake()
    })
    socket.on('close', () => {
      this.#isClosed = true
      this.#end ??= 'close'
      this.#wake()
    })
  }

  /** Connects from an address that tells the way. */
  static async to(to: number | string, way: WayName, random: Random): Promise<Talk> {
    const talk = new Talk(
      typeof to === 'string'
        ? net.connect({ path: to, allowHalfOpen: true })
        : net.connect({
            host: '127.0.0.1',
            port: to,
            localAddress: addressOf(way, random),
            allowHalfOpen: true,
            noDelay: true,
          }),
    )
    await talk.#until(() => !talk.socket.connecting || talk.#end !== null)
    // A connection that is reset at once was one: it was accepted before it could be refused.
    const { connecting } = talk.socket
    if (talk.#end !== null && (connecting || talk.#end !== 'ECONNRESET')) {
      throw new Error(`cannot connect: ${talk.#end}`)
    }
    return talk
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
        if (this.socket.connecting) this.socket.once('connect', resolve)
      })
    }
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }
  end(): void {
    this.socket.end()
  }
  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** The next `size` bytes; throws if they do not come. */
  async bytes(size: number): Promise<Buffer> {
    await this.#until(() => this.#size >= size || this.#end !== null)
    if (this.#size < size) {
      throw new Error(`${String(this.#size)} of ${String(size)} bytes, then ${String(this.#end)}`)
    }
    const all = Buffer.concat(this.#parts)
    this.#parts = [all.subarray(size)]
    this.#size -= size
    return all.subarray(0, size)
  }

  /** All that comes until this direction is over, and how it ended: `end`, or the system's name. */
  async rest(): Promise<{ readonly bytes: Buffer; readonly end: string }> {
    await this.#until(() => this.#end !== null)
    const bytes = Buffer.concat(this.#parts)
    this.#parts = []
    this.#size = 0
    return { bytes, end: this.#end ?? '' }
  }

  async closed(): Promise<void> {
    await this.#until(() => this.#isClosed)
  }
}

export function addressOf(way: WayName, random: Random): string {
  return `127.${String(networkOf(way))}.${String(random.whole(0, 255))}.${String(random.whole(1, 254))}`
}
