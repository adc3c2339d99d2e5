import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { prefixed, ReadAhead } from '../../src/core/head.ts'
import type { Link } from '../../src/core/link.ts'
import { defaultRelayPolicy, Relay } from '../../src/core/relay.ts'
import { Program, Scope } from '../../src/core/scope.ts'
import { FakeClock, memoryPair, settle } from '../../src/testing/index.ts'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

const flows = 200
const chunkBytes = 16_384

function heldBytes(): number {
  assert(typeof collect === 'function')
  collect()
  collect()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

/** Reads `size` bytes and forgets them. */
async function drop(link: Link, size: number): Promise<void> {
  let left = size
  while (left > 0) {
    const bytes = await link.source.read()
    assert(bytes instanceof Uint8Array)
    left -= bytes.length
  }
}

describe('an idle flow', () => {
  it('holds nothing of what it has moved, nor of what was read ahead of it', async () => {
    const program = new Program(new FakeClock())
    const root = Scope.root(program, 'memory')
    const open = async (size: number): Promise<unknown> => {
      const [client, near] = memoryPair(root)
      const [far, server] = memoryPair(root)
      const halves = near.takeApart()
      const ahead = prefixed(new Uint8Array(size), halves.source)
      halves.source = new ReadAhead(ahead, () => undefined)
      const flow = root.child('flow', 'idle')
      const relay = new Relay(flow, defaultRelayPolicy, halves.join(), far)
      await client.sink.write(new Uint8Array(size))
      await drop(server, 2 * size)
      const next = server.source.read()
      await settle()
      return [client, server, relay, next]
    }
    const kept: unknown[] = [await open(chunkBytes)]
    const before = heldBytes()
    for (let count = 0; count < flows; count++) kept.push(await open(1))
    const small = heldBytes() - before
    for (let count = 0; count < flows; count++) kept.push(await open(chunkBytes))
    const large = heldBytes() - before - small
    assert.equal(kept.length, 1 + 2 * flows)
    const each = (large - small) / flows
    assert(each < chunkBytes / 4, `${String(Math.round(each))} bytes stay of each flow`)
  })
})
