import { type Bytes, concat, copyOf } from '../../src/bytes/bytes.ts'
import { coreError, type SluiceError } from '../../src/core/errors.ts'
import { type Link, Moved, type Now, type Sink, type Source } from '../../src/core/link.ts'

/**
 * A layer that can be left, each direction by itself and at an exact byte: bytes go in frames
 * `[size u16][payload]` until a frame of size 0xffff says that what follows is raw. The write after
 * `leave` is the last one in frames and says `Moved`; the read that meets the mark says `Moved` with
 * what was read beyond it.
 */
export class ToyLayer {
  readonly link: Link
  readonly #sink: ToySink

  constructor(below: Link) {
    const halves = below.takeApart()
    this.#sink = new ToySink(halves.sink)
    halves.source = new ToySource(halves.source)
    halves.sink = this.#sink
    this.link = halves.join()
  }
  /** The next write is the last one of this layer. */
  leave(): void {
    this.#sink.isLeaving = true
  }
}

const mark = 0xffff

class ToySource implements Source {
  #below: Source
  #held: Bytes = new Uint8Array(0)
  #isSpent = false
  #isReading = false

  constructor(below: Source) {
    this.#below = below
  }

  async read(): Promise<Bytes | null | Moved<Source>> {
    if (this.#isSpent) throw coreError('spent')
    if (this.#isReading) throw coreError('busy')
    this.#isReading = true
    try {
      return await this.#read()
    } finally {
      this.#isReading = false
    }
  }

  async #read(): Promise<Bytes | null | Moved<Source>> {
    for (;;) {
      const ready = this.#next()
      if (ready !== null) return ready
      const got = await this.#below.read()
      if (got === null) return null
      if (got instanceof Moved) this.#below = got.to
      const more = got instanceof Moved ? got.leftover : [got]
      this.#held = concat([this.#held, ...more.map(copyOf)])
    }
  }

  #next(): Bytes | Moved<Source> | null {
    const [high, low] = this.#held
    if (high === undefined || low === undefined) return null
    const size = high * 256 + low
    if (size === mark) {
      this.#isSpent = true
      return new Moved(this.#below, this.#held.length > 2 ? [this.#held.subarray(2)] : [])
    }
    if (this.#held.length < 2 + size) return null
    const payload = this.#held.subarray(2, 2 + size)
    this.#held = this.#held.subarray(2 + size)
    return payload
  }

  cancel(why: SluiceError): void {
    this.#below.cancel(why)
  }
}

class ToySink implements Sink {
  #below: Sink
  #isSpent = false
  isLeaving = false

  constructor(below: Sink) {
    this.#below = below
  }

  async write(bytes: Bytes | readonly Bytes[]): Promise<undefined | Moved<Sink>> {
    if (this.#isSpent) throw coreError('spent')
    const isLast = this.isLeaving
    const whole = bytes instanceof Uint8Array ? bytes : concat(bytes)
    const frames: Bytes[] = []
    for (let at = 0; at < whole.length; at += 60_000) {
      const part = whole.subarray(at, at + 60_000)
      frames.push(new Uint8Array([part.length >>> 8, part.length & 0xff]), part)
    }
    if (isLast) frames.push(new Uint8Array([0xff, 0xff]))
    const moved = await this.#below.write(frames)
    if (moved instanceof Moved) this.#below = moved.to
    if (!isLast) return undefined
    await this.#below.flush()
    this.#isSpent = true
    return new Moved(this.#below)
  }

  flush(): Now<undefined> {
    return this.#below.flush()
  }
  closeWrite(): Now<undefined> {
    return this.#below.closeWrite()
  }
  reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    this.#below.reset(why, after)
  }
  get ends(): Sink['ends'] {
    return this.#below.ends
  }
  get resets(): Sink['resets'] {
    return this.#below.resets
  }
  get waitingBytes(): number {
    return this.#below.waitingBytes
  }
}
