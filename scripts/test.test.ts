import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeTree, runScript } from './fake-tree.ts'

const head = "import { test } from 'node:test'\n"
const pass = `${head}test('passes', t => { t.diagnostic('peer: curl 8.14.1') })`

test('all files run, and the last line and the exit code say how it went', () => {
  using tree = fakeTree({
    'src/a.test.ts': pass,
    'tests/deep/b.test.ts': `${head}test('later', { skip: 'no peer' }, () => {})`,
    'tests/helper.ts': 'throw new Error()',
  })
  const good = runScript(tree, 'test.ts')
  assert.equal(good.status, 0)
  assert.equal(good.lines.at(-1), '1 passed, 0 failed, 1 skipped')
  assert.ok(good.lines.includes('  curl 8.14.1  (1 test)'))
})

test('a failing test, a crash and a process left behind each make the run fail', () => {
  using tree = fakeTree({
    'src/fails.test.ts': `${head}test('fails', () => { throw new Error('boom') })`,
    'src/crashes.test.ts': `${head}test('crashes', () => { process.exit(0) })`,
    'src/leaves.test.ts': `${head}import { spawn } from 'node:child_process'
      test('leaves', () => {
        spawn(process.execPath, ['-e', 'setTimeout(Object, 6e4)'], { detached: true, stdio: 'ignore' }).unref()
      })`,
  })
  const { status, lines } = runScript(tree, 'test.ts')
  assert.equal(status, 1)
  // /proc tells what a test left behind; it exists on Linux only.
  const failed = process.platform === 'linux' ? 3 : 2
  assert.equal(lines.at(-1), `1 passed, ${String(failed)} failed`, lines.join('\n'))
})

test('a test that takes too long fails, and so does a file that never ends', () => {
  using tree = fakeTree({
    'src/slow.test.ts': `${head}test('slow', () => new Promise(go => { setTimeout(go, 6e4).unref() }))
      setTimeout(Object, 1500)`,
  })
  const { status, lines } = runScript(tree, 'test.ts', ['--timeout', '1'])
  assert.equal(status, 1)
  assert.equal(lines.at(-1), '0 passed, 1 failed')
})

test('fragments choose files, --list names them, --repeat runs them again', () => {
  using tree = fakeTree({ 'src/a.test.ts': pass, 'src/b.test.ts': pass, 'tests/a.test.ts': pass })
  assert.deepEqual(runScript(tree, 'test.ts', ['--list', './src/']).lines, [
    'src/a.test.ts',
    'src/b.test.ts',
  ])
  const twice = runScript(tree, 'test.ts', ['--repeat', '2', '--slow', '0', 'b.test'])
  assert.equal(twice.lines.at(-1), '2 passed, 0 failed')
  assert.ok(!twice.lines.includes('slowest:'))
})

test('nothing to run is a failure', () => {
  using tree = fakeTree({ 'src/a.test.ts': pass })
  assert.equal(runScript(tree, 'test.ts', ['misspelt']).status, 1)
  using empty = fakeTree({})
  const { status, lines } = runScript(empty, 'test.ts')
  assert.equal(status, 1)
  assert.equal(lines.at(-1), '0 passed, 0 failed')
})
