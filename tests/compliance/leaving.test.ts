import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { defaultRelayPolicy, Relay } from '../../src/core/relay.ts'
import type { Link } from '../../src/core/link.ts'
import { clean, Program, Scope } from '../../src/core/scope.ts'
import { FakeClock, memoryPair, patternBytes, Random } from '../../src/testing/index.ts'
import { Reader, Writer } from './links.ts'
import { ToyLayer } from './toy-layer.ts'

const runs = 400

/** Layers on a link, outermost last; each is left once in each direction, from the outside inward. */
class Stack {
  readonly link: Link
  readonly #layers: ToyLayer[] = []
  constructor(below: Link, depth: number) {
    let link = below
    for (let at = 0; at < depth; at++) {
      const layer = new ToyLayer(link)
      this.#layers.push(layer)
      link = layer.link
    }
    this.link = link
  }
  /** The next write leaves the outermost layer that is left to leave. */
  leaveOne(): void {
    this.#layers.pop()?.leave()
  }
}

describe('a layer that is left, each direction by itself', () => {
  it('loses and doubles no byte, whatever was read beyond the mark', async t => {
    let residues = 0
    for (let seed = 1; seed <= runs; seed++) {
      try {
        residues += await run(new Random(seed))
      } catch (thrown) {
        throw new Error(`seed ${String(seed)}`, { cause: thrown })
      }
    }
    t.diagnostic(`${String(runs)} runs, ${String(residues)} bytes written right behind a mark`)
  })
})

/** client =layers= relay - server; gives how many bytes followed a mark at once. */
async function run(random: Random): Promise<number> {
  const program = new Program(new FakeClock())
  const root = Scope.root(program, 'leaving')
  const flow = root.child('flow', 'relay')
  const cut = (available: number): number =>
    random.chance(0.3) ? random.whole(1, available) : available
  const depth = random.whole(1, 3)
  const [clientEnd, nearEnd] = memoryPair(root, 8_192, cut)
  const [farEnd, serverEnd] = memoryPair(root, 8_192, cut)
  const client = new Stack(clientEnd, depth)
  const near = new Stack(nearEnd, depth)
  const relay = new Relay(flow, defaultRelayPolicy, near.link, farEnd)
  const size = { up: random.whole(1, 20_000), down: random.whole(1, 20_000) }
  const residues = { bytes: 0 }
  const isUpFirst = random.chance(0.5)
  const isTogether = random.chance(0.34)
  const upReader = new Reader(serverEnd.source)
  const downReader = new Reader(client.link.source)
  const up = (): Promise<unknown> =>
    Promise.all([sendUp(random, client, size.up, depth, residues), upReader.expect(1, 0, size.up)])
  const down = (): Promise<unknown> =>
    Promise.all([
      sendDown(random, near, serverEnd, size.down, depth),
      downReader.expect(2, 0, size.down),
    ])
  // Up first, down first, or both at once.
  if (isTogether) await Promise.all([up(), down()])
  else for (const way of isUpFirst ? [up, down] : [down, up]) await way()
  assert.equal(await upReader.read(), null)
  assert.equal(await downReader.read(), null)
  const record = await relay.record
  assert.equal(record.reason, 'clean', record.why?.message ?? '')
  assert.deepEqual(record.up, { read: size.up, written: size.up })
  assert.deepEqual(record.down, { read: size.down, written: size.down })
  await root.end(clean)
  assert.deepEqual(program.bugs, [])
  assert.equal(root.isEmpty, true)
  return residues.bytes
}

async function sendUp(
  random: Random,
  client: Stack,
  size: number,
  depth: number,
  residues: { bytes: number },
): Promise<void> {
  const writer = new Writer(client.link.sink)
  let left = depth
  for (let at = 0; at < size; ) {
    const isLeaving = left > 0 && random.chance(0.3)
    if (isLeaving) {
      client.leaveOne()
      left -= 1
    }
    const first = Math.min(random.whole(1, 1_500), size - at)
    await writer.write(patternBytes(1, at, first))
    at += first
    if (!isLeaving) continue
    const behind = Math.min(random.whole(0, 600), size - at)
    if (behind > 0) await writer.write(patternBytes(1, at, behind))
    at += behind
    residues.bytes += behind
  }
  await writer.sink.closeWrite()
}

/** Here the relay itself is the writer that meets the handover. */
async function sendDown(
  random: Random,
  near: Stack,
  server: Link,
  size: number,
  depth: number,
): Promise<void> {
  const writer = new Writer(server.sink)
  let left = depth
  for (let at = 0; at < size; ) {
    if (left > 0 && random.chance(0.3)) {
      near.leaveOne()
      left -= 1
    }
    const part = Math.min(random.whole(1, 1_500), size - at)
    await writer.write(patternBytes(2, at, part))
    at += part
  }
  await writer.sink.closeWrite()
}
