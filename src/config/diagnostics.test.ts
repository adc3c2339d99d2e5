import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as v from 'valibot'
import { SluiceError } from '../core/errors.ts'
import type { Registry } from './config.ts'
import {
  configInvalid,
  type Diagnostic,
  diagnosticsJson,
  diagnosticsOf,
  formatDiagnostic,
  formatDiagnostics,
} from './diagnostics.ts'
import { excerptAt } from './excerpt.ts'
import { loadConfigText } from './load.ts'
import { diagnosticsMax, fileDiagnostic, formatPath, Problems } from './problems.ts'
import { list, strictObject } from './schema.ts'
import { SourceText } from './text.ts'

const users = v.optional(list(strictObject({ user: v.string(), pass: v.string() })))
const registry: Registry = {
  inbounds: [{ type: 'echo', options: strictObject({ users }) }],
  outbounds: [{ type: 'direct', options: strictObject({}) }],
}

function diagnosticsFor(text: string): readonly Diagnostic[] {
  try {
    return loadConfigText('config.json', text, registry).warnings
  } catch (thrown) {
    return diagnosticsOf(thrown)
  }
}

/** A configuration that is right, with these fields on line 2 of its only inbound. */
function withInbound(fields: string): string {
  return `{"outbounds": [{"protocol": "direct"}], "inbounds": [{"protocol": "echo",\n${fields}\n}]}`
}

/** A configuration that is right, with these top-level keys on line 2. */
function withTop(keys: string): string {
  return `{"outbounds": [{"protocol": "direct"}], "inbounds": [{"protocol": "echo", "port": 1}],\n${keys}\n}`
}

test('people see the place, the line and a caret under the column', () => {
  const text = withInbound('  "port": 1,\n\t"setings": {}')
  assert.equal(
    formatDiagnostics(diagnosticsFor(text)),
    [
      'config.json:3:2 unknown key "setings", did you mean "settings"?',
      '   "setings": {}',
      '   ^',
    ].join('\n'),
  )
})

test('a hint stands below, a warning says that it is one', () => {
  const [first, second] = diagnosticsFor('{"inbounds": [], "outbounds": [{"protocol": "direct"}]}')
  assert.equal(second, undefined)
  assert.match(
    first === undefined ? '' : formatDiagnostic(first),
    /\n {2}for example \{ "protocol": "echo" \}$/,
  )
  const [warning] = diagnosticsFor(withTop('"stats": {}'))
  assert.match(
    warning === undefined ? '' : formatDiagnostic(warning),
    /^config\.json:2:1 warning: "stats" /,
  )
})

test('programs get everything but the lines of the file', () => {
  const text = withInbound('"port": "x", "settings": {"users": [{"user": 1, "pass": "secret"}]}')
  const json = diagnosticsJson(diagnosticsFor(text))
  assert.doesNotMatch(json, /secret/)
  assert.deepEqual(JSON.parse(json), [
    {
      severity: 'error',
      file: 'config.json',
      line: 2,
      column: 9,
      endColumn: 12,
      path: 'inbounds[0].port',
      message: '"port" must be a number from 1 to 65535, found "x"',
    },
    {
      severity: 'error',
      file: 'config.json',
      line: 2,
      column: 46,
      endColumn: 47,
      path: 'inbounds[0].settings.users[0].user',
      message: '"user" must be text, found 1',
    },
  ])
})

test('an error carries its diagnostics, another error carries none', () => {
  const list: readonly Diagnostic[] = [fileDiagnostic('a.json', 'it is not there')]
  const error = configInvalid(list)
  assert.equal(error.code, 'config.invalid')
  assert.equal(error.blame, 'config')
  assert.deepEqual(error.detail, { errors: 1 })
  assert.equal(diagnosticsOf(error), list)
  assert.equal(String(error.cause), 'a.json it is not there')
  assert.deepEqual(diagnosticsOf(new SluiceError('config.invalid', 'config', 'another')), [])
  assert.deepEqual(diagnosticsOf(null), [])
})

test('a long line is clipped to 100 characters around the column', () => {
  const source = new SourceText('a', `${'x'.repeat(500)}!${'y'.repeat(500)}\n`)
  const { line, caret } = excerptAt(source, 500)
  assert.equal([...line].length, 100)
  assert.equal(line.indexOf('!'), caret.length - 1)
  assert.ok(line.startsWith('…x') && line.endsWith('y…'))
})

test('the ends of a long line are clipped on one side only', () => {
  const source = new SourceText('a', 'x'.repeat(300))
  assert.equal(excerptAt(source, 0).line, `${'x'.repeat(99)}…`)
  const end = excerptAt(source, 299)
  assert.equal(end.line, `…${'x'.repeat(60)}`)
  assert.equal(end.caret.length, 61)
})

test('a line of 100 characters is shown whole wherever the column is', () => {
  const source = new SourceText('a', 'x'.repeat(100))
  for (const offset of [0, 50, 99, 100]) assert.equal(excerptAt(source, offset).line.length, 100)
})

test('the caret stands below wide characters and behind combining ones', () => {
  const wide = new SourceText('a', '端口: "x"')
  assert.equal(excerptAt(wide, wide.text.indexOf('"')).caret, '      ^')
  const marked = new SourceText('a', 'e\u0301: "x"')
  assert.equal(excerptAt(marked, marked.text.indexOf('"')).caret, '   ^')
})

test('nothing in a file drives the terminal it is shown on', () => {
  const text = withTop('"\\u001b[2J\\u202e": 1, "\u009b\u202e\ud800": 2 // \u001b[31m')
  const shown = formatDiagnostics(diagnosticsFor(text))
  assert.match(shown, /unknown key "\\u001b\[2J\\u202e"/)
  assert.match(shown, /unknown key "\\u009b\\u202e\\ud800"/)
  assert.doesNotMatch(shown, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\ud800]/)
  const named = { ...fileDiagnostic('a\n\u001b.json', 'x'), line: 1, column: 1 }
  assert.equal(formatDiagnostic(named), 'a\ufffd\ufffd.json:1:1 x')
})

test('thousands of problems are counted, not listed', () => {
  const problems = new Problems(new SourceText('a', 'x'))
  for (let i = 0; i < diagnosticsMax + 7; i++) problems.error({ offset: 0, end: 1 }, [], 'no')
  const list = problems.diagnostics()
  assert.equal(list.length, diagnosticsMax + 1)
  assert.equal(list.at(-1)?.message, '7 more problems are not shown')
  assert.equal(list.at(-1)?.severity, 'error')
})

test('paths read like code', () => {
  assert.equal(formatPath(['inbounds', 0, 'settings', 'port']), 'inbounds[0].settings.port')
  assert.equal(formatPath(['levels', '0', 'a b', 'x.y']), 'levels.0["a b"]["x.y"]')
  assert.equal(formatPath([]), '')
})

test('a password is never shown, and the caret stays where it belongs', () => {
  const text = '{ "users": [{ "user": "me", "pass": "hunter\\"2", "port": 7 }] }'
  const { line, caret } = excerptAt(new SourceText('x', text), text.indexOf('"port"'))
  assert.equal(line, '{ "users": [{ "user": "me", "pass": "*********", "port": 7 }] }')
  assert.equal(line.indexOf('"port"'), caret.indexOf('^'))
})
