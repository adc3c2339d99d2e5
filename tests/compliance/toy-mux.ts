import { type Bytes, concat, copyOf } from '../../src/bytes/bytes.ts'
import { asError, coreError, SluiceError } from '../../src/core/errors.ts'
import { Link, Moved, type Now, type Sink, type Source } from '../../src/core/link.ts'
import { clean, type Ending, failed, type Scope } from '../../src/core/scope.ts'

const Kind = { data: 0, window: 1, end: 2, reset: 3 } as const
const windowBytes = 16_384

/**
 * Many streams on one link, frames `[stream u8][kind u8][size u16][payload]`: a window for each stream,
 * credit given when the next read is called, and an end that ends both directions, as mux.cool's does.
 */
export class ToyMux {
  readonly #scope: Scope
  readonly #source: Source
  readonly #sink: Sink
  readonly #streams = new Map<number, Stream>()
  readonly #link: Link
  #tail: Promise<void> = Promise.resolve()

  constructor(link: Link) {
    this.#link = link.handOver()
    this.#scope = this.#link.scope
    this.#source = this.#link.source
    this.#sink = this.#link.sink
    this.#scope.task('mux', () => this.#run())
  }

  open(id: number): Link {
    const stream = new Stream(this.#scope.child('stream', String(id)), (kind, bytes) =>
      this.send(id, kind, bytes),
    )
    this.#streams.set(id, stream)
    stream.scope.onEnd(() => {
      this.#streams.delete(id)
    })
    return stream.link
  }

  get size(): number {
    return this.#streams.size
  }

  end(): Promise<Ending> {
    return this.#link.abort(new SluiceError('toy.end', 'stopped', 'the mux has ended'))
  }

  /** One frame after the other, in the order in which they were asked for. */
  send(id: number, kind: number, bytes: Bytes): Promise<void> {
    const sent = this.#tail.then(async () => {
      const head = new Uint8Array([id, kind, bytes.length >>> 8, bytes.length & 0xff])
      await this.#sink.write([head, bytes])
    })
    this.#tail = sent.catch(() => undefined)
    return sent
  }

  async #run(): Promise<void> {
    let held: Bytes = new Uint8Array(0)
    for (;;) {
      const got = await this.#source.read()
      if (got === null) throw new SluiceError('toy.cut', 'peer', 'the link under the mux has ended')
      if (got instanceof Moved) throw coreError('bug')
      held = concat([held, copyOf(got)])
      for (;;) {
        const [id, kind, high, low] = held
        if (id === undefined || kind === undefined) break
        if (high === undefined || low === undefined) break
        const size = high * 256 + low
        if (held.length < 4 + size) break
        this.#streams.get(id)?.take(kind, held.subarray(4, 4 + size))
        held = held.subarray(4 + size)
      }
    }
  }
}

class Stream implements Source, Sink {
  readonly scope: Scope
  readonly link: Link
  readonly ends = 'both' as const
  readonly resets = 'coded' as const
  readonly #send: (kind: number, bytes: Bytes) => Promise<void>
  #queue: Bytes[] = []
  #held = 0
  /** Given to the reader, and not yet back as credit. */
  #lent = 0
  #credit = windowBytes
  #hasEnd = false
  #isEndSent = false
  #fault: SluiceError | null = null
  #reader: (() => void) | null = null
  #writer: (() => void) | null = null
  waitingBytes = 0

  constructor(scope: Scope, send: (kind: number, bytes: Bytes) => Promise<void>) {
    this.scope = scope
    this.#send = send
    scope.hold('socket', 'stream', ending => this.#release(ending))
    const nowhere = { host: '192.0.2.9', port: 0 as never }
    this.link = new Link(
      { path: { remote: nowhere, local: nowhere }, scope, onGone: () => undefined },
      this,
      this,
    )
  }

  take(kind: number, bytes: Bytes): void {
    if (kind === Kind.data) {
      this.#queue.push(copyOf(bytes))
      this.#held += bytes.length
      if (this.#held > windowBytes) void this.scope.end(failed(coreError('limit')))
    } else if (kind === Kind.window) {
      this.#credit += (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0)
    } else if (kind === Kind.end) this.#hasEnd = true
    else this.#fault ??= new SluiceError('toy.reset', 'network', 'the stream was reset')
    this.#wake()
    if (this.#hasEnd && this.#isEndSent) void this.scope.end(clean)
  }

  #wake(): void {
    const { reader, writer } = { reader: this.#reader, writer: this.#writer }
    this.#reader = null
    this.#writer = null
    reader?.()
    writer?.()
  }

  async read(): Promise<Bytes | null> {
    if (this.#reader !== null) throw coreError('busy')
    if (this.#lent > 0 && this.#fault === null && !this.#hasEnd) {
      const back = this.#lent
      this.#lent = 0
      this.#send(Kind.window, new Uint8Array([back >>> 8, back & 0xff])).catch(() => undefined)
    }
    for (;;) {
      const bytes = this.#queue.shift()
      if (bytes !== undefined) {
        this.#held -= bytes.length
        this.#lent += bytes.length
        return bytes
      }
      if (this.#fault !== null) throw this.#fault
      if (this.#hasEnd) {
        if (!this.#isEndSent) {
          this.#isEndSent = true
          await this.#send(Kind.end, new Uint8Array(0)).catch(() => undefined)
        }
        void this.scope.end(clean)
        return null
      }
      await new Promise<void>(resolve => {
        this.#reader = resolve
      })
    }
  }

  cancel(why: SluiceError): void {
    void this.scope.end(failed(why))
  }

  async write(bytes: Bytes | readonly Bytes[]): Promise<undefined> {
    if (this.waitingBytes > 0) throw coreError('busy')
    const whole = bytes instanceof Uint8Array ? bytes : concat(bytes)
    this.waitingBytes = whole.length
    try {
      for (let at = 0; at < whole.length; ) {
        if (this.#fault !== null) throw this.#fault
        if (this.#hasEnd) throw new SluiceError('toy.ended', 'network', 'the stream has ended')
        const size = Math.min(this.#credit, whole.length - at, 4_096)
        if (size === 0) {
          await new Promise<void>(resolve => {
            this.#writer = resolve
          })
          continue
        }
        this.#credit -= size
        await this.#send(Kind.data, whole.subarray(at, at + size))
        at += size
        this.waitingBytes = whole.length - at
      }
    } finally {
      this.waitingBytes = 0
    }
    return undefined
  }

  flush(): Now<undefined> {
    return undefined
  }

  async closeWrite(): Promise<undefined> {
    if (this.#fault !== null) throw this.#fault
    if (this.#isEndSent) return undefined
    this.#isEndSent = true
    await this.#send(Kind.end, new Uint8Array(0))
    this.#hasEnd = true
    this.#wake()
    void this.scope.end(clean)
    return undefined
  }

  reset(why: SluiceError): void {
    // Frames leave in order, so a reset stands behind everything that was written.
    void this.scope.end(failed(why))
  }

  async #release(ending: Ending): Promise<void> {
    if (ending.kind === 'failed') {
      this.#queue = []
      this.#fault = asError(ending.why)
      this.#wake()
      if (!this.#isEndSent) await this.#send(Kind.reset, new Uint8Array(0)).catch(() => undefined)
    } else this.#wake()
  }
}
