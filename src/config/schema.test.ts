import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as v from 'valibot'
import { parsePort } from '../core/endpoint.ts'
import { diagnosticLine } from './diagnostics.ts'
import { canonicalDomain, canonicalIp, host, listenHost } from './hosts.ts'
import { readJsonc } from './jsonc.ts'
import { Problems } from './problems.ts'
import { type Read, readWith } from './read.ts'
import {
  list,
  must,
  nonEmptyText,
  notYet,
  oneOf,
  port,
  portOrText,
  seconds,
  strictObject,
  tag,
  wholeNumber,
  withoutEffect,
} from './schema.ts'
import { SourceText } from './text.ts'
import { nearest, quoted } from './words.ts'

function readAs<S extends v.GenericSchema>(
  schema: S,
  text: string,
): { read: Read<v.InferOutput<S>>; lines: readonly string[] } {
  const problems = new Problems(new SourceText('c', text))
  const tree = readJsonc(problems)
  assert.ok(tree !== null)
  const read = readWith(schema, tree, [], problems)
  return { read, lines: problems.diagnostics().map(diagnosticLine) }
}

/** What a schema says about the value of the only key. */
function linesFor(schema: v.GenericSchema, value: unknown): readonly string[] {
  return readAs(strictObject({ key: schema }), JSON.stringify({ key: value })).lines
}

function valueFor(schema: v.GenericSchema, value: unknown): unknown {
  const { read, lines } = readAs(strictObject({ key: schema }), JSON.stringify({ key: value }))
  assert.deepEqual(lines, [])
  return read.kind === 'read' ? read.value.key : undefined
}

test('plain valibot schemas speak plain words, never names of types', () => {
  const cases: readonly (readonly [schema: v.GenericSchema, value: unknown, message: string])[] = [
    [v.string(), 1, 'must be text, found 1'],
    [v.number(), '1', 'must be a number, found "1"'],
    [v.boolean(), null, 'must be true or false, found null'],
    [v.array(v.string()), {}, 'must be a list, found an object'],
    [v.object({}), 'x', 'must be an object, found "x"'],
    [v.record(v.string(), v.string()), 1, 'must be an object, found 1'],
    [v.picklist(['a', 'b']), 'c', 'must be one of "a", "b", found "c"'],
    [v.literal('a'), 'c', 'must be "a", found "c"'],
    [v.union([v.string(), v.number()]), true, 'must be text or a number, found true'],
    [v.union([v.string(), v.array(v.string())]), {}, 'must be text or a list, found an object'],
    [v.custom(() => false), 1, 'must be something else, found 1'],
    [v.pipe(v.string(), v.uuid()), 'x', 'must be a UUID, found "x"'],
    [v.pipe(v.string(), v.regex(/^a$/)), 'x', 'must be something else, found "x"'],
    [v.pipe(v.string(), v.nonEmpty()), '', 'must not be empty, found ""'],
    [v.pipe(v.string(), v.maxLength(1)), 'ab', 'must have 1 character or fewer, found "ab"'],
    [v.pipe(v.array(v.number()), v.minLength(2)), [1], 'must have 2 entries or more, found a list'],
    [v.pipe(v.number(), v.integer()), 1.5, 'must be a whole number, found 1.5'],
    [v.pipe(v.number(), v.minValue(2)), 1, 'must be 2 or more, found 1'],
    [
      v.pipe(
        v.string(),
        v.check(() => false, 'nobody likes this'),
      ),
      'x',
      'nobody likes this',
    ],
    [
      v.pipe(
        v.string(),
        v.check(() => false, must('be liked')),
      ),
      'x',
      'must be liked, found "x"',
    ],
  ]
  for (const [schema, value, message] of cases) {
    const named = message.startsWith('must ') ? `"key" ${message}` : message
    assert.deepEqual(linesFor(schema, value), [`c:1:8 ${named}`])
  }
})

test('the strict object of valibot is understood too', () => {
  const { lines } = readAs(v.strictObject({ a: v.string() }), '{"b": 1}')
  assert.deepEqual(lines, ['c:1:1 missing key "a"', 'c:1:2 unknown key "b"'])
})

test('ports are numbers; some may be text, ranges are for later', () => {
  const wrong = 'c:1:8 "key" must be a number from 1 to 65535, found '
  assert.equal(valueFor(port(), 65_535), 65_535)
  assert.deepEqual(linesFor(port(), '1080'), [`${wrong}"1080"`])
  assert.equal(valueFor(portOrText(), 1), 1)
  assert.equal(valueFor(portOrText(), '1080'), 1_080)
  for (const value of [0, -1, 1.5, 65_536, '0', '65536', '', ' 1', '0x50', '1e3', 'a']) {
    assert.deepEqual(linesFor(portOrText(), value), [wrong + JSON.stringify(value)])
  }
  for (const value of ['1000-1010', '1,2', '1, 5-7']) {
    assert.match(
      linesFor(portOrText(), value)[0] ?? '',
      /"key" is a range or list of ports, which is/,
    )
  }
})

test('seconds become milliseconds and fit a timer of 32 bits', () => {
  assert.equal(valueFor(seconds(0), 0), 0)
  assert.equal(valueFor(seconds(0), 2_147_483), 2_147_483_000)
  assert.equal(linesFor(seconds(0), 2_147_484).length, 1)
  assert.equal(linesFor(seconds(0), 1.5).length, 1)
})

test('numbers, tags, texts and lists keep their bounds', () => {
  assert.equal(valueFor(wholeNumber(-1, 1), -1), -1)
  assert.deepEqual(linesFor(wholeNumber(-1, 1), 2), [
    'c:1:8 "key" must be a whole number from -1 to 1, found 2',
  ])
  assert.equal(valueFor(tag(), 'Köln \u{1f1e9}\u{1f1ea}'), 'Köln \u{1f1e9}\u{1f1ea}')
  assert.deepEqual(linesFor(tag(), 'a\nb'), [
    'c:1:8 "key" must be text of at most 256 visible characters, found "a\\nb"',
  ])
  assert.deepEqual(linesFor(nonEmptyText(), ''), ['c:1:8 "key" must not be empty'])
  assert.deepEqual(valueFor(list(v.number(), 2), [1, 2]), [1, 2])
  assert.deepEqual(linesFor(list(v.number(), 2), [1, 2, 3]), [
    'c:1:8 "key" must have 2 entries or fewer, found 3',
  ])
  assert.deepEqual(linesFor(list(v.number()), [1, 'x']), [
    'c:1:11 "key[1]" must be a number, found "x"',
  ])
})

test('a parser that throws an error of the configuration is told, a bug is not hidden', () => {
  const parsed = v.pipe(v.number(), v.transform(parsePort))
  assert.deepEqual(readAs(parsed, ' 70000').lines, ['c:1:2 70000 is not a port (0 to 65535)'])
  const broken = v.pipe(
    v.number(),
    v.transform(() => {
      throw new RangeError('oh')
    }),
  )
  assert.throws(() => readAs(broken, '1'), RangeError)
})

test('null as the whole is found as null', () => {
  assert.deepEqual(readAs(strictObject({}), 'null').lines, [
    'c:1:1 the configuration must be an object, found null',
  ])
})

test('a choice is given as it is declared', () => {
  assert.equal(valueFor(oneOf(['Yes', 'no'], { anyCase: true }), 'YES'), 'Yes')
  assert.deepEqual(linesFor(oneOf(['yes']), 'Yes'), [
    'c:1:8 "key" must be "yes", found "Yes", did you mean "yes"?',
  ])
})

test('null stands for an absent key, but not for one that is needed', () => {
  const schema = strictObject({
    a: v.optional(v.string(), 'x'),
    b: notYet(),
    c: v.optional(v.string()),
  })
  const { read, lines } = readAs(schema, '{"a": null, "b": null, "c": null}')
  assert.deepEqual(lines, [])
  assert.deepEqual(read, { kind: 'read', value: { a: 'x' } })
  assert.deepEqual(readAs(strictObject({ a: v.string() }), '{"a": null}').lines, [
    'c:1:7 "a" must be text, found null',
  ])
})

test('what is not built yet is refused by name, at its key', () => {
  const schema = strictObject({ a: notYet('this is for later'), b: v.optional(v.string()) }, ['c'])
  assert.deepEqual(readAs(schema, '{"a": 1, "c": false, "d": 0}').lines, [
    'c:1:2 "a" is not supported by this version of Sluice: this is for later',
    'c:1:10 "c" is not supported by this version of Sluice',
    'c:1:22 unknown key "d"',
  ])
})

test('warnings are told through pipes and lists, and do not refuse', () => {
  const item = v.pipe(
    strictObject({ a: withoutEffect('does nothing') }),
    v.transform(() => 'made'),
  )
  const { read, lines } = readAs(v.pipe(list(item), v.minLength(1)), '[{}, {"a": [1]}]')
  assert.deepEqual(read, { kind: 'read', value: ['made', 'made'] })
  assert.deepEqual(lines, ['c:1:7 warning: does nothing'])
  assert.deepEqual(readAs(strictObject({ a: withoutEffect() }), '{"a": 1}').lines, [
    'c:1:2 warning: "a" has no effect in this version of Sluice',
  ])
})

test('of very many unknown keys the first hundred are told', () => {
  const keys = Array.from({ length: 150 }, (_, i) => `"k${String(i)}": 0`)
  const { lines } = readAs(strictObject({}), `{${keys.join(',\n')}}`)
  assert.equal(lines.length, 101)
  assert.equal(lines.at(-1), 'c:101:1 unknown key "k100", one of 50 more')
})

test('names every object has are unknown keys like others', () => {
  const { lines } = readAs(
    strictObject({}),
    '{"toString": 1, "hasOwnProperty": 2, "valueOf": null}',
  )
  assert.deepEqual(lines, [
    'c:1:2 unknown key "toString"',
    'c:1:17 unknown key "hasOwnProperty"',
    'c:1:38 unknown key "valueOf"',
  ])
})

test('addresses become canonical', () => {
  const ips: readonly (readonly [text: string, canonical: string | null])[] = [
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.01', null],
    ['127.1', null],
    ['0x7f.0.0.1', null],
    ['256.0.0.1', null],
    ['::1', '::1'],
    ['[::1]', '::1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
    ['fe80::1%', null],
    [':::', null],
    ['::1]/x', null],
    ['', null],
  ]
  for (const [text, canonical] of ips) assert.equal(canonicalIp(text), canonical, text)
})

test('domain names become lower-case ASCII', () => {
  const names: readonly (readonly [text: string, canonical: string | null])[] = [
    ['Example.ORG', 'example.org'],
    ['example.org.', 'example.org'],
    ['a_b.example', 'a_b.example'],
    ['münchen.example', 'xn--mnchen-3ya.example'],
    ['localhost', 'localhost'],
    ['1.2.3', null],
    ['a..b', null],
    ['-a.b', null],
    ['a b', null],
    ['a/b', null],
    ['ü/b', null],
    ['a:80', null],
    ['', null],
    ['.', null],
    [`${'a'.repeat(64)}.b`, null],
    [`${'a.'.repeat(127)}b`, null],
  ]
  for (const [text, canonical] of names) assert.equal(canonicalDomain(text), canonical, text)
  assert.equal(valueFor(host(), '[::1]'), '::1')
  assert.deepEqual(linesFor(host(), 7), [
    'c:1:8 "key" must be an IP address or a domain name, found 7',
  ])
})

test('an inbound listens on addresses and on paths', () => {
  assert.equal(valueFor(listenHost(), 'localhost'), '127.0.0.1')
  assert.equal(valueFor(listenHost(), ''), '0.0.0.0')
  assert.equal(valueFor(listenHost(), '@name'), '@name')
  assert.equal(linesFor(listenHost(), '/').length, 1)
  assert.equal(linesFor(listenHost(), '/a\nb').length, 1)
  assert.equal(linesFor(listenHost(), 'example.org').length, 1)
})

test('a suggestion is near and no stranger', () => {
  assert.equal(nearest('setings', ['settings', 'sniffing']), 'settings')
  assert.equal(nearest('SETTINGS', ['settings']), 'settings')
  assert.equal(nearest('ip', ['to']), null)
  assert.equal(nearest('user', ['pass', 'port']), null)
  assert.equal(nearest('x'.repeat(1_000_000), ['settings']), null)
})

test('a quoted text is one short line', () => {
  assert.equal(quoted('a"b\n'), '"a\\"b\\n"')
  assert.equal(quoted('x'.repeat(1_000)), `"${'x'.repeat(60)}…"`)
})
