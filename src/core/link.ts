import type { Bytes } from '../bytes/bytes.ts'
import type { Endpoint } from './endpoint.ts'
import { coreError, type SluiceError } from './errors.ts'
import { type Ending, failed, type Scope } from './scope.ts'

/** At once where the answer is there, else a promise: no promise per chunk. */
export type Now<T> = T | Promise<T>

/**
 * A handover in its place in the byte order, returned by the very read or write at which it happens.
 * The half that returned it is spent. For a read, `leftover` was read ahead and comes first; for a
 * write it is empty, and all that was written has left for the kernel. Then go on with `to`.
 */
export class Moved<Half> {
  readonly to: Half
  readonly leftover: readonly Bytes[]
  constructor(to: Half, leftover: readonly Bytes[] = []) {
    this.to = to
    this.leftover = leftover
  }
}

/** The reading half of a link. One call at a time; a second one throws `core.busy`. */
export interface Source {
  /**
   * At least one byte, borrowed until the next call on this half; `null` when the peer has ended, for
   * ever; `Moved`. What was received before a failure is delivered before the failure is thrown.
   * A half that is fed from below gives at most `limits.valuesPerTurn` values before a promise.
   */
  read(): Now<Bytes | null | Moved<Source>>
  /** Nothing more is wanted from this half; the other half goes on. Idempotent; not after the end. */
  cancel(why: SluiceError): void
}

/** The writing half of a link. One call at a time; a second one throws `core.busy`. */
export interface Sink {
  /**
   * Done when the layer below has taken all of it and no longer looks at the memory. Several arrays
   * are written as one. `Moved`: all of it has left for the kernel; go on at `to`.
   */
  write(bytes: Bytes | readonly Bytes[]): Now<undefined | Moved<Sink>>
  /** Done when everything written has left every layer for the kernel. */
  flush(): Now<undefined>
  /** Ends this direction, after all that was written; done when the end has left. Reading goes on. */
  closeWrite(): Now<undefined>
  /**
   * What `closeWrite` does on the wire: ends this half, ends both halves, or says nothing. The relay
   * chooses the moment by it.
   */
  readonly ends: 'half' | 'both' | 'nothing'
  /**
   * A failure, never an end: at once, or when all that was written has left, at the latest after
   * `graceMs`. Ends the link. Idempotent.
   */
  reset(why: SluiceError, after?: { readonly graceMs: number }): void
  /** Whether the wire can say `reset`, and with a code. `closes`: it cannot; the log says so. */
  readonly resets: 'coded' | 'plain' | 'closes'
  /** Bytes of a pending write that the layer below has not taken yet; 0 when none is pending. */
  readonly waitingBytes: number
}

/** Both ends as the wire, the client and the router see them. */
export interface Path {
  readonly remote: Endpoint
  readonly local: Endpoint
  /** Where a redirected connection wanted to go. */
  readonly original?: Endpoint
}

export type GoneListener = (half: 'source' | 'sink', why: SluiceError) => void

/** What a transport provides beside the two halves. */
export interface LinkBody {
  readonly path: Path
  /** The link's own scope, of kind `leg` or `stream`: ending it with a failure resets the wire. */
  readonly scope: Scope
  /** Replaces the listener for what comes while nobody reads or writes: a reset after the end. */
  onGone(listener: GoneListener): void
}

/**
 * Ordered bytes both ways with half-close, in the hands of one owner. Handing it over
 * (`Owner.adopt`, `handOver`, `takeApart`) makes a new `Link` and leaves this one spent: every later use throws
 * `core.spent`, and where the compiler sees it, it does not compile.
 */
export class Link {
  #body: LinkBody | null
  #source: HeldSource
  #sink: HeldSink

  /** The halves must be the caller's own: nobody else may keep them. */
  constructor(body: LinkBody, source: Source, sink: Sink) {
    this.#body = body
    this.#source = new HeldSource(source)
    this.#sink = new HeldSink(sink)
  }

  get source(): Source {
    this.#alive()
    return this.#source
  }
  get sink(): Sink {
    this.#alive()
    return this.#sink
  }
  get path(): Path {
    return this.#alive().path
  }
  get scope(): Scope {
    return this.#alive().scope
  }
  /** One listener, for what comes while nobody reads or writes: it replaces the one before. */
  onGone(listener: GoneListener): void {
    this.#alive().onGone(listener)
  }
  /** Fails both halves at once: resets the wire, discards what is queued, frees everything. */
  abort(why: SluiceError): Promise<Ending> {
    return this.#alive().scope.end(failed(why))
  }
  /** Settles once, when both directions are over and everything is released; never rejects. */
  get ended(): Promise<Ending> {
    return this.#alive().scope.ended
  }
  get isSpent(): boolean {
    return this.#body === null
  }

  /**
   * The same link in other hands; this one is spent. Use `Owner.adopt` where the compiler should
   * see that, too.
   */
  handOver(): Link {
    const body = this.#alive()
    this.#body = null
    return new Link(body, this.#source.spend(), this.#sink.spend())
  }

  /** Takes the link apart for the layer that stands on it; this one is spent. */
  takeApart(): Halves {
    const body = this.#alive()
    this.#body = null
    return new Halves(body, this.#source.spend(), this.#sink.spend())
  }

  #alive(): LinkBody {
    if (this.#body === null) throw coreError('spent')
    return this.#body
  }
}

/** What its holder sees of a source, until it is handed over. */
class HeldSource implements Source {
  #at: Source | null
  constructor(at: Source) {
    this.#at = at
  }
  read(): Now<Bytes | null | Moved<Source>> {
    if (this.#at === null) throw coreError('spent')
    return this.#at.read()
  }
  cancel(why: SluiceError): void {
    if (this.#at === null) throw coreError('spent')
    this.#at.cancel(why)
  }
  spend(): Source {
    if (this.#at === null) throw coreError('spent')
    const at = this.#at
    this.#at = null
    return at
  }
}

/** What its holder sees of a sink, until it is handed over. */
class HeldSink implements Sink {
  #at: Sink | null
  constructor(at: Sink) {
    this.#at = at
  }
  #alive(): Sink {
    if (this.#at === null) throw coreError('spent')
    return this.#at
  }
  write(bytes: Bytes | readonly Bytes[]): Now<undefined | Moved<Sink>> {
    return this.#alive().write(bytes)
  }
  flush(): Now<undefined> {
    return this.#alive().flush()
  }
  closeWrite(): Now<undefined> {
    return this.#alive().closeWrite()
  }
  reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    this.#alive().reset(why, after)
  }
  get ends(): 'half' | 'both' | 'nothing' {
    return this.#alive().ends
  }
  get resets(): 'coded' | 'plain' | 'closes' {
    return this.#alive().resets
  }
  get waitingBytes(): number {
    return this.#alive().waitingBytes
  }
  spend(): Sink {
    const at = this.#alive()
    this.#at = null
    return at
  }
}

/**
 * A link taken apart by who stands on it: it reads and writes the halves, replaces them as they move
 * or get a layer above them, and puts the link together again with `join`, once.
 */
export class Halves {
  readonly path: Path
  readonly scope: Scope
  source: Source
  sink: Sink
  readonly #body: LinkBody
  #isJoined = false

  constructor(body: LinkBody, source: Source, sink: Sink) {
    this.path = body.path
    this.scope = body.scope
    this.source = source
    this.sink = sink
    this.#body = body
  }

  /** The link with what the halves are now, and with another path where a head has named one. */
  join(path: Path = this.path): Link {
    if (this.#isJoined) throw coreError('spent')
    this.#isJoined = true
    const { source, sink } = this
    this.source = spentSource
    this.sink = spentSink
    const body = this.#body
    const named: LinkBody = {
      path,
      scope: body.scope,
      onGone: listener => {
        body.onGone(listener)
      },
    }
    return new Link(path === body.path ? body : named, source, sink)
  }
}

const spent = (): never => {
  throw coreError('spent')
}
/** What stands in the place of halves that were given on. */
const spentSource: Source = { read: spent, cancel: spent }
const spentSink: Sink = {
  write: spent,
  flush: spent,
  closeWrite: spent,
  reset: spent,
  ends: 'half',
  resets: 'plain',
  waitingBytes: 0,
}

/**
 * Who holds a link. `adopt` consumes the caller's: `owner.adopt(link)` moves the link and its scope
 * here, and `link` has the type `never` afterwards, so that using it again does not compile.
 * (The variable that holds an `Owner` needs its type written out for that.)
 */
export class Owner {
  readonly #scope: Scope
  #link: Link | null = null
  constructor(scope: Scope) {
    this.#scope = scope
  }
  adopt(link: Link): asserts link is never {
    if (this.#link !== null) throw coreError('busy', { detail: { what: 'owner' } })
    const mine = link.handOver()
    mine.scope.moveTo(this.#scope)
    this.#link = mine
  }
  get isEmpty(): boolean {
    return this.#link === null
  }
  /** The link in these hands; throws `core.spent` when there is none. */
  get link(): Link {
    if (this.#link === null) throw coreError('spent')
    return this.#link
  }
}
