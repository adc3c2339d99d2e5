import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { diagnosticLine } from './diagnostics.ts'
import { type ConfigTree, readJsonc } from './jsonc.ts'
import { limits } from './limits.ts'
import { Problems } from './problems.ts'
import { SourceText } from './text.ts'

function read(text: string): { tree: ConfigTree | null; lines: readonly string[] } {
  const problems = new Problems(new SourceText('c', text))
  const tree = readJsonc(problems)
  return { tree, lines: problems.diagnostics().map(diagnosticLine) }
}

/** What was read, with ordinary prototypes so that it can be compared. */
function plain(text: string): unknown {
  return structuredClone(read(text).tree?.value)
}

test('comments of three kinds and trailing commas are read over', () => {
  const text = '// a\n{ # b "\n  "x": [1, 2,], /* c\n */ "y": "#no // no", # d\n}'
  assert.deepEqual(plain(text), { x: [1, 2], y: '#no // no' })
})

test('a byte order mark and CR LF change no place', () => {
  const { lines } = read('\ufeff{\r\n  "a": 1,\r\n  "a": 2\r\n}\r\n')
  assert.deepEqual(lines, ['c:3:3 the key "a" stands here again, first on line 2'])
  assert.deepEqual(read('\ufeff[1 2]').lines, ['c:1:4 a comma is missing before 2'])
})

test('tabs and characters beyond 16 bits count as one column', () => {
  assert.deepEqual(read('{\t"\u{1f600}": x}').lines, [
    'c:1:8 x must stand in double quotes if it is text',
  ])
})

test('lone surrogates are text like any other', () => {
  assert.deepEqual(plain('["\\ud800"]'), ['\ud800'])
})

test('keys that could reach a prototype are refused and left out', () => {
  const { tree, lines } = read('{"__proto__": {"a": 1}, "b": {"constructor": 1, "prototype": 2}}')
  assert.deepEqual(lines, [
    'c:1:2 unknown key "__proto__"',
    'c:1:31 unknown key "constructor"',
    'c:1:49 unknown key "prototype"',
  ])
  assert.deepEqual(Object.keys(tree?.value ?? {}), ['b'])
  assert.equal(Object.getPrototypeOf(tree?.value), null)
  assert.equal(Object.getPrototypeOf(tree?.at(['b'])), null)
  assert.equal('a' in {}, false)
})

test('of a key that stands twice the first value is kept and found', () => {
  const { tree } = read('{"a": 1, "a": 2}')
  assert.equal(tree?.at(['a']), 1)
  assert.equal(tree?.find(['a']).value.offset, 6)
  const many = Array.from({ length: 40 }, (_, i) => `"k${String(i % 39)}": ${String(i)}`)
  const large = read(`{${many.join(',')}}`).tree
  assert.equal(large?.at(['k0']), 0)
  assert.equal(large?.find(['k0']).value.offset, 7)
})

test('places: keys, values, brackets, and what is not written', () => {
  const { tree } = read('{"a": [{"b": "text"}]}')
  assert.deepEqual(tree?.find(['a', 0, 'b']), {
    value: { offset: 13, end: 19 },
    key: { offset: 8, end: 11 },
    rest: [],
  })
  assert.deepEqual(tree?.find(['a', 0]), { value: { offset: 7, end: 8 }, key: null, rest: [] })
  assert.deepEqual(tree?.find(['a', 0, 'c', 'd']), {
    value: { offset: 7, end: 8 },
    key: null,
    rest: ['c', 'd'],
  })
  assert.deepEqual(tree?.find(['a', 'length']).rest, ['length'])
  assert.equal(tree?.at(['a', 'x', 'y']), undefined)
})

test('an object knows its path, a strange object has none', () => {
  const { tree } = read('{"a": [0, {"b": [[]]}]}')
  for (const path of [[], ['a'], ['a', 1], ['a', 1, 'b'], ['a', 1, 'b', 0]]) {
    const value = tree?.at(path)
    assert.ok(typeof value === 'object' && value !== null)
    assert.deepEqual(tree?.pathOf(value), path)
  }
  assert.equal(tree?.pathOf({}), null)
})

test('64 levels are read, one more is refused at its bracket', () => {
  const deepest = `${'['.repeat(limits.depthMax)}${']'.repeat(limits.depthMax)}`
  assert.deepEqual(read(deepest).lines, [])
  assert.deepEqual(read(`[${deepest}]`).lines, [
    'c:1:65 objects and lists are nested deeper than 64 levels here',
  ])
})

test('a million levels do not reach the stack, whatever the brackets', () => {
  const count = 1_000_000
  const tooDeep = /nested deeper than 64 levels here$/
  for (const piece of ['[', '{"a":', '[{"a":', '{"a":[']) {
    const { tree, lines } = read(piece.repeat(count))
    assert.equal(tree, null)
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', tooDeep)
  }
  assert.deepEqual(read('[}'.repeat(count)).lines, [
    'c:1:2 "}" stands here while the "[" of line 1 is still open',
  ])
})

test('brackets in any disorder do not reach the stack', () => {
  const pieces = fc.array(fc.constantFrom('[', '{', ']', '}', '"a"', ':', ',', '1'), {
    minLength: 1,
    maxLength: 8,
  })
  fc.assert(
    fc.property(pieces, some => {
      read(some.join('').repeat(20_000))
    }),
    { numRuns: 50 },
  )
})

test('a text too large or with too many words is refused', () => {
  assert.deepEqual(read(' '.repeat(limits.bytesMax + 1)).lines, [
    'c:1:1 the configuration is larger than 16 MiB',
  ])
  assert.deepEqual(read(`[${'0,'.repeat(limits.tokensMax / 2)}]`).lines, [
    'c:1:2000001 the configuration has more than 2000000 words and marks',
  ])
})

test('whatever JSON allows is read as JSON reads it', () => {
  fc.assert(
    fc.property(fc.json({ stringUnit: 'binary' }), text => {
      const { tree, lines } = read(text)
      if (/"(?:__proto__|constructor|prototype)"/.test(text)) return
      assert.deepEqual(lines, [])
      assert.equal(JSON.stringify(tree?.value), JSON.stringify(JSON.parse(text)))
    }),
  )
})

test('any text is either read or refused with a diagnostic', () => {
  const marks = ['{', '}', '[', ']', ',', ':', '\n', ' ', '//', '/*', '*/', '#', '\\', '"', "'"]
  const rest = ['"a"', '1', '1.', '-', 'tru', 'null', '\u00a0', '\u{1f600}', '\ud800', '\0']
  const piece = fc.constantFrom(...marks, ...rest)
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), pieces => {
      const { tree, lines } = read(pieces.join(''))
      assert.equal(tree === null, lines.length > 0 && !lines.every(isAboutKeys))
    }),
    { numRuns: 2_000 },
  )
})

/** These are told beside a tree. */
function isAboutKeys(line: string): boolean {
  return line.includes(' stands here again, ')
}
