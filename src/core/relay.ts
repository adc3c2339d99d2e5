import type { Bytes } from '../bytes/bytes.ts'
import { asError, coreError, type ErrorMaker, errorArea, type SluiceError } from './errors.ts'
import { type Reason, type RelayRecord, reasonOf, type Side } from './flow-record.ts'
import { type Link, Moved, Owner, type Sink, type Source } from './link.ts'
import { afterEvent, hasEnded, isOver, type WayEvent, type WayState } from './relay-states.ts'
import { clean, type Held, type Scope, type Timer } from './scope.ts'

const relayTable = {
  idle: ['network', 'no byte in either direction'],
  'half-close-idle': ['network', 'one side has ended and the other is silent'],
  'write-stall': ['network', 'the other side takes no more bytes'],
} as const
const relayError: ErrorMaker<typeof relayTable> = errorArea('relay', relayTable)

/** Times in milliseconds. */
export interface RelayPolicy {
  /** No byte in either direction. */
  readonly connIdleMs: number
  /** One direction has ended: no byte since the last byte or that end, whichever is later. */
  readonly halfCloseIdleMs: number
  /** Instead of `halfCloseIdleMs` while only near to far is left. */
  readonly uplinkOnlyMs?: number
  /** Instead of `halfCloseIdleMs` while only far to near is left. */
  readonly downlinkOnlyMs?: number
  /** Bytes are written and none is taken. */
  readonly writeStallMs: number
  /** How long a reset waits for what is owed, and how long a failed side's last bytes are awaited. */
  readonly resetGraceMs: number
}

export const defaultRelayPolicy: RelayPolicy = {
  connIdleMs: 300_000,
  halfCloseIdleMs: 120_000,
  writeStallMs: 300_000,
  resetGraceMs: 1_000,
}

/** Sees every step of both directions; the simulation counts coverage with it. */
export type StepListener = (
  way: 'up' | 'down',
  from: WayState,
  event: WayEvent,
  to: WayState,
) => void

/** One direction and what is current at each end of it: a half that moved is replaced here at once. */
class Way {
  readonly name: 'up' | 'down'
  /** The side it reads from, and the one it writes to. */
  readonly from: Side
  readonly to: Side
  source: Source
  sink: Sink
  state: WayState = 'open'
  /** What was read last and is not written yet; null: nothing, or the end. */
  hand: Bytes | null | Moved<Source> = null
  readBytes = 0
  writtenBytes = 0
  /** When a byte was last read or taken. */
  lastMs: number
  /** When the pending write began or last moved; null: none is pending. */
  pendingSinceMs: number | null = null
  /** What the pending write still had to place then. */
  pendingBytes = 0
  constructor(name: 'up' | 'down', source: Source, sink: Sink, nowMs: number) {
    this.name = name
    this.from = name === 'up' ? 'near' : 'far'
    this.to = name === 'up' ? 'far' : 'near'
    this.source = source
    this.sink = sink
    this.lastMs = nowMs
  }
}

/**
 * Both directions between two links, from the hand-over to the record. It is the only owner of the
 * links: an end is passed on after the last byte, a failure as a reset after what is owed, and the
 * record is made when nothing of either link is left.
 */
export class Relay {
  readonly #near: Owner
  readonly #far: Owner
  readonly #up: Way
  readonly #down: Way
  readonly #scope: Scope
  readonly #policy: RelayPolicy
  readonly #timer: Timer
  readonly #onStep: StepListener | null
  readonly #record = Promise.withResolvers<RelayRecord>()
  /** Leaves the scope with the relay, for the scope may live on. */
  #hook: Held | null = null
  #isClosing = false
  #isRecorded = false
  #why: SluiceError | null = null
  #reason: Reason = 'clean'
  #side: Side = 'local'
  #laterFaults = 0

  /**
   * Takes both links over into `scope` and starts. Taking a link twice throws `core.spent`. Ending
   * `scope` stops the relay; the record comes all the same.
   */
  constructor(
    scope: Scope,
    policy: RelayPolicy,
    near: Link,
    far: Link,
    onStep: StepListener | null = null,
  ) {
    this.#scope = scope
    this.#policy = policy
    this.#onStep = onStep
    this.#near = new Owner(scope)
    this.#far = new Owner(scope)
    this.#near.adopt(near)
    this.#far.adopt(far)
    const a = this.#near.link
    const b = this.#far.link
    const nowMs = scope.program.clock.now()
    this.#up = new Way('up', a.source, b.sink, nowMs)
    this.#down = new Way('down', b.source, a.sink, nowMs)
    this.#timer = scope.timer('relay', () => {
      this.#onTimer()
    })
    this.#hook = scope.onEnd(ending => {
      this.#stop(ending.kind === 'failed' ? ending.why : null)
    })
    a.onGone((_half, why) => {
      this.#onGone(this.#down, why)
    })
    b.onGone((_half, why) => {
      this.#onGone(this.#up, why)
    })
    this.#setTimer()
    this.#start(this.#up)
    this.#start(this.#down)
  }

  /** Settles once, when both links are over and everything of them is released; never rejects. */
  get record(): Promise<RelayRecord> {
    return this.#record.promise
  }
  get upBytes(): number {
    return this.#up.writtenBytes
  }
  get downBytes(): number {
    return this.#down.writtenBytes
  }
  /** Both directions' states, for the ledger. */
  get states(): string {
    return `${this.#up.state}/${this.#down.state}`
  }

  #start(way: Way): void {
    this.#pump(way).catch((thrown: unknown) => {
      this.#scope.program.report(thrown)
      this.#fail(way, 'stop', 'local', asError(thrown), 'error')
      this.#closeAll()
    })
  }

  async #pump(way: Way): Promise<void> {
    for (;;) {
      try {
        const got = way.source.read()
        way.hand = got instanceof Promise ? await got : got
      } catch (thrown) {
        this.#onReadFault(way, asError(thrown))
        return
      }
      if (this.#isClosing || isOver(way.state)) return
      if (way.hand === null) {
        await this.#onEnd(way)
        return
      }
      const moved = this.#moveHand(way)
      if (moved instanceof Promise ? !(await moved) : !moved) return
    }
  }

  /** Writes what was read, or follows a handover. The hand is empty after it: an idle pump keeps nothing. */
  #moveHand(way: Way): boolean | Promise<boolean> {
    const read = way.hand
    way.hand = null
    way.lastMs = this.#scope.program.clock.now()
    if (read instanceof Moved) return this.#follow(way, read)
    return read === null || this.#write(way, read)
  }

  async #follow(way: Way, moved: Moved<Source>): Promise<boolean> {
    way.source = moved.to
    for (const bytes of moved.leftover) {
      way.lastMs = this.#scope.program.clock.now()
      if (!(await this.#write(way, bytes))) return false
    }
    return true
  }

  /** False when this direction is over. */
  #write(way: Way, bytes: Bytes): boolean | Promise<boolean> {
    way.readBytes += bytes.length
    try {
      const put = way.sink.write(bytes)
      if (put instanceof Promise) return this.#awaitWrite(way, put, bytes.length)
      return this.#onWritten(way, put, bytes.length)
    } catch (thrown) {
      this.#onWriteFault(way, asError(thrown))
      return false
    }
  }

  async #awaitWrite(
    way: Way,
    put: Promise<undefined | Moved<Sink>>,
    size: number,
  ): Promise<boolean> {
    const clock = this.#scope.program.clock
    way.pendingSinceMs = way.lastMs
    way.pendingBytes = way.sink.waitingBytes
    try {
      const moved = await put
      way.pendingSinceMs = null
      way.lastMs = clock.now()
      return this.#onWritten(way, moved, size)
    } catch (thrown) {
      way.pendingSinceMs = null
      this.#onWriteFault(way, asError(thrown))
      return false
    }
  }

  #onWritten(way: Way, moved: undefined | Moved<Sink>, size: number): boolean {
    if (!this.#isRecorded) way.writtenBytes += size
    if (moved !== undefined) way.sink = moved.to
    return !this.#isClosing && !isOver(way.state)
  }

  /** The source has ended. */
  async #onEnd(way: Way): Promise<void> {
    if (way.state === 'draining') {
      this.#step(way, 'end')
      this.#conclude(way)
      return
    }
    const other = this.#otherOf(way)
    way.lastMs = this.#scope.program.clock.now()
    const isHeld = way.sink.ends !== 'half' && !isOver(other.state) && other.state !== 'holding'
    this.#step(way, isHeld ? 'end-held' : 'end')
    this.#setTimer()
    if (isHeld) return
    await this.#sendEnd(way)
  }

  async #sendEnd(way: Way): Promise<void> {
    try {
      const put = way.sink.closeWrite()
      if (put instanceof Promise) {
        way.pendingSinceMs = this.#scope.program.clock.now()
        way.pendingBytes = way.sink.waitingBytes
        this.#setTimer()
        await put
      }
    } catch (thrown) {
      way.pendingSinceMs = null
      this.#onWriteFault(way, asError(thrown))
      return
    }
    way.pendingSinceMs = null
    if (this.#isClosing || isOver(way.state)) return
    this.#step(way, 'end-sent')
    const other = this.#otherOf(way)
    if (other.state === 'ended') this.#closeAll()
    else if (other.state === 'holding') {
      this.#step(other, 'release')
      await this.#sendEnd(other)
    } else this.#setTimer()
  }

  #onReadFault(way: Way, why: SluiceError): void {
    if (this.#isClosing || isOver(way.state)) return
    this.#fail(way, 'read-fault', way.from, why)
    this.#conclude(way)
  }

  /** `way.to` takes nothing any more; what it sent before is still delivered to `way.from`. */
  #onWriteFault(way: Way, why: SluiceError): void {
    // One direction fails once: what was received before is not cut by the next call that fails.
    if (this.#isClosing || isOver(way.state)) {
      this.#laterFaults += 1
      return
    }
    this.#fail(way, 'write-fault', way.to, why)
    const other = this.#otherOf(way)
    if (other.state === 'open') {
      this.#step(other, 'peer-fault')
      other.lastMs = this.#scope.program.clock.now()
      this.#setTimer()
    } else this.#conclude(other)
  }

  /** The link that `way` writes to has failed while nobody read or wrote there. */
  #onGone(way: Way, why: SluiceError): void {
    // Where nothing more is to be written, the reader meets the failure by itself, in its place.
    this.#onWriteFault(way, why)
  }

  /** `way.from` is dead and all it sent is delivered: reset the other side after what it is owed. */
  #conclude(way: Way): void {
    const why = this.#why ?? coreError('bug')
    const other = this.#otherOf(way)
    this.#isClosing = true
    this.#stopWay(way)
    this.#stopWay(other)
    const dead = way.from === 'near' ? this.#near : this.#far
    this.#tidy(dead.link.abort(why))
    try {
      way.sink.reset(why, { graceMs: this.#policy.resetGraceMs })
    } catch (thrown) {
      this.#scope.program.report(thrown)
      this.#tidy((way.to === 'near' ? this.#near : this.#far).link.abort(why))
    }
    this.#finish()
  }

  /** Ends both links: politely toward a side that has been told its end, else by a reset. */
  #closeAll(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    for (const way of [this.#up, this.#down]) {
      const link = (way.to === 'near' ? this.#near : this.#far).link
      const heldEnd = way.state === 'holding'
      this.#stopWay(way)
      if (way.state === 'ended') this.#tidy(link.scope.end(clean))
      else if (heldEnd) this.#tidy(this.#endHeld(way, link))
      else this.#tidy(link.abort(this.#why ?? coreError('bug')))
    }
    this.#finish()
  }

  /** The true end of the source is still told, within the grace, before the link goes. */
  async #endHeld(way: Way, link: Link): Promise<void> {
    const timer = link.scope.timer('held end', () => {
      this.#tidy(link.scope.end(clean))
    })
    timer.setAfter(this.#policy.resetGraceMs)
    try {
      await way.sink.closeWrite()
    } catch {
      this.#laterFaults += 1
    }
    await link.scope.end(clean)
  }

  #stopWay(way: Way): void {
    way.pendingSinceMs = null
    if (!isOver(way.state)) this.#step(way, 'stop')
  }

  #finish(): void {
    this.#timer.drop()
    this.#hook?.drop()
    Promise.all([this.#near.link.ended, this.#far.link.ended])
      .then(() => {
        this.#isRecorded = true
        this.#record.resolve(this.#makeRecord())
      })
      .catch((thrown: unknown) => {
        this.#scope.program.report(thrown)
      })
  }

  #makeRecord(): RelayRecord {
    const why = this.#why
    return {
      reason: why === null ? 'clean' : this.#reason,
      side: this.#side,
      call: why?.call ?? null,
      code: why?.code ?? null,
      system: why?.system ?? null,
      why,
      up: { read: this.#up.readBytes, written: this.#up.writtenBytes },
      down: { read: this.#down.readBytes, written: this.#down.writtenBytes },
      upState: this.#up.state,
      downState: this.#down.state,
      laterFaults: this.#laterFaults,
    }
  }

  #stop(why: SluiceError | null): void {
    if (this.#isClosing) return
    this.#note('local', why ?? coreError('bug', { detail: { what: 'scope ended under a relay' } }))
    this.#closeAll()
  }

  #fail(way: Way, event: WayEvent, side: Side, why: SluiceError, reason?: Reason): void {
    this.#note(side, why, reason)
    if (!isOver(way.state)) this.#step(way, event)
  }

  #note(side: Side, why: SluiceError, reason: Reason = reasonOf(why)): void {
    if (this.#why !== null) {
      this.#laterFaults += 1
      return
    }
    this.#why = why
    this.#side = side
    this.#reason = reason
  }

  #step(way: Way, event: WayEvent): void {
    const from = way.state
    const to = afterEvent(from, event)
    if (to === null) {
      this.#scope.program.report(
        coreError('bug', { detail: { way: way.name, state: from, event } }),
      )
      way.state = 'failed'
      return
    }
    way.state = to
    this.#onStep?.(way.name, from, event, to)
  }

  #otherOf(way: Way): Way {
    return way === this.#up ? this.#down : this.#up
  }

  #tidy(ending: Promise<unknown>): void {
    ending.catch((thrown: unknown) => {
      this.#scope.program.report(thrown)
    })
  }

  // Timers: bytes stamp a number, one timer looks at the numbers.

  /** When something is due; and once in each stall time, for a write sets no timer when it begins. */
  #setTimer(): void {
    if (this.#isClosing) return
    const stallMs = this.#scope.program.clock.now() + this.#policy.writeStallMs
    this.#timer.setAt(Math.min(this.#nextDue().atMs, stallMs))
  }

  #nextDue(): { readonly atMs: number; readonly way: Way | null; readonly reason: Reason } {
    const { connIdleMs, writeStallMs, resetGraceMs } = this.#policy
    for (const way of [this.#up, this.#down]) {
      if (way.state === 'draining') {
        return { atMs: way.lastMs + resetGraceMs, way, reason: 'error' }
      }
    }
    const lastMs = Math.max(this.#up.lastMs, this.#down.lastMs)
    const isHalf = hasEnded(this.#up.state) || hasEnded(this.#down.state)
    let due: { atMs: number; way: Way | null; reason: Reason } = isHalf
      ? { atMs: lastMs + this.#halfIdleMs(), way: null, reason: 'half-close-idle' }
      : { atMs: lastMs + connIdleMs, way: null, reason: 'idle' }
    for (const way of [this.#up, this.#down]) {
      if (way.pendingSinceMs === null) continue
      const atMs = way.pendingSinceMs + writeStallMs
      if (atMs <= due.atMs) due = { atMs, way, reason: 'write-stall' }
    }
    return due
  }

  /** Which timer rules once a direction has ended: the one of the direction that is left. */
  #halfIdleMs(): number {
    const { halfCloseIdleMs, uplinkOnlyMs, downlinkOnlyMs } = this.#policy
    if (!hasEnded(this.#down.state)) return downlinkOnlyMs ?? halfCloseIdleMs
    if (!hasEnded(this.#up.state)) return uplinkOnlyMs ?? halfCloseIdleMs
    return halfCloseIdleMs
  }

  #onTimer(): void {
    if (this.#isClosing) return
    const nowMs = this.#scope.program.clock.now()
    this.#noteProgress(nowMs)
    const due = this.#nextDue()
    if (due.atMs > nowMs) {
      this.#setTimer()
      return
    }
    if (due.way?.state === 'draining') {
      this.#step(due.way, 'stop')
      this.#conclude(due.way)
      return
    }
    const side = due.way?.to ?? 'local'
    const seconds = Math.round(nowMs - Math.max(this.#up.lastMs, this.#down.lastMs)) / 1000
    const what =
      due.reason === 'write-stall' || due.reason === 'half-close-idle' ? due.reason : 'idle'
    this.#note(side, relayError(what, { detail: { seconds } }), due.reason)
    this.#closeAll()
  }

  /** A pending write that moved on counts as bytes, though it is not done. */
  #noteProgress(nowMs: number): void {
    for (const way of [this.#up, this.#down]) {
      if (way.pendingSinceMs === null) continue
      const left = way.sink.waitingBytes
      if (left >= way.pendingBytes) continue
      way.pendingBytes = left
      way.pendingSinceMs = nowMs
      way.lastMs = nowMs
    }
  }
}
