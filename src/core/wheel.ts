import type { Clock } from './clock.ts'
import { assert } from './errors.ts'

/** A timer never fires early and at most one tick late. */
export const tickMs = 10
const slotCount = 256
/** Slots of one level cover 10 ms, 2.56 s, 11 min, 46 h; what lies further waits at the rim. */
const units = [1, slotCount, slotCount ** 2, slotCount ** 3] as const
const spanTicks = slotCount ** units.length

/** Something that waits on a wheel; the links are the wheel's own, so that leaving costs nothing. */
export interface WheelEntry {
  wheelPrev: WheelEntry | null
  wheelNext: WheelEntry | null
  /** The slot it stands in; -1 while it is not on the wheel. */
  wheelSlot: number
  dueTick: number
  /**
   * Called once when due, after the entry has left the wheel; it may put itself in again, and then
   * waits for the next tick at least. What it throws reaches the clock, once all that is due has fired.
   */
  onDue(nowMs: number): void
}

/**
 * One hierarchical timer wheel for everything with a deadline. Entering, leaving and moving are O(1),
 * and an entry that left is forgotten at once. It asks its clock for one wake-up at a time, and for
 * none while it is empty; a clock that jumps ahead fires what is due once, without catching up ticks.
 */
export class Wheel {
  readonly #clock: Clock
  readonly #heads: (WheelEntry | null)[] = Array.from(
    { length: slotCount * units.length },
    () => null,
  )
  /** Everything due at or before this tick has fired. */
  #tick: number
  #armedTick = Number.POSITIVE_INFINITY
  #size = 0
  #isTurning = false
  /** While turning: what is set now waits at least until the tick after this one. */
  #turningTick = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#tick = Math.floor(clock.now() / tickMs)
  }

  get size(): number {
    return this.#size
  }

  /** Puts `entry` in, or moves it; it fires in the first tick at or after `dueMs`. */
  set(entry: WheelEntry, dueMs: number): void {
    assert(!Number.isNaN(dueMs), 'a timer is set to a number')
    if (entry.wheelSlot < 0) this.#size += 1
    else this.#unlink(entry)
    if (this.#size === 1 && !this.#isTurning) this.#tick = Math.floor(this.#clock.now() / tickMs)
    const passed = this.#isTurning ? this.#turningTick : this.#tick
    entry.dueTick = Math.max(Math.ceil(dueMs / tickMs), passed + 1)
    const wakeTick = this.#place(entry)
    if (!this.#isTurning && wakeTick < this.#armedTick) this.#arm(wakeTick)
  }

  /** Takes `entry` out; nothing happens if it is not in. */
  clear(entry: WheelEntry): void {
    if (entry.wheelSlot < 0) return
    this.#unlink(entry)
    this.#size -= 1
    if (this.#size === 0 && !this.#isTurning) this.#disarm()
  }

  /** Links the entry into its slot; returns the tick at which that slot must be looked at. */
  #place(entry: WheelEntry): number {
    const tick = Math.min(entry.dueTick, this.#tick + spanTicks - 1)
    let level = 0
    let unit = 1
    for (const [at, size] of units.entries()) {
      level = at
      unit = size
      if (tick - this.#tick < size * slotCount) break
    }
    const turn = Math.floor(tick / unit)
    const slot = level * slotCount + (turn % slotCount)
    const head = this.#heads[slot] ?? null
    entry.wheelSlot = slot
    entry.wheelNext = head
    if (head !== null) head.wheelPrev = entry
    this.#heads[slot] = entry
    return turn * unit
  }

  #unlink(entry: WheelEntry): void {
    if (entry.wheelPrev === null) this.#heads[entry.wheelSlot] = entry.wheelNext
    else entry.wheelPrev.wheelNext = entry.wheelNext
    if (entry.wheelNext !== null) entry.wheelNext.wheelPrev = entry.wheelPrev
    entry.wheelPrev = null
    entry.wheelNext = null
    entry.wheelSlot = -1
  }

  /** The next tick at which a slot must be looked at. */
  #nextTick(): number {
    let next = Number.POSITIVE_INFINITY
    for (const [level, unit] of units.entries()) {
      const turn = Math.floor(this.#tick / unit)
      for (let ahead = 1; ahead <= slotCount; ahead++) {
        if ((this.#heads[level * slotCount + ((turn + ahead) % slotCount)] ?? null) === null)
          continue
        next = Math.min(next, (turn + ahead) * unit)
        break
      }
    }
    return next
  }

  #turn(): void {
    this.#armedTick = Number.POSITIVE_INFINITY
    this.#isTurning = true
    const nowMs = this.#clock.now()
    const nowTick = Math.floor(nowMs / tickMs)
    this.#turningTick = nowTick
    const faults: unknown[] = []
    for (;;) {
      const next = this.#size === 0 ? Number.POSITIVE_INFINITY : this.#nextTick()
      if (next > nowTick) break
      this.#tick = next
      this.#cascade()
      this.#fire(next % slotCount, nowMs, faults)
    }
    this.#tick = Math.max(this.#tick, nowTick)
    this.#isTurning = false
    if (this.#size > 0) this.#arm(this.#nextTick())
    else this.#disarm()
    if (faults.length > 0) throw faults[0]
  }

  /** Moves what is near enough now from the outer levels inward. */
  #cascade(): void {
    for (let level = units.length - 1; level > 0; level--) {
      const unit = units[level] ?? 1
      if (this.#tick % unit !== 0) continue
      const slot = level * slotCount + (Math.floor(this.#tick / unit) % slotCount)
      let entry = this.#heads[slot] ?? null
      this.#heads[slot] = null
      while (entry !== null) {
        const following: WheelEntry | null = entry.wheelNext
        entry.wheelPrev = null
        entry.wheelNext = null
        this.#place(entry)
        entry = following
      }
    }
  }

  #fire(slot: number, nowMs: number, faults: unknown[]): void {
    for (;;) {
      const entry = this.#heads[slot] ?? null
      if (entry === null) return
      this.#unlink(entry)
      this.#size -= 1
      try {
        entry.onDue(nowMs)
      } catch (thrown) {
        faults.push(thrown)
      }
    }
  }

  #arm(tick: number): void {
    this.#armedTick = tick
    this.#clock.wakeAt(tick * tickMs, () => {
      this.#turn()
    })
  }

  #disarm(): void {
    if (this.#armedTick === Number.POSITIVE_INFINITY) return
    this.#armedTick = Number.POSITIVE_INFINITY
    this.#clock.cancelWake()
  }
}
