import { deepStrictEqual, ok } from 'node:assert/strict'
import type { Bytes, Decoded, Decoder } from '../bytes/bytes.ts'
import { asError, type ErrorCode, type SluiceError } from '../core/errors.ts'

type Answer<T> =
  | { readonly kind: 'decoded'; readonly decoded: Decoded<T> }
  | { readonly kind: 'refused'; readonly code: ErrorCode }

function ask<T>(decode: Decoder<T>, bytes: Bytes, seen: number): Answer<T> {
  try {
    return { kind: 'decoded', decoded: decode(bytes, seen) }
  } catch (thrown) {
    return { kind: 'refused', code: peerError(thrown).code }
  }
}

function peerError(thrown: unknown): SluiceError {
  const error = asError(thrown)
  ok(error.blame === 'peer', `blames ${error.blame}, not peer: ${error.code} ${error.message}`)
  return error
}

/**
 * Checks that `decode` answers alike however `bytes` arrive, and throws an `AssertionError` if not.
 * It shows growing prefixes that end at `cuts` (taken modulo the length; without `cuts`: at every
 * byte), each with the right `seen`, and compares with one look at the whole:
 * - before the end of the value the answer is `need`, and never more than it takes to say more;
 * - from there on it is the same value and the same size, whatever follows;
 * - bytes that are refused as a whole are refused with the same code by the first prefix that is
 *   refused at all.
 *
 * For property tests: `fc.property(fc.uint8Array(), fc.array(fc.nat()), (bytes, cuts) => …)`.
 */
export function splitsAlike<T>(decode: Decoder<T>, bytes: Bytes, cuts?: readonly number[]): void {
  const whole = ask(decode, bytes, 0)
  let seen = 0
  let quietUntil = 0
  for (const end of endings(bytes.length, cuts)) {
    const answer = ask(decode, bytes.slice(0, end), seen)
    if (answer.kind === 'decoded' && answer.decoded.kind === 'need') {
      const more = answer.decoded.bytes
      ok(Number.isInteger(more) && more >= 1, `needs ${String(more)} bytes`)
      ok(end < bytes.length || isNeed(whole), 'needs more than the whole that was enough')
      if (whole.kind === 'decoded' && whole.decoded.kind === 'done') {
        ok(end < whole.decoded.size, `needs more at ${String(end)}, after the end of the value`)
      }
      quietUntil = Math.max(quietUntil, end + more)
      seen = end
      continue
    }
    ok(end >= quietUntil, `asked for ${String(quietUntil)} bytes and answered at ${String(end)}`)
    deepStrictEqual(answer, whole)
    return
  }
}

function isNeed<T>(answer: Answer<T>): boolean {
  return answer.kind === 'decoded' && answer.decoded.kind === 'need'
}

function endings(length: number, cuts: readonly number[] | undefined): readonly number[] {
  const ends = new Set<number>()
  if (cuts === undefined) for (let end = 0; end < length; end++) ends.add(end)
  else for (const cut of cuts) ends.add(cut % (length + 1))
  ends.add(length)
  return [...ends].sort((a, b) => a - b)
}

/**
 * Checks that `decode` survives any `bytes`, and throws an `AssertionError` if not: it gives a
 * value and a size within `bytes`, or asks for at least one byte more, or throws a `SluiceError`
 * that blames the peer; and it leaves `bytes` as they were.
 */
export function survivesNoise<T>(decode: Decoder<T>, bytes: Bytes): void {
  const before = bytes.slice()
  const answer = ask(decode, bytes, 0)
  deepStrictEqual(bytes, before, 'changed the bytes it was shown')
  if (answer.kind === 'refused') return
  const { decoded } = answer
  const number = decoded.kind === 'need' ? decoded.bytes : decoded.size
  ok(Number.isInteger(number), `says ${String(number)} bytes`)
  if (decoded.kind === 'need') ok(number >= 1, 'needs no byte more and decides nothing')
  else ok(number >= 0 && number <= bytes.length, `took ${String(number)} bytes`)
}

/**
 * A copy of `bytes` with some replaced: each hit puts `value` at `at` modulo the length. Noise that
 * is nearly valid gets deeper into a decoder than noise alone.
 */
export function damaged(
  bytes: Bytes,
  hits: readonly (readonly [at: number, value: number])[],
): Bytes {
  const copy = bytes.slice()
  for (const [at, value] of hits) if (copy.length > 0) copy[at % copy.length] = value
  return copy
}
