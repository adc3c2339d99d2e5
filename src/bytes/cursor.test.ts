import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Builder, Cursor } from './cursor.ts'

type Field =
  | { readonly kind: 'u8' | 'u16' | 'u32'; readonly value: number }
  | { readonly kind: 'put'; readonly value: Uint8Array }

const anyField: fc.Arbitrary<Field> = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.nat({ max: 0xff }) }),
  fc.record({ kind: fc.constant('u16' as const), value: fc.nat({ max: 0xffff }) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.nat({ max: 0xffff_ffff }) }),
  fc.record({ kind: fc.constant('put' as const), value: fc.uint8Array({ maxLength: 200 }) }),
)

describe('a builder and a cursor', () => {
  it('give back each field as it was put, in network order', () => {
    fc.assert(
      fc.property(fc.array(anyField, { maxLength: 40 }), fields => {
        const builder = new Builder()
        for (const field of fields) {
          if (field.kind === 'put') builder.put(field.value)
          else builder[field.kind](field.value)
        }
        const cursor = new Cursor(builder.bytes())
        for (const field of fields) {
          if (field.kind === 'put') {
            assert.deepEqual([...cursor.take(field.value.length)], [...field.value])
          } else assert.equal(cursor[field.kind](), field.value)
        }
        assert.equal(cursor.left, 0)
      }),
    )
    const bytes = new Builder().u16(0x0102).u32(0xfffefdfc).u8(7).bytes()
    assert.deepEqual(bytes, new Uint8Array([1, 2, 0xff, 0xfe, 0xfd, 0xfc, 7]))
  })
})

describe('a builder', () => {
  it('keeps nothing of what it gave and of what it was given', () => {
    const given = new Uint8Array([1, 2])
    const builder = new Builder().put(given)
    given.fill(9)
    const first = builder.bytes()
    first.fill(8)
    assert.deepEqual(builder.u8(3).bytes(), new Uint8Array([1, 2, 3]))
  })
})

describe('a cursor', () => {
  it('says where it is and what is left, and never reads past the end', () => {
    const cursor = new Cursor(new Uint8Array([1, 2, 3, 4, 5]))
    assert.equal(cursor.u16(), 0x0102)
    assert.deepEqual([cursor.at, cursor.left], [2, 3])
    assert.equal(cursor.has(3), true)
    assert.equal(cursor.has(4), false)
    assert.throws(() => cursor.take(4), RangeError)
    assert.throws(() => cursor.u32(), RangeError)
    const rest = new Cursor(new Uint8Array([1]))
    rest.u8()
    assert.throws(() => rest.u8(), RangeError)
    assert.equal(rest.take(0).length, 0)
  })

  it('gives views, not copies', () => {
    const bytes = new Uint8Array([1, 2, 3])
    const view = new Cursor(bytes).take(2)
    bytes[0] = 9
    assert.equal(view[0], 9)
  })

  it('reads the fields of a view at their own place', () => {
    const whole = new Uint8Array([9, 9, 1, 2, 9])
    const cursor = new Cursor(whole.subarray(2, 4))
    assert.equal(cursor.u16(), 0x0102)
    assert.throws(() => cursor.u8(), RangeError)
  })
})
