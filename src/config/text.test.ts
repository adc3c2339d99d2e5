import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SourceText } from './text.ts'

test('lines and columns count from one', () => {
  const source = new SourceText('a', 'ab\ncd')
  assert.deepEqual(source.positionOf(0), { line: 1, column: 1 })
  assert.deepEqual(source.positionOf(2), { line: 1, column: 3 })
  assert.deepEqual(source.positionOf(3), { line: 2, column: 1 })
  assert.deepEqual(source.positionOf(5), { line: 2, column: 3 })
})

test('offsets outside the text count as its nearest end', () => {
  const source = new SourceText('a', 'ab\n')
  assert.deepEqual(source.positionOf(-5), { line: 1, column: 1 })
  assert.deepEqual(source.positionOf(99), { line: 2, column: 1 })
})

test('a line ends with LF, CR LF or CR', () => {
  const source = new SourceText('a', 'a\r\nbb\rccc\ndddd')
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(line => source.line(line)),
    ['a', 'bb', 'ccc', 'dddd', ''],
  )
  assert.deepEqual(source.positionOf(3), { line: 2, column: 1 })
})

test('columns count characters: a tab is one, and so is an emoji', () => {
  const source = new SourceText('a', '\t\u{1f600}é\ud800x')
  assert.deepEqual(source.positionOf(source.text.indexOf('x')), { line: 1, column: 5 })
})

test('a byte order mark is no part of the text', () => {
  const source = new SourceText('a', '\ufeffx')
  assert.equal(source.text, 'x')
})

test('the order of the questions does not change the answers', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '\t', '\n', '\r', '\u{1f600}', '\ud83d') })
  fc.assert(
    fc.property(text, fc.array(fc.nat(40)), (body, offsets) => {
      const shared = new SourceText('a', body)
      for (const offset of offsets) {
        const alone = new SourceText('a', body).positionOf(offset)
        assert.deepEqual(shared.positionOf(offset), alone)
      }
    }),
  )
})
