import type { Clock } from '../core/clock.ts'
import { errorArea, type ErrorMaker, type SluiceError } from '../core/errors.ts'
import { Program, Scope } from '../core/scope.ts'
import { Random } from './random.ts'

const simTable = {
  injected: ['network', 'a failure injected by the simulation'],
  'peer-reset': ['network', 'the scripted peer has reset the link'],
} as const
export const simError: ErrorMaker<typeof simTable> = errorArea('sim', simTable)

/** Time that stands still until a test moves it. */
export class FakeClock implements Clock {
  #nowMs: number
  #wakeMs = Number.POSITIVE_INFINITY
  #fire: (() => void) | null = null
  constructor(startMs = 1_000) {
    this.#nowMs = startMs
  }
  now(): number {
    return this.#nowMs
  }
  wallNow(): number {
    return 1_700_000_000_000 + this.#nowMs
  }
  wakeAt(atMs: number, fire: () => void): void {
    this.#wakeMs = atMs
    this.#fire = fire
  }
  cancelWake(): void {
    this.#wakeMs = Number.POSITIVE_INFINITY
    this.#fire = null
  }
  /** When the next wake-up is wanted; infinite when none is. */
  get wakeMs(): number {
    return this.#wakeMs
  }
  /** Moves time without waking anyone, as a clock that jumps does. */
  jumpTo(atMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, atMs)
  }
  /** Wakes whoever is due now. */
  wakeDue(): boolean {
    if (this.#fire === null || this.#wakeMs > this.#nowMs) return false
    const fire = this.#fire
    this.cancelWake()
    fire()
    return true
  }
}

/** Lets every promise that can settle now settle. */
export function settle(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve)
  })
}

interface Event {
  readonly atMs: number
  readonly order: number
  readonly fire: () => void
}

/**
 * A run in simulated time: seeded randomness, events in order, a program with a ledger, and a number
 * for every call that a scripted link receives, so that each of them can be made to fail in turn.
 */
export class Simulation {
  readonly random: Random
  readonly clock: FakeClock
  readonly program: Program
  readonly root: Scope
  readonly #failCall: number
  readonly #events: Event[] = []
  #order = 0
  #calls = 0
  #eventsRun = 0

  /** `failCall`: the number, from 1, of the call that fails; 0 for none. */
  constructor(seed: number, failCall = 0) {
    this.random = new Random(seed)
    this.clock = new FakeClock()
    this.program = new Program(this.clock)
    this.root = Scope.root(this.program, `simulation ${String(seed)}`)
    this.#failCall = failCall
  }

  /** Calls seen so far. */
  get calls(): number {
    return this.#calls
  }

  /** Numbers a call; gives the error it must fail with, if it is the chosen one. */
  countCall(name: string): SluiceError | null {
    this.#calls += 1
    if (this.#calls !== this.#failCall) return null
    return simError('injected', { detail: { call: this.#calls, name }, system: 'EIO' })
  }

  /** Runs `fire` when simulated time has moved on by `delayMs`. */
  after(delayMs: number, fire: () => void): void {
    this.#order += 1
    const event: Event = { atMs: this.clock.now() + delayMs, order: this.#order, fire }
    let at = this.#events.length
    while (at > 0 && later(this.#events[at - 1], event)) at -= 1
    this.#events.splice(at, 0, event)
  }

  /** Runs until `untilMs` of simulated time from now have passed or nothing is left to happen. */
  async run(untilMs: number = Number.POSITIVE_INFINITY): Promise<void> {
    const endMs = this.clock.now() + untilMs
    await settle()
    for (;;) {
      const [event] = this.#events
      const nextMs = Math.min(event?.atMs ?? Number.POSITIVE_INFINITY, this.clock.wakeMs)
      if (nextMs === Number.POSITIVE_INFINITY || nextMs > endMs) break
      this.#eventsRun += 1
      if (this.#eventsRun > eventsMax) throw new Error('the simulation does not come to an end')
      this.clock.jumpTo(nextMs)
      if (event !== undefined && event.atMs <= this.clock.now()) {
        this.#events.shift()
        event.fire()
      } else this.clock.wakeDue()
      await settle()
    }
    if (endMs !== Number.POSITIVE_INFINITY) this.clock.jumpTo(endMs)
  }
}
const eventsMax = 100_000

function later(before: Event | undefined, event: Event): boolean {
  return before !== undefined && before.atMs > event.atMs
}
