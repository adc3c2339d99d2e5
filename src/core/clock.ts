/**
 * Time, as everything above sees it. Only this file may set a timer or read a clock, so that tests
 * can put another time in its place.
 */
export interface Clock {
  /** Milliseconds that never go back and do not follow the wall clock; the origin means nothing. */
  now(): number
  /** Milliseconds since 1970, for log lines only: no decision may rest on it. */
  wallNow(): number
  /** Calls `fire` once at or after `atMs` (on the scale of `now`); replaces what was set before. */
  wakeAt(atMs: number, fire: () => void): void
  cancelWake(): void
}

/** The longest delay `setTimeout` honours; later wake-ups are reached in several steps. */
const delayMsMax = 2 ** 31 - 1

/** The real clock. A pending wake-up holds the process open: it stands for something still owned. */
export class SystemClock implements Clock {
  #timer: NodeJS.Timeout | null = null

  now(): number {
    return performance.now()
  }

  wallNow(): number {
    return Date.now()
  }

  wakeAt(atMs: number, fire: () => void): void {
    this.cancelWake()
    const delayMs = Math.min(Math.max(1, Math.ceil(atMs - this.now())), delayMsMax)
    this.#timer = setTimeout(() => {
      this.#timer = null
      fire()
    }, delayMs)
  }

  cancelWake(): void {
    if (this.#timer === null) return
    clearTimeout(this.#timer)
    this.#timer = null
  }
}
