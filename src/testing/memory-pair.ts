import { type Bytes, concat, copyOf } from '../bytes/bytes.ts'
import { parsePort } from '../core/endpoint.ts'
import { coreError, errorArea, type ErrorMaker, type SluiceError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { Link, type Now, type Path, type Sink, type Source } from '../core/link.ts'
import { clean, type Ending, failed, type Scope } from '../core/scope.ts'

const memoryTable = {
  reset: ['network', 'the other end of the memory pair was reset'],
} as const
const memoryError: ErrorMaker<typeof memoryTable> = errorArea('memory', memoryTable)

const nothing: Uint8Array = new Uint8Array(0)

/** Bytes on their way in one direction, and who waits for them. */
class Lane {
  readonly roomBytes: number
  readonly chunks: Bytes[] = []
  size = 0
  hasEnd = false
  fault: SluiceError | null = null
  /** Whoever reads wants no more of it: what is written is dropped. */
  isDropping = false
  reader: (() => void) | null = null
  writer: (() => void) | null = null

  constructor(roomBytes: number) {
    this.roomBytes = roomBytes
  }
  wake(): void {
    const { reader, writer } = this
    this.reader = null
    this.writer = null
    reader?.()
    writer?.()
  }
  fail(why: SluiceError): void {
    this.fault ??= why
    this.wake()
  }
}

/**
 * Two links that are each other's far end, in memory, with at most `roomBytes` under way in each
 * direction: the simplest thing that keeps the contract of a link, for tests of what stands on links.
 * `cut` chooses how many of the bytes at hand one read gives.
 */
export function memoryPair(
  owner: Scope,
  roomBytes = 65_536,
  cut: (available: number) => number = available => available,
): readonly [Link, Link] {
  const there = new Lane(roomBytes)
  const back = new Lane(roomBytes)
  return [memoryLink(owner, 'a', back, there, cut), memoryLink(owner, 'b', there, back, cut)]
}

const path: Path = {
  remote: { host: '192.0.2.1', port: parsePort(1) },
  local: { host: '192.0.2.2', port: parsePort(2) },
}

function memoryLink(
  owner: Scope,
  name: string,
  inward: Lane,
  outward: Lane,
  cut: (available: number) => number,
): Link {
  const scope = owner.child('leg', name)
  const end = new MemoryEnd(scope, inward, outward, cut)
  scope.hold('socket', name, ending => {
    end.release(ending)
  })
  return new Link({ path, scope, onGone: () => undefined }, end, end)
}

class MemoryEnd implements Source, Sink {
  readonly ends = 'half' as const
  readonly resets = 'plain' as const
  readonly #scope: Scope
  readonly #in: Lane
  readonly #out: Lane
  readonly #cut: (available: number) => number
  #lent: Uint8Array = new Uint8Array(0)
  #values = 0
  #isReading = false
  #isWriting = false
  #isWriteEnded = false
  /** The peer's end was given to a reader. */
  #hasEnd = false
  #isOver = false
  #waitingBytes = 0
  #ending: SluiceError | null = null

  constructor(scope: Scope, inward: Lane, outward: Lane, cut: (available: number) => number) {
    this.#scope = scope
    this.#in = inward
    this.#out = outward
    this.#cut = cut
  }

  get waitingBytes(): number {
    return this.#waitingBytes
  }

  read(): Now<Bytes | null> {
    if (this.#isReading) throw coreError('busy', { detail: { call: 'read' } })
    // What was lent is the caller's no more: whoever still looks at it shall see that.
    this.#lent.fill(0xee)
    const ready = this.#take()
    if (ready !== undefined && this.#values < limits.valuesPerTurn) {
      this.#values += 1
      return ready
    }
    this.#values = 0
    if (ready === undefined) this.#lent = nothing
    return this.#wait(ready)
  }

  async #wait(ready: Bytes | null | undefined): Promise<Bytes | null> {
    this.#isReading = true
    try {
      if (ready !== undefined) await Promise.resolve()
      for (let got = ready; ; got = this.#take()) {
        if (got !== undefined) return got
        await new Promise<void>(resolve => {
          this.#in.reader = resolve
        })
      }
    } finally {
      this.#isReading = false
    }
  }

  #take(): Bytes | null | undefined {
    if (this.#ending !== null && !this.#isOver) throw this.#ending
    const [chunk] = this.#in.chunks
    if (chunk === undefined) {
      if (this.#in.fault !== null) throw this.#in.fault
      if (!this.#in.hasEnd) return undefined
      this.#hasEnd = true
      this.#endIfOver()
      return null
    }
    const size = Math.max(1, Math.min(this.#cut(chunk.length), chunk.length))
    this.#lent = copyOf(chunk.subarray(0, size))
    if (size === chunk.length) this.#in.chunks.shift()
    else this.#in.chunks[0] = chunk.subarray(size)
    this.#in.size -= size
    const writer = this.#in.writer
    this.#in.writer = null
    writer?.()
    return this.#lent
  }

  write(bytes: Bytes | readonly Bytes[]): Now<undefined> {
    this.#mayWrite('write')
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes
    let size = 0
    for (const part of parts) size += part.length
    if (this.#out.size + size <= this.#out.roomBytes || this.#out.size === 0) {
      this.#place(parts)
      return undefined
    }
    return this.#writeLater(parts, size)
  }

  async #writeLater(parts: readonly Bytes[], size: number): Promise<undefined> {
    this.#isWriting = true
    this.#waitingBytes = size
    try {
      while (this.#out.size > 0 && this.#out.size + size > this.#out.roomBytes) {
        await new Promise<void>(resolve => {
          this.#out.writer = resolve
        })
        if (this.#ending !== null) throw this.#ending
        if (this.#out.fault !== null) throw this.#out.fault
      }
      this.#place(parts)
    } finally {
      this.#isWriting = false
      this.#waitingBytes = 0
    }
    return undefined
  }

  #place(parts: readonly Bytes[]): void {
    if (this.#out.isDropping) return
    // Bytes that meet on the way arrive together: where one write ended cannot be seen.
    const waiting = this.#out.chunks.splice(0)
    const whole = concat([...waiting, ...parts.map(copyOf)])
    if (whole.length > 0) this.#out.chunks.push(whole)
    this.#out.size = whole.length
    const reader = this.#out.reader
    this.#out.reader = null
    reader?.()
  }

  flush(): undefined {
    return undefined
  }

  closeWrite(): undefined {
    this.#mayWrite('shutdown')
    this.#isWriteEnded = true
    this.#out.hasEnd = true
    this.#out.wake()
    this.#endIfOver()
    return undefined
  }

  #mayWrite(call: string): void {
    if (this.#isWriting) throw coreError('busy', { detail: { call } })
    if (this.#ending !== null) throw this.#ending
    if (this.#out.fault !== null) throw this.#out.fault
    if (this.#isWriteEnded) throw coreError('bug', { detail: { what: `${call} after the end` } })
  }

  /** Both ends were told and heard: the link is over by itself. */
  #endIfOver(): void {
    if (!this.#isWriteEnded || !this.#hasEnd || this.#isOver) return
    this.#isOver = true
    void this.#scope.end(clean)
  }

  cancel(why: SluiceError): void {
    if (this.#in.isDropping || this.#hasEnd || this.#ending !== null) return
    this.#in.isDropping = true
    this.#in.chunks.length = 0
    this.#in.size = 0
    this.#in.wake()
    const timer = this.#scope.timer('cancel', () => {
      void this.#scope.end(failed(why))
    })
    timer.setAfter(limits.cancelDropMs)
    this.#dropToEnd()
  }

  /** Waits for the peer's end; everything before it is dropped. */
  #dropToEnd(): void {
    if (this.#ending !== null) return
    if (this.#in.hasEnd) {
      this.#hasEnd = true
      this.#endIfOver()
    } else {
      this.#in.reader = () => {
        this.#dropToEnd()
      }
    }
  }

  reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    if (after === undefined || this.#out.size === 0) {
      void this.#scope.end(failed(why))
      return
    }
    const timer = this.#scope.timer('reset', () => {
      void this.#scope.end(failed(why))
    })
    timer.setAfter(after.graceMs)
    const look = (): void => {
      if (this.#out.size === 0) void this.#scope.end(failed(why))
      else this.#out.writer = look
    }
    look()
  }

  release(ending: Ending): void {
    this.#ending = ending.kind === 'failed' ? ending.why : coreError('spent')
    if (ending.kind === 'failed') {
      this.#out.chunks.length = 0
      this.#out.size = 0
      this.#out.fail(
        memoryError('reset', { cause: ending.why, system: 'ECONNRESET', call: 'read' }),
      )
      this.#in.fail(memoryError('reset', { cause: ending.why, system: 'EPIPE', call: 'write' }))
    } else if (!this.#isWriteEnded) this.#out.hasEnd = true
    this.#in.wake()
    this.#out.wake()
  }
}
