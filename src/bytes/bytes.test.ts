import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { concat, copyOf, done, latin1Bytes, latin1Text, need, utf8Bytes } from './bytes.ts'

describe('bytes', () => {
  it('are joined in order, and a single part is not copied', () => {
    const only = new Uint8Array([1])
    assert.equal(concat([only]), only)
    assert.equal(concat([]).length, 0)
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), parts => {
        assert.deepEqual(
          [...concat(parts)],
          parts.flatMap(part => [...part]),
        )
      }),
    )
  })

  it('have memory of their own once they are copied, also from a Buffer and a view', () => {
    const whole = Buffer.from([1, 2, 3, 4])
    const copy = copyOf(whole.subarray(1, 3))
    whole.fill(9)
    assert.deepEqual(copy, new Uint8Array([2, 3]))
    assert.equal(copy.buffer.byteLength, 2)
    assert.equal(Buffer.isBuffer(copy), false)
  })

  it('are text of one character a byte and back, without a loss', () => {
    const all = Uint8Array.from({ length: 256 }, (_, at) => at)
    assert.deepEqual(latin1Bytes(latin1Text(all)), all)
    assert.equal(latin1Text(all), Buffer.from(all).toString('latin1'))
    assert.deepEqual(latin1Bytes('\u0141'), new Uint8Array([0x41]), 'the low byte stays')
    assert.deepEqual(utf8Bytes('é'), new Uint8Array([0xc3, 0xa9]))
  })
})

describe('what a decoder answers', () => {
  it('is a value with its size, or how much more it needs', () => {
    assert.deepEqual(done('x', 3), { kind: 'done', value: 'x', size: 3 })
    assert.deepEqual(need(2), { kind: 'need', bytes: 2 })
  })
})
