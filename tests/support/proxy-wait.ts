import { setTimeout as sleep } from 'node:timers/promises'

const patienceMs = 15_000

/** `work`, or a failure that says what was waited for and how things stand. */
export async function within<T>(
  work: Promise<T>,
  what: string,
  state: () => string = () => '',
  limitMs: number = patienceMs,
): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    late.reject(new Error(`waited ${String(limitMs)} ms for ${what}: ${state()}`))
  }, limitMs)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits for what no event tells; false when it does not become true. */
export async function becomes(
  isTrue: () => boolean,
  limitMs: number = patienceMs,
): Promise<boolean> {
  const limit = performance.now() + limitMs
  while (!isTrue()) {
    if (performance.now() > limit) return false
    await sleep(2)
  }
  return true
}
