import { type Bytes, copyOf, type Decoder } from '../bytes/bytes.ts'
import { coreError, errorArea, type ErrorMaker, type SluiceError } from './errors.ts'
import { limits } from './limits.ts'
import { Moved, type Now, type Source } from './link.ts'

const headTable = {
  cut: ['peer', 'the peer ended before its head was complete'],
  'too-large': ['peer', 'the head is larger than allowed'],
} as const
const headError: ErrorMaker<typeof headTable> = errorArea('head', headTable)

/** A decoded head, and the source that begins with the byte behind it. */
export interface Head<T> {
  readonly value: T
  readonly source: Source
}

/**
 * Reads from `source` until `decode` is done, and gives the value and a source that begins right
 * behind it. Takes `source` over. At most `bytesMax` bytes are held. Throws what `decode` throws,
 * `head.cut` when the peer ends first, `head.too-large`.
 */
export async function readHead<T>(
  source: Source,
  decode: Decoder<T>,
  bytesMax: number = limits.headBytesMax,
): Promise<Head<T>> {
  let at = source
  let held = new Uint8Array(Math.min(512, bytesMax))
  let size = 0
  let seen = 0
  for (;;) {
    const read = await at.read()
    if (read === null) throw headError('cut', { detail: { bytes: size } })
    if (read instanceof Moved) at = read.to
    for (const bytes of read instanceof Moved ? read.leftover : [read]) {
      held = grown(held, size + bytes.length)
      held.set(bytes, size)
      size += bytes.length
    }
    if (size === seen) continue
    const decoded = decode(held.subarray(0, size), seen)
    if (decoded.kind === 'done') {
      return { value: decoded.value, source: prefixed(held.slice(decoded.size, size), at) }
    }
    seen = size
    if (size >= bytesMax) throw headError('too-large', { detail: { bytesMax } })
  }
}

function grown(held: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  if (size <= held.length) return held
  const bigger = new Uint8Array(Math.max(held.length * 2, size))
  bigger.set(held)
  return bigger
}

/** `source` with `bytes` before it; the first read says `Moved`, so nothing stays in between. */
export function prefixed(bytes: Bytes, source: Source): Source {
  return bytes.length === 0 ? source : new Prefixed(bytes, source)
}

class Prefixed implements Source {
  #bytes: Bytes | null
  readonly #below: Source
  constructor(bytes: Bytes, below: Source) {
    this.#bytes = bytes
    this.#below = below
  }
  read(): Moved<Source> {
    const bytes = this.#bytes
    if (bytes === null) throw coreError('spent')
    // Whoever holds the link may hold this for as long as it lives; the bytes need not stay so long.
    this.#bytes = null
    return new Moved(this.#below, [bytes])
  }
  cancel(why: SluiceError): void {
    this.#below.cancel(why)
  }
}

/**
 * Looks at what `source` gives next before anyone wants it: a read begins at once and its answer is
 * kept (one chunk at most) behind what a head left over, which is given at once. So a reset is
 * noticed while a dial runs.
 */
export class ReadAhead implements Source {
  #leftover: readonly Bytes[] | null
  readonly #next: AwaitedRead
  /** `onFault` hears at once when the read fails; the failure is thrown to the reader too. */
  constructor(below: Source, onFault: (why: unknown) => void) {
    const leftover: Bytes[] = []
    let at = below
    const first = Promise.try(() => {
      for (;;) {
        const got = at.read()
        if (!(got instanceof Moved)) return got
        leftover.push(...got.leftover)
        at = got.to
      }
    }).then(read => (read instanceof Uint8Array ? copyOf(read) : read))
    first.catch(onFault)
    this.#leftover = leftover
    this.#next = new AwaitedRead(first, at)
  }
  read(): Now<Bytes | null | Moved<Source>> {
    const leftover = this.#leftover
    if (leftover === null) throw coreError('spent')
    if (leftover.length === 0) return this.#next.read()
    this.#leftover = null
    return new Moved(this.#next, leftover)
  }
  cancel(why: SluiceError): void {
    this.#next.cancel(why)
  }
}

/** A source whose next read is under way already. */
class AwaitedRead implements Source {
  readonly #below: Source
  #first: Promise<Bytes | null | Moved<Source>> | null
  constructor(first: Promise<Bytes | null | Moved<Source>>, below: Source) {
    this.#first = first
    this.#below = below
  }
  read(): Now<Bytes | null | Moved<Source>> {
    const first = this.#first
    if (first === null) return this.#below.read()
    this.#first = null
    return first.then(read => (read instanceof Uint8Array ? new Moved(this.#below, [read]) : read))
  }
  cancel(why: SluiceError): void {
    this.#below.cancel(why)
  }
}
