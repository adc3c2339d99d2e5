import type { Clock } from './clock.ts'
import {
  asError,
  assert,
  type ErrorContext,
  type ErrorMaker,
  errorArea,
  type SluiceError,
} from './errors.ts'
import { Wheel, type WheelEntry } from './wheel.ts'

const scopeTable = {
  ended: ['stopped', 'the owner has already ended'],
  stopped: ['stopped', 'stopped'],
} as const
export const scopeError: ErrorMaker<typeof scopeTable> = errorArea('scope', scopeTable)

/** How something with an end has ended; a clean end is a value too. */
export type Ending =
  | { readonly kind: 'clean' }
  | { readonly kind: 'failed'; readonly why: SluiceError }

export const clean: Ending = { kind: 'clean' }
export function failed(why: SluiceError): Ending {
  return { kind: 'failed', why }
}

/** The error that a call meets which comes after `ending`. */
export function errorOf(ending: Ending): SluiceError {
  return ending.kind === 'failed' ? ending.why : scopeError('ended')
}

/** What stands in the ledger; the list is open for other floors, these are the kernel's own. */
export type EntryKind =
  | 'program'
  | 'inbound'
  | 'outbound'
  | 'flow'
  | 'leg'
  | 'stream'
  | 'packets'
  | 'socket'
  | 'listener'
  | 'dial'
  | 'lookup'
  | 'timer'
  | 'task'
  | 'association'
  | 'hook'

/** One line of the ledger, made only when somebody looks. */
export interface LedgerRow {
  readonly kind: EntryKind
  readonly name: string
  readonly depth: number
  readonly ageMs: number
  readonly state: 'open' | 'ending'
  /** What the resource says of itself: bytes, addresses, states. */
  readonly note: string
}

/** What all scopes of one program share. */
export class Program {
  readonly clock: Clock
  readonly wheel: Wheel
  /** Broken invariants and clean-ups that threw; a test asserts that it is empty. Bounded. */
  readonly bugs: SluiceError[] = []
  bugsTotal = 0
  #onBug: (bug: SluiceError) => void = () => undefined

  constructor(clock: Clock) {
    this.clock = clock
    this.wheel = new Wheel(clock)
  }

  onBug(listener: (bug: SluiceError) => void): void {
    this.#onBug = listener
  }

  /** Keeps a failure nobody could return; it ends nothing else. Never throws. */
  report(thrown: unknown): void {
    const bug = asError(thrown)
    this.bugsTotal += 1
    if (this.bugs.length < bugsKeptMax) this.bugs.push(bug)
    try {
      this.#onBug(bug)
    } catch {
      // Whoever listens for bugs must not make another one: a clean-up would stop half-way.
    }
  }
}
const bugsKeptMax = 100

/** Anything that a scope holds and that must end with it. */
abstract class Entry {
  /** @internal */ prev: Entry | null = null
  /** @internal */ next: Entry | null = null
  /** @internal Null once it has ended. */ holder: Scope | null = null
  /** @internal True from the moment its end has begun. */ isEnding = false
  abstract readonly kind: EntryKind
  abstract readonly name: string
  /** @internal Begins the end; a promise says that it takes longer. Called once. */
  abstract release(ending: Ending): void | Promise<void>
  abstract note(): string
}

/**
 * A resource in the ledger: a socket, a listener, a lookup. Made by `scope.hold`. `drop` says that the
 * resource has ended by itself; otherwise `release` runs when the scope ends, once.
 */
export class Held extends Entry {
  readonly kind: EntryKind
  readonly name: string
  readonly #release: (ending: Ending) => void | Promise<void>
  readonly #note: (() => string) | null
  /** @internal */
  constructor(
    kind: EntryKind,
    name: string,
    release: (ending: Ending) => void | Promise<void>,
    note: (() => string) | null,
  ) {
    super()
    this.kind = kind
    this.name = name
    this.#release = release
    this.#note = note
  }
  /** @internal */
  override release(ending: Ending): void | Promise<void> {
    return this.#release(ending)
  }
  override note(): string {
    return this.#note === null ? '' : this.#note()
  }
  /** The resource is gone; nothing is left to release. Idempotent. */
  drop(): void {
    const holder = this.holder
    if (holder !== null && !this.isEnding) holder.forget(this)
  }
}

/** A timer that ends with its scope. Made by `scope.timer` and `scope.deadline`; disposing disarms it. */
export class Timer extends Entry implements WheelEntry {
  /** @internal */ wheelPrev: WheelEntry | null = null
  /** @internal */ wheelNext: WheelEntry | null = null
  /** @internal */ wheelSlot = -1
  /** @internal */ dueTick = 0
  readonly kind: EntryKind = 'timer'
  readonly name: string
  readonly #program: Program
  readonly #fire: (nowMs: number) => void
  /** @internal */
  constructor(name: string, program: Program, fire: (nowMs: number) => void) {
    super()
    this.name = name
    this.#program = program
    this.#fire = fire
  }
  get isArmed(): boolean {
    return this.wheelSlot >= 0
  }
  /** Fires at or after `atMs` of the program's clock, instead of what was set before. */
  setAt(atMs: number): void {
    if (this.holder !== null && !this.isEnding) this.#program.wheel.set(this, atMs)
  }
  setAfter(delayMs: number): void {
    this.setAt(this.#program.clock.now() + delayMs)
  }
  /** Stops it without ending it; `setAt` starts it again. */
  pause(): void {
    this.#program.wheel.clear(this)
  }
  /** @internal */
  onDue(nowMs: number): void {
    try {
      this.#fire(nowMs)
    } catch (thrown) {
      this.#program.report(thrown)
    }
  }
  /** @internal */
  override release(): void {
    this.#program.wheel.clear(this)
  }
  override note(): string {
    return this.isArmed ? `due tick ${String(this.dueTick)}` : 'paused'
  }
  /** Ends the timer now. Idempotent. */
  drop(): void {
    this.#program.wheel.clear(this)
    const holder = this.holder
    if (holder !== null && !this.isEnding) holder.forget(this)
  }
  [Symbol.dispose](): void {
    this.drop()
  }
}

/**
 * The owner of everything that belongs to one connection, flow or listener. What is made through a
 * scope ends with it: once, in reverse order of making, with the reason. The tree of scopes is the
 * ledger. A scope that is ending takes nothing new: what comes too late is released at once.
 */
export class Scope extends Entry {
  readonly program: Program
  readonly kind: EntryKind
  name: string
  readonly startedMs: number
  #last: Entry | null = null
  /** Entries whose end has begun and is not over. */
  #closing: Entry | null = null
  /** Releases that are being called right now: their entries stand in neither list. */
  #releasing = 0
  #ending: Ending | null = null
  #isOver = false
  #over: PromiseWithResolvers<Ending> | null = null
  #note: (() => string) | null = null

  private constructor(program: Program, kind: EntryKind, name: string) {
    super()
    this.program = program
    this.kind = kind
    this.name = name
    this.startedMs = program.clock.now()
  }

  /** The root of a program's ledger. */
  static root(program: Program, name: string): Scope {
    return new Scope(program, 'program', name)
  }

  get isOpen(): boolean {
    return this.#ending === null
  }
  get isOver(): boolean {
    return this.#isOver
  }
  /** Null while open. */
  get ending(): Ending | null {
    return this.#ending
  }
  /** Settles once, when everything in it has ended; never rejects. */
  get ended(): Promise<Ending> {
    this.#over ??= Promise.withResolvers<Ending>()
    if (this.#isOver && this.#ending !== null) this.#over.resolve(this.#ending)
    return this.#over.promise
  }

  /** A scope inside this one; throws `scope.ended` if this one is ending. */
  child(kind: EntryKind, name: string): Scope {
    if (this.#ending !== null) throw endedBecause(this.#ending)
    const scope = new Scope(this.program, kind, name)
    this.#link(scope)
    return scope
  }

  /**
   * Holds a resource. `release` begins its end and runs once, also when this scope is already ending:
   * then at once. A promise keeps the resource in the ledger until it settles; it should not reject.
   */
  hold(
    kind: EntryKind,
    name: string,
    release: (ending: Ending) => void | Promise<void>,
    note: (() => string) | null = null,
  ): Held {
    const held = new Held(kind, name, release, note)
    this.#link(held)
    if (this.#ending !== null) this.#begin(held, this.#ending)
    return held
  }

  /** Runs `release` when the scope ends. */
  onEnd(release: (ending: Ending) => void | Promise<void>): Held {
    return this.hold('hook', '', release)
  }

  /** A timer that is not set yet; it ends with the scope. In an ending scope it never fires. */
  timer(name: string, fire: (nowMs: number) => void): Timer {
    const timer = new Timer(name, this.program, fire)
    if (this.#ending === null) this.#link(timer)
    return timer
  }

  /** Ends this scope with `why()` after `delayMs`, unless disposed before: `using _ = scope.deadline(…)`. */
  deadline(delayMs: number, name: string, why: () => SluiceError): Timer {
    const timer = this.timer(name, () => {
      void this.end(failed(why()))
    })
    timer.setAfter(delayMs)
    return timer
  }

  /**
   * Runs `work` as a task of this scope, in the ledger until it settles. A failure ends the scope. The
   * task itself must end when the scope does: everything it waits for fails then.
   */
  task(name: string, work: () => Promise<void>): void {
    let finish: () => void = () => undefined
    const finished = new Promise<void>(resolve => {
      finish = resolve
    })
    const held = this.hold('task', name, () => finished)
    Promise.try(work)
      .catch((thrown: unknown) => {
        void this.end(failed(asError(thrown)))
      })
      .finally(() => {
        finish()
        held.drop()
      })
      .catch((thrown: unknown) => {
        this.program.report(thrown)
      })
  }

  /**
   * Moves this scope with everything in it under another owner; the old one forgets it. Under an owner
   * that is ending it ends at once; for one that is over it ends too, and stays in the ledger where it
   * is. One that is over itself stays where it was: nowhere.
   */
  moveTo(owner: Scope): void {
    for (let at: Scope | null = owner; at !== null; at = at.holder) {
      assert(at !== this, 'a scope moves to another one, outside of it')
    }
    if (this.holder === owner || this.#isOver) return
    if (owner.#isOver && owner.#ending !== null) {
      void this.end(owner.#ending)
      return
    }
    this.holder?.forget(this)
    owner.adopt(this)
  }

  /** @internal */
  adopt(scope: Scope): void {
    this.#link(scope)
    if (this.#ending !== null) this.#begin(scope, this.#ending)
  }

  setNote(note: () => string): void {
    this.#note = note
  }
  override note(): string {
    return this.#note === null ? '' : this.#note()
  }

  /**
   * Ends everything in this scope, last made first, all begun in this turn. Idempotent: the first
   * ending counts and every call returns the same promise, which settles when all of it is over.
   */
  end(ending: Ending): Promise<Ending> {
    if (this.#ending === null) {
      this.#ending = ending
      this.isEnding = true
      for (let entry = this.#last; entry !== null; entry = this.#last) this.#begin(entry, ending)
      this.#finishIfEmpty()
    }
    return this.ended
  }

  /** @internal */
  override release(ending: Ending): void | Promise<void> {
    if (this.#ending === null) {
      const over = this.end(ending)
      return this.#isOver ? undefined : over.then(() => undefined)
    }
    return this.#isOver ? undefined : this.ended.then(() => undefined)
  }

  /** @internal The entry has ended by itself. */
  forget(entry: Entry): void {
    this.#unlink(entry)
    this.#finishIfEmpty()
  }

  /** Everything in this scope, itself included, parents before children. */
  *rows(depth = 0): Generator<LedgerRow> {
    yield rowOf(this, depth, this.program.clock.now() - this.startedMs)
    for (const list of [this.#first(), this.#closing]) {
      for (let entry = list; entry !== null; entry = entry.next) {
        if (entry instanceof Scope) yield* entry.rows(depth + 1)
        else if (entry.kind !== 'hook') yield rowOf(entry, depth + 1, 0)
      }
    }
  }

  /** True if nothing but itself is in it; hooks do not count. */
  get isEmpty(): boolean {
    for (const row of this.rows()) if (row.depth > 0) return false
    return true
  }

  #first(): Entry | null {
    let entry = this.#last
    for (let before = entry; before !== null; before = before.prev) entry = before
    return entry
  }

  #link(entry: Entry): void {
    entry.holder = this
    entry.prev = this.#last
    if (this.#last !== null) this.#last.next = entry
    this.#last = entry
  }

  #unlink(entry: Entry): void {
    assert(entry.holder === this, 'an entry leaves the scope that holds it')
    if (entry.prev !== null) entry.prev.next = entry.next
    else if (this.#closing === entry) this.#closing = entry.next
    if (entry.next !== null) entry.next.prev = entry.prev
    else if (this.#last === entry) this.#last = entry.prev
    entry.prev = null
    entry.next = null
    entry.holder = null
  }

  /** Begins the end of one entry; it stays in the ledger, among the closing, until that is over. */
  #begin(entry: Entry, ending: Ending): void {
    this.#unlink(entry)
    if (!(entry instanceof Scope)) entry.isEnding = true
    let over: void | Promise<void> = undefined
    this.#releasing += 1
    try {
      over = entry.release(ending)
    } catch (thrown) {
      this.program.report(thrown)
    }
    this.#releasing -= 1
    // A scope may have moved to another owner meanwhile, which waits for it then.
    if (over !== undefined && entry.holder === null) this.#keep(entry, over)
    this.#finishIfEmpty()
  }

  /** In the ledger until `over` settles. */
  #keep(entry: Entry, over: Promise<void>): void {
    entry.holder = this
    entry.next = this.#closing
    if (this.#closing !== null) this.#closing.prev = entry
    this.#closing = entry
    over
      .catch((thrown: unknown) => {
        this.program.report(thrown)
      })
      .finally(() => {
        if (entry.holder === this) this.forget(entry)
      })
      .catch((thrown: unknown) => {
        this.program.report(thrown)
      })
  }

  #finishIfEmpty(): void {
    if (this.#ending === null || this.#isOver) return
    if (this.#last !== null || this.#closing !== null || this.#releasing > 0) return
    this.#isOver = true
    this.#over?.resolve(this.#ending)
    if (this.holder !== null) this.holder.forget(this)
  }
}

function rowOf(entry: Entry, depth: number, ageMs: number): LedgerRow {
  return {
    kind: entry.kind,
    name: entry.name,
    depth,
    ageMs: Math.round(ageMs),
    state: entry.isEnding ? 'ending' : 'open',
    note: entry.note(),
  }
}

function endedBecause(ending: Ending): SluiceError {
  const context: ErrorContext = ending.kind === 'failed' ? { cause: ending.why } : {}
  return scopeError('ended', context)
}
