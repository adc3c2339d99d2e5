import type net from 'node:net'
import { within } from './proxy-wait.ts'

/** How the other side ended what it sends to us. */
export type PeerEnd = 'end' | 'reset'

/** A TCP or UNIX connection of a test: bytes are awaited, never slept for. */
export class Client {
  readonly socket: net.Socket
  /** Settles once: with the peer's end, or with its reset. */
  readonly over: Promise<PeerEnd>
  #held: Buffer[] = []
  #heldBytes = 0
  #receivedBytes = 0
  #end: PeerEnd | null = null
  #port = 0
  #wake: () => void = () => undefined

  constructor(socket: net.Socket) {
    this.socket = socket
    const over = Promise.withResolvers<PeerEnd>()
    this.over = over.promise
    const finish = (end: PeerEnd): void => {
      this.#end ??= end
      over.resolve(this.#end)
      this.#wake()
    }
    this.#port = socket.localPort ?? 0
    socket.on('connect', () => {
      this.#port = socket.localPort ?? 0
    })
    socket.on('data', bytes => {
      if (typeof bytes === 'string') return
      this.#held.push(bytes)
      this.#heldBytes += bytes.length
      this.#receivedBytes += bytes.length
      this.#wake()
    })
    socket.on('end', () => {
      finish('end')
    })
    socket.on('error', () => {
      finish('reset')
    })
    socket.on('close', () => {
      finish('reset')
    })
  }

  /** The port of our end: how the proxy's records name this client. */
  get port(): number {
    return this.#port
  }
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /** Text goes out as one byte a character. */
  send(bytes: Uint8Array | string): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** As `send`, settled when the kernel has taken it or the connection is gone. */
  async sent(bytes: Uint8Array): Promise<void> {
    await new Promise<void>(resolve => {
      this.socket.write(bytes, () => {
        resolve()
      })
    })
  }

  /** The end, after `last` if there is any. */
  end(last?: Uint8Array | string): void {
    if (last !== undefined) this.send(last)
    this.socket.end()
  }
  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** Exactly so many bytes. */
  async read(count: number): Promise<Buffer> {
    await this.#until(() => this.#heldBytes >= count, `${String(count)} bytes`)
    if (this.#heldBytes < count) throw this.#cut(`${String(count)} bytes`)
    const all = Buffer.concat(this.#held)
    this.#held = [all.subarray(count)]
    this.#heldBytes -= count
    return all.subarray(0, count)
  }

  /** Up to and with `mark`. */
  async readUntil(mark: string): Promise<string> {
    const found = (): number => Buffer.concat(this.#held).indexOf(mark, 0, 'latin1')
    await this.#until(() => found() >= 0, JSON.stringify(mark))
    if (found() < 0) throw this.#cut(JSON.stringify(mark))
    return (await this.read(found() + mark.length)).toString('latin1')
  }

  /** Everything until the peer ends or resets. */
  async readAll(): Promise<Buffer> {
    await this.#until(() => false, 'the end')
    const all = Buffer.concat(this.#held)
    this.#held = []
    this.#heldBytes = 0
    return all
  }

  async #until(isThere: () => boolean, what: string): Promise<void> {
    const wait = async (): Promise<void> => {
      while (!isThere() && this.#end === null) {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
    await within(wait(), `a peer to send ${what}`, () => JSON.stringify(this.#text()))
  }

  #cut(wanted: string): Error {
    return new Error(`wanted ${wanted}, but the peer's ${String(this.#end)} came: ${this.#text()}`)
  }

  #text(): string {
    return Buffer.concat(this.#held).toString('latin1').slice(0, 500)
  }
}
