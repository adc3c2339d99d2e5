import type { Bytes } from '../bytes/bytes.ts'
import type { Endpoint } from '../core/endpoint.ts'
import { parsePort } from '../core/endpoint.ts'
import { asError, coreError, type SluiceError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import {
  type GoneListener,
  Link,
  type Moved,
  type Now,
  type Sink,
  type Source,
} from '../core/link.ts'
import { clean, type Ending, failed, type Scope } from '../core/scope.ts'
import { simError, type Simulation } from './simulation.ts'

/** What the far end of a scripted link does, in order; times are waits before the step. */
export type PeerStep =
  | { readonly kind: 'send'; readonly afterMs: number; readonly size: number }
  | { readonly kind: 'end'; readonly afterMs: number }
  | { readonly kind: 'reset'; readonly afterMs: number }

export interface ScriptedOptions {
  readonly steps: readonly PeerStep[]
  /** Bytes the peer takes at once before a write must wait. */
  readonly roomBytes: number
  /** Bytes it takes each `takeEveryMs`; 0: it never takes more. */
  readonly takeBytes: number
  readonly takeEveryMs: number
  readonly ends: Sink['ends']
  readonly resets: Sink['resets']
  /** How long the link takes to be gone once it ends. */
  readonly closeMs: number
  /** True: a reset by the peer is noticed even while nobody reads or writes. */
  readonly tellsGone: boolean
  /** True: after a write has met the reset, a read sees an end, as the kernel's sockets do. */
  readonly tellsResetOnce: boolean
}

/** What the far end has seen, for assertions. */
export interface PeerView {
  received: number
  /** The first byte that was not the one expected, or -1. */
  firstWrongAt: number
  end: 'none' | 'end' | 'reset'
  endedAtMs: number
  /** Bytes the script has put on the wire, whether read or not. */
  sent: number
  hasSentEnd: boolean
  hasReset: boolean
}

/** The byte at `position` of the stream that starts with `salt`: any slip or swap shows. */
export function patternByte(salt: number, position: number): number {
  return (position * 31 + (position >>> 8) * 17 + salt) & 0xff
}

export function patternBytes(salt: number, position: number, size: number): Bytes {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at++) bytes[at] = patternByte(salt, position + at)
  return bytes
}

/**
 * A link whose far end follows a script in simulated time: delays, short reads, partial writes, ends,
 * resets, failures of any numbered call. It lends memory that it overwrites at the next read, looks at
 * written memory only when the write is done, and reports every breach of the contract as a bug.
 */
export class ScriptedLink {
  readonly link: Link
  readonly peer: PeerView = {
    received: 0,
    firstWrongAt: -1,
    end: 'none',
    endedAtMs: 0,
    sent: 0,
    hasSentEnd: false,
    hasReset: false,
  }
  /** Salt of what the peer sends, and of what it expects to receive. */
  readonly #saltOut: number
  readonly #saltIn: number
  readonly #sim: Simulation
  readonly #options: ScriptedOptions
  readonly #scope: Scope
  #readAt = 0
  #lent: Bytes = new Uint8Array(0)
  #values = 0
  #reader: PromiseWithResolvers<void> | null = null
  #writer: { bytes: Bytes; at: number; done: PromiseWithResolvers<undefined> } | null = null
  #room: number
  #isWriteEnded = false
  /** Our own end has closed the reading half too. */
  #hasEndedBoth = false
  #fault: SluiceError | null = null
  #isResetTold = false
  #isGone = false
  #onGone: GoneListener = () => undefined
  #resetWhenDrained: SluiceError | null = null

  constructor(
    sim: Simulation,
    owner: Scope,
    name: string,
    salts: { readonly out: number; readonly in: number },
    options: ScriptedOptions,
  ) {
    this.#sim = sim
    this.#options = options
    this.#saltOut = salts.out
    this.#saltIn = salts.in
    this.#room = options.roomBytes
    this.#scope = owner.child('leg', name)
    this.#scope.hold('socket', name, ending => this.#release(ending))
    const end: Endpoint = { host: '192.0.2.1', port: parsePort(1) }
    this.link = new Link(
      {
        path: { remote: end, local: end },
        scope: this.#scope,
        onGone: listener => {
          this.#onGone = listener
        },
      },
      this.#makeSource(),
      this.#makeSink(),
    )
    let atMs = 0
    for (const step of options.steps) {
      atMs += step.afterMs
      sim.after(atMs, () => {
        this.#play(step)
      })
    }
    if (options.takeEveryMs > 0 && options.takeBytes > 0) this.#takeLater()
  }

  #play(step: PeerStep): void {
    if (this.#isGone || this.peer.hasReset || this.peer.hasSentEnd) {
      if (step.kind !== 'reset' || this.#isGone || this.peer.hasReset) return
    }
    if (step.kind === 'send') this.peer.sent += step.size
    else if (step.kind === 'end') this.peer.hasSentEnd = true
    else {
      this.peer.hasReset = true
      const why = simError('peer-reset', { system: 'ECONNRESET', call: 'read' })
      this.#fault = why
      const hadReader = this.#reader !== null
      const hadWriter = this.#writer !== null
      if (hadWriter) this.#isResetTold = true
      this.#failWriter(why)
      if (!hadReader && !hadWriter && this.#options.tellsGone) {
        this.#onGone('source', why)
      }
    }
    this.#wakeReader()
  }

  #takeLater(): void {
    this.#sim.after(this.#options.takeEveryMs, () => {
      if (this.#isGone) return
      this.#room = Math.min(this.#room + this.#options.takeBytes, this.#options.roomBytes)
      this.#progress()
      const isBusy = this.#writer !== null || this.#room < this.#options.roomBytes
      if (isBusy || !this.#isWriteEnded) this.#takeIfNeeded()
    })
  }

  /** Goes on taking only while there is something to take, so that a run can come to an end. */
  #isTaking = true
  #takeIfNeeded(): void {
    this.#isTaking = this.#writer !== null || this.#room < this.#options.roomBytes
    if (this.#isTaking) this.#takeLater()
  }

  #wakeReader(): void {
    const reader = this.#reader
    this.#reader = null
    reader?.resolve()
  }

  #makeSource(): Source {
    return {
      read: () => this.#read(),
      cancel: why => {
        void this.#scope.end(failed(why))
      },
    }
  }

  #read(): Now<Bytes | null | Moved<Source>> {
    if (this.#reader !== null) throw coreError('busy')
    this.#lent.fill(0xee)
    const injected = this.#sim.countCall('read')
    if (injected !== null) return this.#failCall(injected)
    const ready = this.#take()
    if (ready !== undefined) {
      this.#values += 1
      if (this.#values < limits.valuesPerTurn && this.#sim.random.chance(0.5)) return ready
      this.#values = 0
      return Promise.resolve(ready)
    }
    this.#values = 0
    this.#reader = Promise.withResolvers<void>()
    return this.#reader.promise.then(() => {
      const woken = this.#take()
      if (woken === undefined) throw coreError('bug', { detail: { what: 'woken for nothing' } })
      return woken
    })
  }

  /** Bytes, the end, or undefined when there is nothing yet; throws the fault after the last byte. */
  #take(): Bytes | null | undefined {
    if (this.#isGone) throw this.#fault ?? coreError('bug')
    const left = this.peer.sent - this.#readAt
    if (left > 0) {
      const size = this.#sim.random.whole(1, left)
      this.#lent = patternBytes(this.#saltOut, this.#readAt, size)
      this.#readAt += size
      return this.#lent
    }
    if (this.#fault !== null) {
      if (this.#isResetTold && this.#options.tellsResetOnce) return null
      throw this.#fault
    }
    if (!this.peer.hasSentEnd && !this.#hasEndedBoth) return undefined
    return null
  }

  #makeSink(): Sink {
    const waiting = (): number =>
      this.#writer === null ? 0 : this.#writer.bytes.length - this.#writer.at
    return {
      write: bytes => this.#write(bytes),
      flush: () => undefined,
      closeWrite: () => this.#closeWrite(),
      ends: this.#options.ends,
      resets: this.#options.resets,
      reset: (why, after) => {
        this.#reset(why, after)
      },
      get waitingBytes(): number {
        return waiting()
      },
    }
  }

  #write(bytes: Bytes | readonly Bytes[]): Now<undefined> {
    if (this.#writer !== null) throw coreError('busy')
    if (!(bytes instanceof Uint8Array)) throw coreError('bug', { detail: { what: 'not scripted' } })
    if (this.#isWriteEnded) throw coreError('bug', { detail: { what: 'write after end' } })
    const injected = this.#sim.countCall('write')
    if (injected !== null) return this.#failCall(injected)
    if (this.#fault !== null) throw this.#writeFault()
    this.#writer = { bytes, at: 0, done: Promise.withResolvers<undefined>() }
    const { promise } = this.#writer.done
    if (this.#room >= bytes.length && this.#sim.random.chance(0.6)) {
      this.#progress()
      return this.#writer === null ? undefined : promise
    }
    this.#sim.after(this.#sim.random.whole(0, 5), () => {
      this.#progress()
    })
    return promise
  }

  #progress(): void {
    const writer = this.#writer
    if (writer === null) return
    const size = Math.min(this.#room, writer.bytes.length - writer.at)
    for (let at = 0; at < size; at++) {
      const expected = patternByte(this.#saltIn, this.peer.received)
      if (writer.bytes[writer.at + at] !== expected && this.peer.firstWrongAt < 0) {
        this.peer.firstWrongAt = this.peer.received
      }
      this.peer.received += 1
    }
    writer.at += size
    this.#room -= size
    if (!this.#isTaking && this.#options.takeBytes > 0) this.#takeIfNeeded()
    if (writer.at < writer.bytes.length) return
    this.#writer = null
    writer.done.resolve(undefined)
    if (this.#resetWhenDrained !== null) void this.#scope.end(failed(this.#resetWhenDrained))
  }

  #writeFault(): SluiceError {
    this.#isResetTold = true
    return simError('peer-reset', { system: 'EPIPE', call: 'write' })
  }

  #failWriter(why: SluiceError): void {
    const writer = this.#writer
    this.#writer = null
    writer?.done.reject(why)
  }

  #closeWrite(): Now<undefined> {
    if (this.#writer !== null) throw coreError('busy')
    if (this.#isWriteEnded) throw coreError('bug', { detail: { what: 'two ends' } })
    const injected = this.#sim.countCall('closeWrite')
    if (injected !== null) return this.#failCall(injected)
    if (this.#fault !== null) throw this.#writeFault()
    this.#isWriteEnded = true
    if (this.#options.ends !== 'nothing') this.#seeEnd('end')
    if (this.#options.ends === 'both') {
      this.#hasEndedBoth = true
      this.#wakeReader()
    }
    if (this.#sim.random.chance(0.5)) return undefined
    const done = Promise.withResolvers<undefined>()
    this.#sim.after(this.#sim.random.whole(0, 40), () => {
      if (this.#fault === null) done.resolve(undefined)
      else done.reject(this.#writeFault())
    })
    return done.promise
  }

  #seeEnd(end: 'end' | 'reset'): void {
    if (this.peer.end !== 'none') return
    this.peer.end = end
    this.peer.endedAtMs = this.#sim.clock.now()
  }

  /** The chosen call fails, and with it the link: as after a fault of the system. */
  #failCall(injected: SluiceError): Promise<never> {
    this.#fault = injected
    this.peer.hasReset = true
    this.#wakeReader()
    this.#failWriter(injected)
    return Promise.reject(injected)
  }

  #reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    if (this.#isGone || after === undefined || this.#writer === null) {
      void this.#scope.end(failed(why))
      return
    }
    this.#resetWhenDrained = why
    const timer = this.#scope.timer('reset', () => {
      void this.#scope.end(failed(why))
    })
    timer.setAfter(after.graceMs)
  }

  #release(ending: Ending): void | Promise<void> {
    this.#isGone = true
    const why = ending.kind === 'failed' ? ending.why : asError(coreError('spent'))
    this.#fault ??= why
    this.#seeEnd(ending === clean ? 'end' : 'reset')
    this.#failWriter(why)
    this.#wakeReader()
    if (this.#options.closeMs === 0) return undefined
    return new Promise(resolve => {
      this.#sim.after(this.#options.closeMs, resolve)
    })
  }
}
