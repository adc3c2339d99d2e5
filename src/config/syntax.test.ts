import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diagnosticLine } from './diagnostics.ts'
import { readJsonc } from './jsonc.ts'
import { Problems } from './problems.ts'
import { SourceText } from './text.ts'

const at = 'config.json:'

/** What is broken, the text, and every line the reader says about it. */
const broken: readonly (readonly [name: string, text: string, ...lines: readonly string[]])[] = [
  ['an empty file', '', `${at}1:1 the configuration is empty`],
  ['only comments', '// nothing\n', `${at}2:1 the configuration is empty`],
  ['an unclosed object', '{\n  "log": {}\n', `${at}1:1 this "{" is never closed`],
  [
    'an unclosed list',
    '{\n  "inbounds": [\n}',
    `${at}3:1 "}" stands here while the "[" of line 2 is still open`,
  ],
  ['a bracket too many', '{}\n}', `${at}2:1 this "}" closes nothing`],
  [
    'a missing comma',
    '{\n  "log": {}\n  "policy": {}\n}',
    `${at}3:3 a comma is missing before "policy"`,
  ],
  ['a comma too many', '{\n  "log": {},,\n}', `${at}2:13 this comma is one too many`],
  ['a missing colon', '{"log" {}}', `${at}1:8 a ":" is missing before "{"`],
  ['a missing value', '{"log":}', `${at}1:8 a value is missing before "}"`],
  ['a key without quotes', '{\n  log: {}\n}', `${at}2:3 the key log must stand in double quotes`],
  [
    'single quotes',
    "{'log': 'a b'}",
    `${at}1:2 text stands in double quotes, not in single ones`,
    `${at}1:9 text stands in double quotes, not in single ones`,
  ],
  [
    'typographic quotes',
    '{"log": “a”}',
    `${at}1:9 text stands in straight double quotes, not in “`,
  ],
  ['a number as key', '{1: 2}', `${at}1:2 a key in double quotes must stand here, not 1`],
  [
    'Python words',
    '{"a": True, "b": None}',
    `${at}1:7 True is no value of JSON, did you mean true?`,
    `${at}1:18 None is no value of JSON, did you mean null?`,
  ],
  [
    'NaN and Infinity',
    '[NaN, -Infinity]',
    `${at}1:2 NaN is not a number that JSON knows`,
    `${at}1:7 - is not a number that JSON knows`,
  ],
  [
    'a number beyond all bounds',
    '{"outbounds": [1e999], "inbounds": []}',
    `${at}1:16 this number is too large`,
  ],
  ['a number that stops', '[1.]', `${at}1:2 the number 1. is not complete`],
  ['a leading zero', '[01]', `${at}1:3 a number may not begin with 0`],
  [
    'an address without quotes',
    '{"listen": 127.0.0.1}',
    `${at}1:17 127.0.0.1 must stand in double quotes if it is text`,
  ],
  [
    'text without its end',
    '{\n  "log": "abc,\n  "a": 1\n}',
    `${at}2:10 this text is not closed, a double quote is missing at its end`,
  ],
  [
    'a comment without its end',
    '{} /* and',
    `${at}1:4 this comment is never closed, "*/" is missing`,
  ],
  [
    'a Windows path',
    '["C:\\Users"]',
    `${at}1:2 "\\U" is no escape of JSON; a backslash itself is written "\\\\"`,
  ],
  [
    'a bad Unicode escape',
    '["\\u12G4"]',
    `${at}1:2 "\\u12G4" is no escape of JSON; a backslash itself is written "\\\\"`,
  ],
  ['a tab inside text', '["a\tb"]', `${at}1:2 a tab inside text is written "\\t"`],
  [
    'an invisible character',
    '{\u00a0"log": {}}',
    `${at}1:2 the invisible character U+00A0 does not belong here`,
  ],
  [
    'two configurations',
    '{}\n{}',
    `${at}2:1 nothing may follow the end of the configuration, found "{"`,
  ],
  [
    'two mistakes of syntax',
    '{\n  "a": tru,\n  "b" 1\n}',
    `${at}2:8 tru is no value of JSON, did you mean true?`,
    `${at}3:7 a ":" is missing before 1`,
  ],
]

for (const [name, text, ...lines] of broken) {
  test(`${name}: told at its place, in words`, () => {
    const problems = new Problems(new SourceText('config.json', text))
    readJsonc(problems)
    assert.deepEqual(problems.diagnostics().map(diagnosticLine), lines)
  })
}
