import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check, rooms } from './borders.ts'

/** The messages for a tree of files, each as `file message`. */
function violations(tree: Record<string, string>): string[] {
  return check(new Map(Object.entries(tree))).map(({ file, message }) => `${file} ${message}`)
}

/** Whether a file may import another one, by the borders alone. */
function may(from: string, to: string, how = 'import'): boolean {
  const up = '../'.repeat(from.split('/').length - 1)
  const tree = { [from]: `${how} { x } from '${up}${to}'`, [to]: 'export const x = 1' }
  return violations(tree).length === 0
}

test('arrows go down and never up', () => {
  assert.equal(may('src/core/a.ts', 'src/bytes/b.ts'), true)
  assert.equal(may('src/bytes/b.ts', 'src/core/a.ts'), false)
  assert.equal(may('src/net/a.ts', 'src/core/b.ts'), true)
  assert.equal(may('src/core/a.ts', 'src/net/b.ts'), false)
  assert.equal(may('src/core/a.ts', 'src/net/b.ts', 'import type'), false)
  assert.equal(may('src/core/a.ts', 'src/net/b.ts', 'export'), false)
  assert.equal(may('src/index.ts', 'src/engine/a.ts'), true)
  assert.equal(may('src/engine/a.ts', 'src/index.ts'), false)
})

test('floor 2 has an order of its own', () => {
  assert.equal(may('src/net/a.ts', 'src/tls/b.ts'), true)
  assert.equal(may('src/tls/a.ts', 'src/net/b.ts'), false)
  assert.equal(may('src/tls/a.ts', 'src/native/b.ts'), false)
  assert.equal(may('src/http/a.ts', 'src/net/b.ts'), true)
  assert.equal(may('src/net/a.ts', 'src/http/b.ts'), false)
  assert.equal(may('src/dns/a.ts', 'src/http/b.ts'), true)
  assert.equal(may('src/dns/a.ts', 'src/mux/b.ts'), false)
})

test('rooms of floor 3 do not know each other', () => {
  assert.equal(may('src/protocol/vless/a.ts', 'src/protocol/vless/vision/b.ts'), true)
  assert.equal(may('src/protocol/vless/a.ts', 'src/protocol/socks/b.ts'), false)
  assert.equal(may('src/protocol/vless/a.ts', 'src/protocol/direct.ts'), false)
  assert.equal(may('src/protocol/vless/a.ts', 'src/transport/raw.ts'), false)
  assert.equal(may('src/transport/xhttp/a.ts', 'src/transport/grpc/b.ts'), false)
  assert.equal(may('src/protocol/vless/a.ts', 'src/http/b.ts'), true)
  assert.equal(may('src/routing/a.ts', 'src/protocol/vless/b.ts'), false)
})

test('the engine knows no protocol and only the types of what observes it', () => {
  assert.equal(may('src/engine/a.ts', 'src/routing/b.ts'), true)
  assert.equal(may('src/engine/a.ts', 'src/protocol/vless/b.ts'), false)
  assert.equal(may('src/engine/a.ts', 'src/transport/raw.ts'), false)
  assert.equal(may('src/engine/a.ts', 'src/builtin.ts'), false)
  assert.equal(may('src/engine/a.ts', 'src/observe/b.ts', 'import type'), true)
  const tree = { 'src/engine/a.ts': "import { type x } from '../observe/b.ts'" }
  assert.deepEqual(violations(tree), [
    'src/engine/a.ts src/engine may import only types of src/observe: use "import type"',
  ])
  assert.equal(may('src/builtin.ts', 'src/protocol/vless/b.ts'), true)
})

test('the command line sees the public API and packages, nothing else', () => {
  const source = "import 'commander'; import 'node:fs'; import '../index.ts'; import 'sluice'"
  assert.deepEqual(violations({ 'src/cli/main.ts': source }), [])
  assert.equal(may('src/cli/main.ts', 'src/core/a.ts'), false)
  assert.equal(may('src/cli/main.ts', 'src/control/a.ts'), false)
})

test('a file without a room is told so', () => {
  assert.match(violations({ 'src/new/a.ts': '' })[0] ?? '', /no room for this file/)
})

test('a wire.ts is pure', () => {
  const wire = 'src/protocol/vless/wire.ts'
  for (const pure of ['bytes/a.ts', 'wire/a.ts', 'core/errors.ts', 'core/endpoint.ts']) {
    assert.equal(may(wire, `src/${pure}`), true, pure)
  }
  assert.equal(may(wire, 'src/core/relay.ts'), false)
  assert.equal(may(wire, 'src/protocol/vless/options.ts'), false)
  for (const name of ['node:crypto', 'crypto', 'ipaddr.js']) {
    assert.equal(violations({ [wire]: `import '${name}'` }).length, 1, name)
  }
  assert.deepEqual(violations({ 'src/wire/address.ts': "import 'ipaddr.js'" }), [])
  assert.equal(violations({ 'src/wire/address.ts': "import 'node:net'" }).length, 1)
})

test('sockets, koffi and timers have their places', () => {
  const cases: [source: string, right: string, wrong: string][] = [
    ["import 'node:net'", 'src/net/a.ts', 'src/tls/a.ts'],
    ["import type { Socket } from 'net'", 'src/native/a.ts', 'src/http/a.ts'],
    ["import 'node:dgram'", 'src/net/a.ts', 'src/dns/a.ts'],
    ["await import('koffi')", 'src/native/ffi.ts', 'src/native/syscalls.ts'],
    ["require('koffi/indirect')", 'src/native/ffi.ts', 'src/net/a.ts'],
    ["import 'node:timers/promises'", 'src/core/clock.ts', 'src/net/a.ts'],
    ['setTimeout(go, 1)', 'src/core/clock.ts', 'src/core/scope.ts'],
    ['globalThis.setInterval(go, 1)', 'src/core/clock.ts', 'src/net/a.ts'],
    ['socket.setTimeout(1)', 'src/core/clock.ts', 'src/net/a.ts'],
    ['setImmediate(go)', 'src/testing/simulation.ts', 'src/testing/link.ts'],
    ['process.env', 'src/cli/main.ts', 'src/core/a.ts'],
    ['globalThis.process.exit()', 'src/observe/a.ts', 'src/engine/a.ts'],
    ["console['log']()", 'src/observe/a.ts', 'src/protocol/vless/a.ts'],
    ["import { env } from 'node:process'", 'src/native/a.ts', 'src/transport/raw.ts'],
  ]
  for (const [source, right, wrong] of cases) {
    assert.deepEqual(violations({ [right]: source }), [], source)
    assert.equal(violations({ [wrong]: source }).length, 1, source)
    assert.deepEqual(violations({ [wrong.replace('.ts', '.test.ts')]: source }), [], source)
  }
})

test('names in strings and comments, and names that only look alike, are free', () => {
  const source = `
    // setTimeout(), process.env and console.log
    const text = 'setTimeout ' + \`console.log \${text}\`
    this.process.next(); this.#setTimeout(); const process = 1; mySetTimeout()
  `
  assert.deepEqual(violations({ 'src/core/a.ts': source }), [])
})

test('a comment may promise work only with an issue number', () => {
  const source = '// TODO later\n/* FIXME(#3) */ // TODO (#12): more\nconst text = "TODO"'
  assert.deepEqual(violations({ 'tests/a.ts': source }), [
    'tests/a.ts TODO without the number of an issue, as in TODO (#12)',
  ])
})

test('circles are found through types, exports and tests, each once', () => {
  const tree = {
    'src/core/a.ts': "\nimport type { B } from './b.ts'",
    'src/core/b.ts': "export * from './c.ts'",
    'src/core/c.ts': "const a = await import('./a.ts')",
    'src/core/d.ts': "import './a.ts'",
  }
  const found = check(new Map(Object.entries(tree)))
  assert.deepEqual(found, [
    {
      file: 'src/core/a.ts',
      at: 1,
      message:
        'circle of imports: src/core/a.ts -> src/core/b.ts -> src/core/c.ts -> src/core/a.ts',
    },
  ])
})

test('a file run in a worker is no circle', () => {
  const tree = {
    'src/native/plane.ts': "new Worker(new URL('./plane-worker.ts', import.meta.url))",
    'src/native/plane-worker.ts': "import './plane.ts'",
  }
  assert.deepEqual(violations(tree), [])
  const upward = "new Worker(new URL('../engine/worker.ts', import.meta.url))"
  assert.equal(violations({ 'src/native/plane.ts': upward }).length, 1)
})

test('src imports nothing from outside of src, and nobody imports a test', () => {
  for (const outside of ['tests/a.ts', 'bench/a.ts', 'scripts/a.ts']) {
    assert.equal(may('src/core/a.ts', outside), false)
    assert.equal(may('src/core/a.test.ts', outside), false)
  }
  assert.equal(may('src/core/a.test.ts', 'tests/vectors/a.json'), true)
  assert.equal(may('src/core/a.ts', 'src/core/b.test.ts'), false)
  assert.equal(may('src/core/a.test.ts', 'src/engine/b.ts'), true)
})

test('a computed import is refused, because it cannot be checked', () => {
  assert.equal(violations({ 'src/cli/a.ts': 'import(name)' }).length, 1)
})

test('the table itself points downward: no room sees a higher floor', () => {
  for (const room of rooms) {
    for (const seen of [...room.sees, ...(room.seesTypesOf ?? [])]) {
      const floor = typeof seen === 'number' ? seen : rooms.find(row => row.path === seen)?.floor
      assert.ok(floor !== undefined && floor <= room.floor, `${room.path} sees ${String(seen)}`)
    }
  }
})
