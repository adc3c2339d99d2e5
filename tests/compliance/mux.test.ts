import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import type { Link } from '../../src/core/link.ts'
import { defaultRelayPolicy, Relay } from '../../src/core/relay.ts'
import { clean, Program, Scope } from '../../src/core/scope.ts'
import { FakeClock, memoryPair, patternBytes } from '../../src/testing/index.ts'
import { Reader, Writer } from './links.ts'
import { ToyMux } from './toy-mux.ts'

interface Bed {
  readonly program: Program
  readonly root: Scope
  readonly near: ToyMux
  readonly far: ToyMux
}

function bed(): Bed {
  const program = new Program(new FakeClock())
  const root = Scope.root(program, 'mux')
  const [a, b] = memoryPair(root)
  return { program, root, near: new ToyMux(a), far: new ToyMux(b) }
}

async function finish({ program, root, near, far }: Bed): Promise<void> {
  await near.end()
  await far.end()
  await root.end(clean)
  assert.deepEqual(program.bugs, [])
  assert.equal(root.isEmpty, true)
}

async function send(link: Link, salt: number, size: number): Promise<void> {
  const writer = new Writer(link.sink)
  for (let at = 0; at < size; at += 3_000) {
    await writer.write(patternBytes(salt, at, Math.min(3_000, size - at)))
  }
}

describe('streams of a mux under the relay', () => {
  it('relays a late reply through a link whose end would end both directions', async () => {
    const it = bed()
    const [client, near] = memoryPair(it.root)
    const flow = it.root.child('flow', 'one')
    const relay = new Relay(flow, defaultRelayPolicy, near, it.near.open(7))
    const server = it.far.open(7)
    await send(client, 1, 50)
    await client.sink.closeWrite()
    await new Reader(server.source).expect(1, 0, 50)
    // The client has ended long ago; the relay keeps that end until the reply is over.
    const reader = new Reader(client.source)
    await Promise.all([send(server, 2, 100_000), reader.expect(2, 0, 100_000)])
    await server.sink.closeWrite()
    assert.equal(await reader.read(), null)
    const record = await relay.record
    assert.equal(record.reason, 'clean', record.why?.message ?? '')
    assert.deepEqual(record.down, { read: 100_000, written: 100_000 })
    await flow.end(clean)
    await finish(it)
  })

  it('carries a hundred streams while one of them never reads', async () => {
    const it = bed()
    const stuck = it.near.open(255)
    it.far.open(255)
    const stuckWrite = stuck.sink.write(patternBytes(9, 0, 100_000))
    assert(stuckWrite instanceof Promise)
    const given = assert.rejects(stuckWrite)
    await Promise.all(
      Array.from({ length: 100 }, async (_, id) => {
        const from = it.near.open(id)
        const to = it.far.open(id)
        await Promise.all([send(from, id, 60_000), new Reader(to.source).expect(id, 0, 60_000)])
        await from.sink.closeWrite()
        assert.equal(await new Reader(to.source).read(), null)
      }),
    )
    await stuck.abort(new SluiceError('test.stuck', 'stopped', 'given up'))
    await given
    await finish(it)
    assert.equal(it.near.size, 0)
    assert.equal(it.far.size, 0)
  })

  it('passes a reset as a reset of that stream alone', async () => {
    const it = bed()
    const one = it.near.open(1)
    const two = it.near.open(2)
    const farOne = it.far.open(1)
    const farTwo = it.far.open(2)
    await one.abort(new SluiceError('test.one', 'stopped', 'only this one'))
    await assert.rejects(async () => farOne.source.read())
    await Promise.all([send(two, 5, 40_000), new Reader(farTwo.source).expect(5, 0, 40_000)])
    await finish(it)
  })
})
