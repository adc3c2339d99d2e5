import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../testing/index.ts'
import { tickMs, Wheel, type WheelEntry } from './wheel.ts'

const secondMs = 1_000
const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** A clock that counts how often it wakes somebody. */
class CountingClock extends FakeClock {
  wakes = 0
  override wakeDue(): boolean {
    const hasWoken = super.wakeDue()
    if (hasWoken) this.wakes += 1
    return hasWoken
  }
  /** Moves on to `atMs` and keeps every appointment on the way exactly. */
  runTo(atMs: number): void {
    for (let count = 0; this.wakeMs <= atMs; count++) {
      assert(count < 1_000_000, 'the wheel wakes its clock without an end')
      this.jumpTo(this.wakeMs)
      this.wakeDue()
    }
    this.jumpTo(atMs)
  }
  /** Sleeps through to `atMs`, as a suspended machine does, and is woken once. */
  sleepTo(atMs: number): void {
    this.jumpTo(atMs)
    this.wakeDue()
  }
}

/** An entry that notes when it was called, and may do more then. */
class Entry implements WheelEntry {
  wheelPrev: WheelEntry | null = null
  wheelNext: WheelEntry | null = null
  wheelSlot = -1
  dueTick = 0
  readonly fired: number[] = []
  readonly #then: ((nowMs: number, times: number) => void) | null
  constructor(then: ((nowMs: number, times: number) => void) | null = null) {
    this.#then = then
  }
  onDue(nowMs: number): void {
    assert.equal(this.wheelSlot, -1, 'it has left the wheel before it is called')
    this.fired.push(nowMs)
    this.#then?.(nowMs, this.fired.length)
  }
}

function bed(startMs = 1_000): { clock: CountingClock; wheel: Wheel } {
  const clock = new CountingClock(startMs)
  return { clock, wheel: new Wheel(clock) }
}

describe('the wheel', () => {
  it('asks for no wake-up while it is empty', () => {
    const { clock, wheel } = bed()
    const entry = new Entry()
    const isQuiet = (): boolean => clock.wakeMs === Number.POSITIVE_INFINITY
    assert(isQuiet())
    wheel.set(entry, 5_000)
    assert.equal(wheel.size, 1)
    assert(!isQuiet())
    wheel.clear(entry)
    assert(isQuiet(), 'the last one was taken out')
    assert.equal(wheel.size, 0)
    wheel.clear(entry)
    assert.equal(wheel.size, 0, 'taking it out again changes nothing')
    wheel.set(entry, 5_000)
    clock.runTo(6_000)
    assert.deepEqual(entry.fired, [5_000])
    assert(isQuiet(), 'the last one has fired')
    const clearing = new Entry(() => {
      wheel.clear(entry)
    })
    wheel.set(entry, 7_000)
    wheel.set(clearing, 6_500)
    clock.runTo(6_990)
    assert(isQuiet(), 'the last one was taken out by another that fired')
    assert.deepEqual(entry.fired, [5_000])
  })

  it('fires exactly in the tick at or after the time that was set', () => {
    for (const [dueMs, expectedMs] of [
      [1_010, 1_010],
      [1_011, 1_020],
      [1_019.999, 1_020],
      [1_020, 1_020],
      [3_560, 3_560],
      [1_000 + 655_360, 656_360],
      [1_000 + hourMs + 1, 1_000 + hourMs + 10],
      [1_000 + 47 * hourMs, 1_000 + 47 * hourMs],
      [1_000 + 500 * dayMs, 1_000 + 500 * dayMs],
    ] as const) {
      const { clock, wheel } = bed()
      const entry = new Entry()
      wheel.set(entry, dueMs)
      clock.runTo(dueMs + tickMs)
      assert.deepEqual(entry.fired, [expectedMs], `set for ${String(dueMs)}`)
      assert(clock.wakes <= 8, `${String(clock.wakes)} wake-ups for one entry`)
    }
  })

  it('fires what is set for the past within a tick, never inside the call that sets it', () => {
    const { clock, wheel } = bed(12_345)
    for (const dueMs of [12_345, 12_000, 0, -1, Number.NEGATIVE_INFINITY]) {
      const entry = new Entry()
      const setMs = clock.now()
      wheel.set(entry, dueMs)
      assert.deepEqual(entry.fired, [])
      clock.runTo(setMs + tickMs)
      assert.equal(entry.fired.length, 1, `set for ${String(dueMs)}`)
    }
  })

  it('never fires what is set for ever, and finds out with few wake-ups', () => {
    const { clock, wheel } = bed()
    const entry = new Entry()
    wheel.set(entry, Number.POSITIVE_INFINITY)
    clock.runTo(10 * 365 * dayMs)
    assert.deepEqual(entry.fired, [])
    assert(clock.wakes < 50, `${String(clock.wakes)} wake-ups in ten years`)
    wheel.clear(entry)
    assert.equal(clock.wakeMs, Number.POSITIVE_INFINITY)
  })

  it('refuses a time that is no number, and is as it was', () => {
    const { clock, wheel } = bed()
    const entry = new Entry()
    assert.throws(() => {
      wheel.set(entry, Number.NaN)
    })
    assert.equal(wheel.size, 0)
    assert.equal(clock.wakeMs, Number.POSITIVE_INFINITY)
    wheel.set(entry, 2_000)
    assert.throws(() => {
      wheel.set(entry, Number.NaN)
    })
    clock.runTo(3_000)
    assert.deepEqual(entry.fired, [2_000])
    assert.equal(wheel.size, 0)
  })

  it('is not early when its clock wakes it too early', () => {
    const { clock, wheel } = bed()
    const entry = new Entry()
    let wake: () => void = () => undefined
    const wakeAt = clock.wakeAt.bind(clock)
    clock.wakeAt = (atMs, fire) => {
      wake = fire
      wakeAt(atMs, fire)
    }
    wheel.set(entry, 5_000)
    for (const earlyMs of [1_000, 4_000, 4_999.999]) {
      clock.jumpTo(earlyMs)
      clock.cancelWake()
      wake()
      assert.deepEqual(entry.fired, [])
      assert(clock.wakeMs <= 5_000, 'and asks to be woken again')
    }
    clock.runTo(5_000)
    assert.deepEqual(entry.fired, [5_000])
  })

  it('fires each due entry once after a jump ahead of an hour, in the order of their times', () => {
    const { clock, wheel } = bed()
    const order: number[] = []
    const dueMs = [10, 20, 30, 2_550, 2_560, 2_570, 655_350, 655_360, hourMs - 10, hourMs]
    const entries = dueMs.map(
      delayMs =>
        new Entry(() => {
          order.push(delayMs)
        }),
    )
    for (const [at, delayMs] of dueMs.entries()) {
      const entry = entries[at]
      if (entry !== undefined) wheel.set(entry, 1_000 + delayMs)
    }
    const later = new Entry()
    wheel.set(later, 1_000 + hourMs + 10)
    clock.sleepTo(1_000 + hourMs)
    assert.equal(clock.wakes, 1)
    for (const entry of entries) assert.deepEqual(entry.fired, [1_000 + hourMs])
    assert.deepEqual(order, dueMs)
    assert.deepEqual(later.fired, [])
    assert.equal(clock.wakeMs, 1_000 + hourMs + 10)
  })

  it('fires an entry that sets itself in the past once a wake-up, however far time has jumped', () => {
    const { clock, wheel } = bed()
    const jumpMs = 60 * secondMs
    const periodic = new Entry((_nowMs, times) => {
      wheel.set(periodic, 1_000 + tickMs * (times + 1))
    })
    const eager = new Entry(() => {
      wheel.set(eager, Number.NEGATIVE_INFINITY)
    })
    wheel.set(periodic, 1_010)
    wheel.set(eager, 1_010)
    clock.sleepTo(1_000 + jumpMs)
    assert.equal(periodic.fired.length, 1)
    assert.equal(eager.fired.length, 1)
    clock.runTo(1_000 + jumpMs + tickMs)
    assert.equal(periodic.fired.length, 2)
    assert.equal(eager.fired.length, 2)
  })

  it('wakes rarely for one far entry, also when others come and go meanwhile', () => {
    const { clock, wheel } = bed()
    const far = new Entry()
    wheel.set(far, 1_000 + 400 * dayMs)
    const near = new Entry()
    for (let day = 0; day < 399; day++) {
      clock.runTo(1_000 + day * dayMs)
      wheel.set(near, clock.now() + 50)
      clock.runTo(clock.now() + 50)
      wheel.set(near, clock.now() + secondMs)
      wheel.clear(near)
    }
    assert.equal(near.fired.length, 399)
    clock.runTo(1_000 + 400 * dayMs)
    assert.deepEqual(far.fired, [1_000 + 400 * dayMs])
    assert(clock.wakes < 399 * 5, `${String(clock.wakes)} wake-ups`)
  })

  it('is not late for a near entry that is set long after it last looked at its clock', () => {
    const { clock, wheel } = bed()
    const far = new Entry()
    wheel.set(far, 1_000 + 300 * dayMs)
    for (const atMs of [2_550, 65_530, 700_000, 2 * hourMs, dayMs, 3 * dayMs + 7]) {
      clock.runTo(1_000 + atMs)
      const entry = new Entry()
      const dueMs = clock.now() + 25
      wheel.set(entry, dueMs)
      clock.runTo(dueMs + tickMs)
      assert.equal(entry.fired.length, 1)
      assert((entry.fired[0] ?? 0) >= dueMs)
    }
    assert.deepEqual(far.fired, [])
  })

  it('loses no other entry when one throws, and none is late for it', () => {
    const { clock, wheel } = bed()
    const fault = new Error('thrown by an entry')
    const others = [5_000, 5_000, 5_010, 5_020, 9_000].map(dueMs => ({
      dueMs,
      entry: new Entry(),
    }))
    const thrower = new Entry(() => {
      throw fault
    })
    const [first, second] = others
    assert(first !== undefined && second !== undefined)
    // One stands before the thrower in its slot, one behind it.
    wheel.set(first.entry, first.dueMs)
    wheel.set(thrower, 5_000)
    for (const { entry, dueMs } of others) if (entry !== first.entry) wheel.set(entry, dueMs)
    clock.jumpTo(5_010)
    assert.throws(() => {
      clock.wakeDue()
    }, fault)
    for (const { entry, dueMs } of others.slice(0, 3)) {
      assert.deepEqual(entry.fired, [5_010], `set for ${String(dueMs)}`)
    }
    clock.runTo(10_000)
    assert.deepEqual(
      others.map(({ entry }) => entry.fired),
      [[5_010], [5_010], [5_010], [5_020], [9_000]],
    )
    assert.equal(wheel.size, 0)
    assert.equal(clock.wakeMs, Number.POSITIVE_INFINITY)
  })

  it('keeps fifty thousand entries apart, whatever order they come and go in', () => {
    const { clock, wheel } = bed()
    const count = 50_000
    const spread = (at: number, rangeMs: number): number => (at * 2_654_435_761) % rangeMs
    let firedCount = 0
    const entries = Array.from({ length: count }, (_, at) => {
      const entry = new Entry(() => {
        firedCount += 1
      })
      wheel.set(entry, 1_000 + spread(at, 2 * hourMs))
      return entry
    })
    // Half of them move, a fifth leaves.
    for (let at = 0; at < count; at += 2) {
      const entry = entries[at]
      if (entry !== undefined) wheel.set(entry, 1_000 + spread(at + 7, hourMs))
    }
    for (let at = 0; at < count; at += 5) {
      const entry = entries[at]
      if (entry !== undefined) wheel.clear(entry)
    }
    assert.equal(wheel.size, (count * 4) / 5)
    clock.runTo(1_000 + 2 * hourMs + tickMs)
    assert.equal(wheel.size, 0)
    assert.equal(firedCount, (count * 4) / 5)
    for (const [at, entry] of entries.entries()) {
      const dueMs = 1_000 + (at % 2 === 0 ? spread(at + 7, hourMs) : spread(at, 2 * hourMs))
      if (at % 5 === 0) assert.deepEqual(entry.fired, [])
      else {
        const [firedMs = 0] = entry.fired
        assert(entry.fired.length === 1 && firedMs >= dueMs && firedMs <= dueMs + tickMs)
      }
    }
  })
})

/** What a random run does, one step after the other. */
type Step =
  | { readonly kind: 'set'; readonly at: number; readonly delayMs: number }
  | { readonly kind: 'clear'; readonly at: number }
  | { readonly kind: 'run'; readonly ms: number }
  | { readonly kind: 'sleep'; readonly ms: number }

/** What an entry does when it fires. */
type Reaction =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'again'; readonly delayMs: number }
  | { readonly kind: 'clear'; readonly at: number }
  | { readonly kind: 'set'; readonly at: number; readonly delayMs: number }

const entriesMax = 12
const anyEntry = fc.integer({ min: 0, max: entriesMax - 1 })
const anyDelayMs = fc.oneof(
  fc.integer({ min: -50, max: 3_000 }),
  fc.integer({ min: 0, max: 800_000 }),
  fc.integer({ min: 0, max: 500 * dayMs }),
  // Right at the borders of the wheel's levels.
  fc.constantFrom(0, 2_550, 2_560, 2_570, 655_350, 655_360, 655_370, 167_772_160, 42_949_672_960),
)
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('set'), at: anyEntry, delayMs: anyDelayMs }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear'), at: anyEntry }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('run'), ms: anyDelayMs.map(Math.abs) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('sleep'), ms: anyDelayMs.map(Math.abs) }) },
)
const anyReaction: fc.Arbitrary<Reaction> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ kind: 'nothing' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('again'),
      delayMs: fc.integer({ min: -20, max: 5_000 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear'), at: anyEntry }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('set'), at: anyEntry, delayMs: anyDelayMs }),
  },
)

/** The naive one: a time for each entry, looked through each time. */
class Model {
  readonly clock = new CountingClock(777)
  readonly wheel = new Wheel(this.clock)
  /** When each entry that is in is due, and when it was set. */
  readonly due = new Map<number, { readonly dueMs: number; readonly setMs: number }>()
  /** A clock that sleeps may be late by any time; one that runs may not. */
  isAsleep = false
  reactionsLeft = 300
  readonly entries: readonly Entry[]

  constructor(reactions: readonly Reaction[]) {
    this.entries = Array.from(
      { length: entriesMax },
      (_, at) =>
        new Entry(nowMs => {
          this.#onFired(at, nowMs)
          this.reactionsLeft -= 1
          if (this.reactionsLeft > 0) this.#react(at, reactions[at] ?? { kind: 'nothing' })
        }),
    )
  }

  #onFired(at: number, nowMs: number): void {
    const due = this.due.get(at)
    assert(due !== undefined, `entry ${String(at)} fires though it is not in`)
    this.due.delete(at)
    assert.equal(nowMs, this.clock.now())
    assert(nowMs >= due.dueMs, `entry ${String(at)} fires at ${String(nowMs)}, too early`)
    const lateMs = nowMs - Math.max(due.dueMs, due.setMs)
    if (!this.isAsleep) assert(lateMs <= tickMs, `entry ${String(at)} is ${String(lateMs)} ms late`)
  }

  #react(at: number, reaction: Reaction): void {
    if (reaction.kind === 'again') this.set(at, reaction.delayMs)
    else if (reaction.kind === 'set') this.set(reaction.at, reaction.delayMs)
    else if (reaction.kind === 'clear') this.clear(reaction.at)
  }

  set(at: number, delayMs: number): void {
    const nowMs = this.clock.now()
    const entry = this.entries[at]
    assert(entry !== undefined)
    this.wheel.set(entry, nowMs + delayMs)
    this.due.set(at, { dueMs: nowMs + delayMs, setMs: nowMs })
  }

  clear(at: number): void {
    const entry = this.entries[at]
    assert(entry !== undefined)
    this.wheel.clear(entry)
    this.due.delete(at)
  }

  play(step: Step): void {
    if (step.kind === 'set') this.set(step.at, step.delayMs)
    else if (step.kind === 'clear') this.clear(step.at)
    else {
      this.isAsleep = step.kind === 'sleep'
      const toMs = this.clock.now() + step.ms
      if (step.kind === 'sleep') this.clock.sleepTo(toMs)
      else this.clock.runTo(toMs)
      this.isAsleep = false
    }
    this.check()
  }

  check(): void {
    const nowMs = this.clock.now()
    assert.equal(this.wheel.size, this.due.size, 'nothing is lost or doubled')
    assert.equal(this.clock.wakeMs < Number.POSITIVE_INFINITY, this.due.size > 0)
    for (const [at, entry] of this.entries.entries()) {
      assert.equal(entry.wheelSlot >= 0, this.due.has(at))
    }
    for (const [at, { dueMs, setMs }] of this.due) {
      const latestMs = Math.max(dueMs, setMs) + tickMs
      assert(latestMs >= nowMs, `entry ${String(at)} was due by ${String(latestMs)}`)
      assert(this.clock.wakeMs <= latestMs, `nobody wakes entry ${String(at)} in time`)
    }
  }
}

describe('the wheel beside a naive model', () => {
  it('fires the same entries, never early and at most a tick late', () => {
    fc.assert(
      fc.property(
        fc.array(anyReaction, { minLength: entriesMax, maxLength: entriesMax }),
        fc.array(anyStep, { maxLength: 60 }),
        (reactions, steps) => {
          const model = new Model(reactions)
          for (const step of steps) model.play(step)
          model.reactionsLeft = 0
          model.play({ kind: 'run', ms: 501 * dayMs })
          assert.equal(model.due.size, 0, 'all of them fire in the end')
          const rearmed = 300 + steps.length
          assert(model.clock.wakes <= 12 * rearmed, `${String(model.clock.wakes)} wake-ups`)
        },
      ),
      { numRuns: 400 },
    )
  })
})
