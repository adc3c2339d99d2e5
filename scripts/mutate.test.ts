import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fakeTree, runScript } from './fake-tree.ts'
import { mutate, parseMutation } from './mutation.ts'

const subject = `export function add(a: number, b: number): number {
  return a + b
}
export const limit = 10
`
const subjectTest = `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { add } from './add.ts'
test('adds', { skip: process.env['SKIP'] === 'yes' }, () => { assert.equal(add(1, 2), 3) })
`

function mutation(oldText: string, newText: string, more = ''): string {
  return `A bug.\n\nfile: src/add.ts\ntests: src/*.test.ts\n${more}--- old\n${oldText}\n--- new\n${newText}\n`
}

test('a mutation file is read with all its fields', () => {
  const text = `Adds\nwrongly.

file: src/add.ts
tests: src/add.test.ts tests/*.test.ts
env: A=1 B=x=y
timeout: 2
hang: true
--- old
  return a
    + b
--- new
  return a
    - b
`
  assert.deepEqual(parseMutation('wrong', text), {
    name: 'wrong',
    what: 'Adds wrongly.',
    file: 'src/add.ts',
    tests: ['src/add.test.ts', 'tests/*.test.ts'],
    env: { A: '1', B: 'x=y' },
    timeoutMs: 2000,
    mayHang: true,
    oldText: '  return a\n    + b',
    newText: '  return a\n    - b',
  })
  assert.equal(parseMutation('gone', mutation('a', '').trimEnd()).newText, '')
})

test('a malformed mutation file is refused with the reason', () => {
  const cases: [text: string, reason: RegExp][] = [
    ['A bug.', /no "--- old"/],
    [mutation('a', 'b').replace('file:', 'fiel:'), /fiel: src\/add\.ts/],
    [mutation('a', 'b').replace(/file: .*\n/, ''), /names no file/],
    [mutation('a', 'b').replace(/tests: .*\n/, ''), /names no tests/],
    [mutation('a', 'b', 'timeout: soon\n'), /timeout/],
    [mutation('a', 'b').replace('A bug.', ''), /names no file|what the bug is/],
  ]
  for (const [text, reason] of cases) assert.throws(() => parseMutation('x', text), reason)
})

test('the old text must stand exactly once', () => {
  const apply = (oldText: string, newText: string): string =>
    mutate(subject, parseMutation('x', mutation(oldText, newText)))
  assert.equal(
    apply('a + b', "'$&'"),
    subject.replace('a + b', () => "'$&'"),
  )
  assert.throws(() => apply('a * b', 'a'), /0 times/)
  assert.throws(() => apply('number', 'string'), /3 times/)
  assert.throws(() => apply('a + b', 'a + b'), /changes nothing/)
})

test('bugs are caught or survive, stale ones are told, and the tree is left as it was', () => {
  using tree = fakeTree({
    'src/add.ts': subject,
    'src/add.test.ts': subjectTest,
    'tests/mutations/caught.mutation': mutation('a + b', 'a - b'),
    'tests/mutations/survives.mutation': mutation('limit = 10', 'limit = 11'),
    'tests/mutations/stale.mutation': mutation('a * b', 'a'),
    'tests/mutations/unloadable.mutation': mutation('export function', 'function'),
    'tests/mutations/other.mutation': 'not even a mutation',
  })
  const { status, lines } = runScript(tree, 'mutate.ts', ['caught', 'survives', 'stale', 'unl'])
  const text = lines.join('\n')
  assert.equal(status, 1)
  assert.match(text, /^caught: caught by adds /m)
  assert.match(text, /^survives: SURVIVED: A bug\. /m)
  assert.match(text, /^stale: STALE: it finds its old text 0 times/m)
  assert.match(text, /^unloadable: STALE: with it src\/add\.ts cannot be loaded/m)
  assert.equal(lines.at(-1), '1 caught, 1 survived, 2 stale')
  assert.equal(readFileSync(join(tree.path, 'src/add.ts'), 'utf8'), subject)
})

test('running out of time is a catch only where the mutation says so', () => {
  const asyncTest = subjectTest.replace('() => {', 'async () => { await add(1, 2);')
  const never = 'return new Promise(() => { setTimeout(Object, 1e4) }) as never'
  const late = mutation('return a + b', never, 'timeout: 0.5\n')
  using tree = fakeTree({
    'src/add.ts': subject,
    'src/add.test.ts': asyncTest,
    'tests/mutations/a.mutation': late,
    'tests/mutations/b.mutation': late.replace('timeout', 'hang: true\ntimeout'),
  })
  const { lines } = runScript(tree, 'mutate.ts')
  assert.match(lines.join('\n'), /^a: SURVIVED: only a timeout noticed it, in adds /m)
  assert.match(lines.join('\n'), /^b: caught by adds /m)
  assert.equal(lines.at(-1), '1 caught, 1 survived')
})

test('one mutation may name many tests', () => {
  using tree = fakeTree({
    'src/add.ts': subject,
    'src/a.test.ts': subjectTest.replace('add(1, 2), 3', '3, 3'),
    'src/b.test.ts': subjectTest,
    'tests/mutations/a.mutation': mutation('a + b', 'a - b'),
  })
  const { status, lines } = runScript(tree, 'mutate.ts')
  assert.equal(status, 0, lines.join('\n'))
  assert.equal(lines.at(-1), '1 caught, 0 survived')
})

test('nothing is judged by tests that fail or are skipped without any bug', () => {
  using tree = fakeTree({
    'src/add.ts': subject,
    'src/add.test.ts': subjectTest,
    'tests/mutations/a.mutation': mutation('a + b', 'a - b', 'env: SKIP=yes\n'),
  })
  const { status, lines } = runScript(tree, 'mutate.ts')
  assert.equal(status, 1)
  assert.match(lines.at(-1) ?? '', /^without any mutation src\/add\.test\.ts must pass/)
})
