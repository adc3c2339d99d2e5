import { SystemClock } from '../../src/core/clock.ts'
import type { Clock } from '../../src/core/clock.ts'

/** The system's clock, which can be made to jump: as after a night in standby. */
export class JumpingClock implements Clock {
  readonly #system = new SystemClock()
  #aheadMs = 0
  #wallAheadMs = 0
  #wake: { readonly atMs: number; readonly fire: () => void } | null = null
  #wakes = 0

  now(): number {
    return this.#system.now() + this.#aheadMs
  }
  wallNow(): number {
    return this.#system.wallNow() + this.#wallAheadMs
  }
  wakeAt(atMs: number, fire: () => void): void {
    this.#wake = { atMs, fire }
    this.#system.wakeAt(atMs - this.#aheadMs, () => {
      this.#wake = null
      this.#wakes += 1
      fire()
    })
  }
  cancelWake(): void {
    this.#wake = null
    this.#system.cancelWake()
  }

  /** How often somebody was woken. */
  get wakes(): number {
    return this.#wakes
  }

  jump(aheadMs: number, wallAheadMs: number): void {
    this.#aheadMs += aheadMs
    this.#wallAheadMs += wallAheadMs
    if (this.#wake !== null) this.wakeAt(this.#wake.atMs, this.#wake.fire)
  }
}
