import assert from 'node:assert/strict'
import { test } from 'node:test'
import { importsOf, placeOf, tokens } from './tokens.ts'

function words(source: string): string[] {
  return tokens(source)
    .filter(token => token.kind === 'word')
    .map(token => token.text)
}

function imports(source: string): string[] {
  return importsOf(tokens(source)).map(
    one => `${one.isTypeOnly ? 'type ' : ''}${one.kind} ${one.specifier}`,
  )
}

test('words inside strings, templates, comments and regular expressions are not words', () => {
  const source = [
    "a('no // no'); b(\"no '\") // no 'no",
    '/* no `no` */ c(`no ${d({ e: `no ${f}` })} no`)',
    'if (/no[\'"/]no/u.test(g)) h = i / j / k',
    "l = m++ / n / o; return /no'/",
  ].join('\n')
  const seen = words(source)
  assert.deepEqual(
    seen.filter(word => !['if', 'test', 'return'].includes(word)),
    'abcdefghijklmno'.split(''),
  )
})

test('a string that never ends spoils its own line only', () => {
  assert.deepEqual(words("a = 'no no\nb"), ['a', 'b'])
})

test('random text is read to its end', () => {
  const parts = [
    '`',
    '${',
    '}',
    '{',
    "'",
    '"',
    '/',
    '/*',
    '*/',
    '//',
    '\n',
    '\\',
    'x',
    '[',
    ' ',
    '😀',
  ]
  let state = 1
  for (let round = 0; round < 2000; round++) {
    let source = ''
    for (let i = 0; i < 12; i++) {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
      source += parts[(state >> 8) % parts.length] ?? ''
    }
    importsOf(tokens(source))
  }
})

test('every form of import is found, and what only looks like one is not', () => {
  const source = `
    import './effect.ts'
    import one, { two as from } from './static.ts'
    import * as all from "./all.ts"
    import type { Three } from './types.ts'
    import type Four from './type-default.ts'
    import type from './named-type.ts'
    import { type Five } from './kept.ts'
    import data from './data.json' with { type: 'json' }
    export { six } from './export.ts'
    export * from './star.ts'
    export * as seven from './star-as.ts'
    export type { Eight } from './export-type.ts'
    export { local }
    export const from = 'no'
    const a = await import('./dynamic.ts')
    const b = import(\`./template.ts\`)
    let c: typeof import('./typeof.ts')
    const d = import(name)
    new Worker(new URL('./worker.ts', import.meta.url))
    const e = createRequire(import.meta.url); const f = require('g')
    // import './comment.ts'
    const h = "import './string.ts'" + \`import './template-text.ts'\`
    i.import('./method.ts')
  `
  assert.deepEqual(imports(source), [
    'static ./effect.ts',
    'static ./static.ts',
    'static ./all.ts',
    'type static ./types.ts',
    'type static ./type-default.ts',
    'static ./named-type.ts',
    'static ./kept.ts',
    'static ./data.json',
    'static ./export.ts',
    'static ./star.ts',
    'static ./star-as.ts',
    'type static ./export-type.ts',
    'dynamic ./dynamic.ts',
    'dynamic ./template.ts',
    'type dynamic ./typeof.ts',
    'computed ',
    'worker ./worker.ts',
    'dynamic g',
  ])
})

test('a place counts lines and columns from one', () => {
  assert.equal(placeOf('ab\ncd', 0), '1:1')
  assert.equal(placeOf('ab\ncd', 4), '2:2')
})
