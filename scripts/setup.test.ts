import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type FakeTree, fakeTree } from './fake-tree.ts'

const lock = JSON.stringify({
  packages: {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/elsewhere': { version: '1.0.0', optional: true },
  },
})
const installed = JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0' } } })
const addNode = 'mkdir -p node_modules/.bin; cp new-node node_modules/.bin/node'

/** A checkout whose npm is a shell script; it notes what it is asked for in the file `asked`. */
function checkout(npm: Readonly<Record<string, string>>, version = 'v26.10.0'): FakeTree {
  const cases = Object.entries(npm).map(([command, script]) => `${command}) ${script} ;;`)
  const tree = fakeTree({
    'package-lock.json': lock,
    'scripts/setup.cjs': readFileSync(join(import.meta.dirname, 'setup.cjs'), 'utf8'),
    'new-node': `#!/bin/sh\necho ${version}\n`,
    'bin/npm': `#!/bin/sh\necho "$@" >>asked\ncase "$1" in\n${cases.join('\n')}\nesac\n`,
  })
  for (const name of ['new-node', 'bin/npm']) chmodSync(join(tree.path, name), 0o755)
  return tree
}

/** Runs setup and gives what it said, its exit code and the npm commands it gave. */
function setUp(tree: FakeTree): { status: number | null; said: string; asked: string[] } {
  const env = { PATH: `${join(tree.path, 'bin')}:${process.env['PATH'] ?? ''}` }
  const run = spawnSync(process.execPath, ['scripts/setup.cjs'], {
    cwd: tree.path,
    env,
    encoding: 'utf8',
  })
  const file = join(tree.path, 'asked')
  const asked = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  writeFileSync(file, '')
  const commands = asked.map(line => line.split(' ')[0] ?? '').filter(Boolean)
  return { status: run.status, said: run.stdout + run.stderr, asked: commands }
}

const options = { skip: process.platform === 'win32' && 'the fake npm is a shell script' }

test('a fresh checkout is installed once; after that nothing is done or said', options, () => {
  using tree = checkout({ ci: addNode })
  const first = setUp(tree)
  assert.deepEqual([first.status, first.asked], [0, ['ci']], first.said)
  assert.deepEqual(setUp(tree), { status: 0, said: '', asked: [] })
})

test(
  'a changed lock is installed again, unless node_modules already is what it says',
  options,
  () => {
    const note = `echo '${installed}' >node_modules/.package-lock.json`
    using tree = checkout({ ci: `${addNode}; ${note}` })
    setUp(tree)
    writeFileSync(join(tree.path, 'package-lock.json'), `${lock}\n`)
    assert.deepEqual(setUp(tree), { status: 0, said: '', asked: [] })
    writeFileSync(join(tree.path, 'package-lock.json'), lock.replace('1.0.0', '1.0.1'))
    assert.deepEqual(setUp(tree).asked, ['ci'])
  },
)

test(
  'where install scripts are off, the runtime is fetched by rebuilding its package',
  options,
  () => {
    using tree = checkout({ ci: 'mkdir -p node_modules', rebuild: addNode })
    const { status, asked } = setUp(tree)
    assert.deepEqual([status, asked], [0, ['ci', 'rebuild']])
  },
)

test('without the runtime, or with an old one, it stops and says what helps', options, () => {
  using absent = checkout({ ci: 'mkdir -p node_modules' })
  const without = setUp(absent)
  assert.deepEqual([without.status, without.asked], [1, ['ci', 'rebuild']])
  assert.match(without.said, /that Node was not installed\.\n[^]*npm rebuild node/)
  using old = checkout({ ci: addNode }, 'v20.1.0')
  const early = setUp(old)
  assert.equal(early.status, 1)
  assert.match(early.said, /that Node is v20\.1\.0\./)
})

test('a lock that npm ci calls incomplete is installed without being changed', options, () => {
  const refuse = 'echo "npm error code EUSAGE\nnpm error Missing: x@ from lock file" >&2; exit 1'
  using tree = checkout({ ci: refuse, install: addNode })
  const { status, asked, said } = setUp(tree)
  assert.deepEqual([status, asked], [0, ['ci', 'install']])
  assert.doesNotMatch(said, /npm error/)
})

test('any other failure of npm is shown and ends it', options, () => {
  using tree = checkout({ ci: 'echo "npm error code E401" >&2; exit 1' })
  const { status, asked, said } = setUp(tree)
  assert.deepEqual([status, asked], [1, ['ci']])
  assert.match(said, /npm error code E401\nnpm ci failed \(1\)/)
})
