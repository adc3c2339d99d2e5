import { deepStrictEqual, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { type Bytes, type Decoded, done, need } from '../bytes/bytes.ts'
import { SluiceError } from '../core/errors.ts'
import { damaged, splitsAlike, survivesNoise } from './codec.ts'

const four = new Uint8Array([1, 2, 3, 4])
const honest = (bytes: Bytes): Decoded<number> =>
  bytes.length < 3 ? need(3 - bytes.length) : done(bytes[2] ?? 0, 3)

test('an honest decoder passes, with every cut and with given ones', () => {
  splitsAlike(honest, four)
  splitsAlike(honest, four, [1, 7])
  splitsAlike(honest, four.subarray(0, 2))
  survivesNoise(honest, four)
  survivesNoise(honest, four.subarray(0, 1))
})

test('a value that depends on the split is found', () => {
  throws(() => {
    splitsAlike(bytes => done(bytes.length, bytes.length), four)
  }, /AssertionError/)
})

test('a decoder that decides before it said it could is found', () => {
  const hasty = (bytes: Bytes): Decoded<number> => (bytes.length < 3 ? need(9) : done(1, 3))
  throws(() => {
    splitsAlike(hasty, four)
  }, /asked for 11 bytes/)
})

test('a search that goes on after what was seen, too late, is found', () => {
  const forgetful = (bytes: Bytes, seen: number): Decoded<number> => {
    const at = bytes.indexOf(2, seen + 1)
    return at < 0 ? need(1) : done(at, at + 1)
  }
  throws(() => {
    splitsAlike(forgetful, four)
  }, /needs more/)
})

test('sizes out of range, an idle need, changed bytes and foreign errors are found', () => {
  const wrong: readonly ((bytes: Bytes) => Decoded<number>)[] = [
    bytes => done(1, bytes.length + 1),
    () => need(0),
    bytes => {
      bytes[0] = 99
      return need(1)
    },
    () => {
      throw new RangeError('read past the end')
    },
    () => {
      throw new SluiceError('core.bug', 'bug', 'no')
    },
  ]
  for (const decode of wrong) {
    throws(() => {
      survivesNoise(decode, four.slice())
    }, /AssertionError/)
  }
})

test('damage replaces bytes in a copy', () => {
  deepStrictEqual(damaged(four, [[5, 9]]), new Uint8Array([1, 9, 3, 4]))
  deepStrictEqual(damaged(new Uint8Array(0), [[5, 9]]), new Uint8Array(0))
  deepStrictEqual(four, new Uint8Array([1, 2, 3, 4]))
})
