/**
 * Toy protocols between the relay and a real socket, one for each thing that plain TCP does not do. A
 * server of the test speaks the other end.
 */
import {
  defineOutbound,
  type Link,
  Moved,
  type Now,
  type Outbound,
  type OutboundContext,
  type Sink,
  type SluiceError,
  type Source,
} from '../../src/index.ts'
import type { Bytes } from '../../src/bytes/bytes.ts'
import type { FlowRequest, Scope } from '../../src/index.ts'
import { freedomOutbound } from '../../src/protocol/freedom/outbound.ts'

/** `freedom` with a layer on each link. */
function layered(type: string, layer: (link: Link) => Link): Outbound {
  return defineOutbound({
    type,
    options: freedomOutbound.options,
    create: (options, context: OutboundContext) => {
      const handler = freedomOutbound.create(options, context)
      return {
        packets: (request, scope) => handler.packets(request, scope),
        link: async (request: FlowRequest, scope: Scope) =>
          layer(await handler.link(request, scope)),
      }
    },
  })
}

const veil = 0x5a

/** Where a veil ends: at this byte, or with the first write that the kernel does not take at once. */
export interface Veil {
  readonly downBytes: number
  readonly upBytes: number | 'pending'
  /** Hears where the uplink has left the veil. */
  readonly onLeave: (upBytes: number) => void
}

/** The first bytes of each direction are changed; then the layer is left for what is below. */
export function veiledOutbound({ downBytes, upBytes, onLeave }: Veil): Outbound {
  return layered('veiled', link => {
    const halves = link.takeApart()
    halves.source = new VeiledSource(halves.source, downBytes)
    halves.sink = new VeiledSink(halves.sink, upBytes, onLeave)
    return halves.join()
  })
}

/** A copy with the first `count` bytes the other way round. */
function veiled(bytes: Bytes, count: number): Bytes {
  return bytes.map((byte, at) => (at < count ? byte ^ veil : byte))
}

class VeiledSource implements Source {
  #below: Source
  #left: number
  #rest: Bytes | null = null
  constructor(below: Source, size: number) {
    this.#below = below
    this.#left = size
  }
  read(): Now<Bytes | null | Moved<Source>> {
    const rest = this.#rest
    if (rest !== null) return new Moved(this.#below, rest.length === 0 ? [] : [rest])
    const read = this.#below.read()
    return read instanceof Promise ? read.then(got => this.#opened(got)) : this.#opened(read)
  }
  #opened(read: Bytes | null | Moved<Source>): Now<Bytes | null | Moved<Source>> {
    if (read instanceof Moved) {
      this.#below = read.to
      return this.read()
    }
    if (read === null) return null
    const count = Math.min(read.length, this.#left)
    this.#left -= count
    if (this.#left === 0) this.#rest = read.slice(count)
    return veiled(read.subarray(0, count), count)
  }
  cancel(why: SluiceError): void {
    this.#below.cancel(why)
  }
}

/** A sink that is the one below but for what a layer changes. */
class LayerSink implements Sink {
  protected readonly below: Sink
  constructor(below: Sink) {
    this.below = below
  }
  write(bytes: Bytes | readonly Bytes[]): Now<undefined | Moved<Sink>> {
    return this.below.write(bytes)
  }
  flush(): Now<undefined> {
    return this.below.flush()
  }
  closeWrite(): Now<undefined> {
    return this.below.closeWrite()
  }
  reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    this.below.reset(why, after)
  }
  get ends(): Sink['ends'] {
    return this.below.ends
  }
  get resets(): Sink['resets'] {
    return this.below.resets
  }
  get waitingBytes(): number {
    return this.below.waitingBytes
  }
}

class VeiledSink extends LayerSink {
  #done = 0
  readonly #size: number | 'pending'
  readonly #onLeave: (upBytes: number) => void
  constructor(below: Sink, size: number | 'pending', onLeave: (upBytes: number) => void) {
    super(below)
    this.#size = size
    this.#onLeave = onLeave
  }
  override async write(bytes: Bytes | readonly Bytes[]): Promise<undefined | Moved<Sink>> {
    const whole = bytes instanceof Uint8Array ? bytes : Buffer.concat(bytes)
    const left = this.#size === 'pending' ? whole.length : this.#size - this.#done
    const count = Math.min(whole.length, left)
    this.#done += count
    const written = this.below.write(veiled(whole, count))
    const isLast = this.#size === 'pending' ? this.below.waitingBytes > 0 : count === left
    if (isLast) this.#onLeave(this.#done)
    const moved = await written
    const below = moved instanceof Moved ? moved.to : this.below
    return isLast ? new Moved(below) : moved
  }
}

/** What a toy stream says instead of an end, and instead of a reset. */
export const endWord = 'BYE'
export const resetWord = 'ERR'

/** One whose end is a word and ends both halves, so that it cannot say it while it still reads. */
export function wordyOutbound(): Outbound {
  return layered('wordy', link => {
    const halves = link.takeApart()
    halves.sink = new WordySink(halves.sink)
    return halves.join()
  })
}

class WordySink extends LayerSink {
  override get ends(): 'both' {
    return 'both'
  }
  override get resets(): 'coded' {
    return 'coded'
  }
  override async closeWrite(): Promise<undefined> {
    await this.below.write(Buffer.from(endWord))
    return this.below.closeWrite()
  }
  override reset(why: SluiceError, after = { graceMs: 0 }): void {
    // The word first; then the wire goes when that has left.
    const said = Promise.resolve(this.below.write(Buffer.from(resetWord)))
    said
      .catch(() => undefined)
      .finally(() => {
        this.below.reset(why, { graceMs: Math.max(after.graceMs, 1_000) })
      })
      .catch(() => undefined)
  }
}
