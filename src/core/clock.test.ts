import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { SystemClock } from './clock.ts'

interface Armed {
  readonly delayMs: number
  readonly fire: () => void
  isCleared: boolean
}

/** The timers that were set, instead of setting them. */
function timersOf(t: TestContext): Armed[] {
  const armed: Armed[] = []
  t.mock.method(globalThis, 'setTimeout', (fire: () => void, delayMs: number) => {
    armed.push({ delayMs, fire, isCleared: false })
    return armed.length
  })
  t.mock.method(globalThis, 'clearTimeout', (id: number) => {
    const timer = armed[id - 1]
    if (timer !== undefined) timer.isCleared = true
  })
  return armed
}

describe('the real clock', () => {
  it('never goes back, and does not follow the wall clock', t => {
    const clock = new SystemClock()
    const before = clock.now()
    t.mock.method(Date, 'now', () => 0)
    assert.equal(clock.wallNow(), 0)
    assert(clock.now() >= before)
  })

  it('wakes once, not before its time, and only for the last time that was asked for', t => {
    const armed = timersOf(t)
    t.mock.method(performance, 'now', () => 5_000.25)
    const clock = new SystemClock()
    let wakes = 0
    const wake = (): void => {
      wakes += 1
    }
    clock.wakeAt(6_000, wake)
    clock.wakeAt(5_500, wake)
    assert.deepEqual(
      armed.map(({ delayMs, isCleared }) => [delayMs, isCleared]),
      [
        [1_000, true],
        [500, false],
      ],
    )
    armed[1]?.fire()
    assert.equal(wakes, 1)
    clock.cancelWake()
    assert.equal(armed[1]?.isCleared, false, 'what has fired needs no clearing')
    clock.wakeAt(7_000, wake)
    clock.cancelWake()
    clock.cancelWake()
    assert.equal(armed[2]?.isCleared, true)
  })

  it('wakes soon for what is past, and in steps for what is beyond a timer of Node', t => {
    const armed = timersOf(t)
    t.mock.method(performance, 'now', () => 5_000)
    const clock = new SystemClock()
    for (const atMs of [0, 5_000, 5_000.1, 5_000 + 2 ** 31, 1e15, Number.POSITIVE_INFINITY]) {
      clock.wakeAt(atMs, () => undefined)
    }
    assert.deepEqual(
      armed.map(({ delayMs }) => delayMs),
      [1, 1, 1, 2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1],
    )
  })

  it('may be asked again from within the wake-up', t => {
    const armed = timersOf(t)
    const clock = new SystemClock()
    clock.wakeAt(0, () => {
      clock.wakeAt(0, () => undefined)
    })
    armed[0]?.fire()
    clock.cancelWake()
    assert.equal(armed[1]?.isCleared, true, 'the second one is the one that is pending')
  })
})
