import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Endpoint, parsePort } from '../../src/core/endpoint.ts'
import { limits } from '../../src/core/limits.ts'
import {
  AssociationTable,
  type Packet,
  packetBatch,
  PushedPackets,
  relayPackets,
} from '../../src/core/packets.ts'
import { clean, failed, type Scope } from '../../src/core/scope.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { patternBytes, settle, Simulation } from '../../src/testing/index.ts'

const at = (host: string, port: number): Endpoint => ({ host, port: parsePort(port) })
const client = at('192.0.2.7', 4_000)

interface Side {
  readonly packets: PushedPackets
  readonly sent: { readonly size: number; readonly first: number; readonly peer: Endpoint }[]
}

function side(scope: Scope, name: string): Side {
  const sent: Side['sent'] = []
  const packets = new PushedPackets(scope.child('packets', name), client, 'per-packet', packet => {
    sent.push({ size: packet.bytes.length, first: packet.bytes[0] ?? -1, peer: packet.peer })
    return true
  })
  return { packets, sent }
}

describe('packet links with an address for each packet', () => {
  it('keeps each datagram whole and with its own peer, both ways, while memory is lent', async () => {
    const sim = new Simulation(1)
    const flow = sim.root.child('flow', 'packets')
    const near = side(sim.root, 'near')
    const far = side(sim.root, 'far')
    const record = relayPackets(flow, near.packets, far.packets, 5_000)
    const lent = patternBytes(1, 0, 100)
    for (let count = 0; count < 40; count++) {
      lent[0] = count
      near.packets.push(lent.subarray(0, 1 + count), at(`198.51.100.${String(count)}`, 53))
      far.packets.push(lent.subarray(0, 2 + count), at(`203.0.113.${String(count)}`, 443))
    }
    await settle()
    assert.equal(far.sent.length, 40)
    for (const [count, packet] of far.sent.entries()) {
      const peer = at(`198.51.100.${String(count)}`, 53)
      assert.deepEqual(packet, { size: 1 + count, first: count, peer })
    }
    // Full cone: whoever answers is shown as the one who answers.
    assert.deepEqual(
      near.sent.map(packet => packet.peer.host),
      Array.from({ length: 40 }, (_, count) => `203.0.113.${String(count)}`),
    )
    await near.packets.scope.end(clean)
    const made = await record
    assert.equal(made.reason, 'clean')
    assert.deepEqual(made.up, { read: 820, written: 820 })
    assert.deepEqual(made.down, { read: 860, written: 860 })
    await flow.end(clean)
    assert.equal(sim.root.isEmpty, true)
    assert.deepEqual(sim.program.bugs, [])
  })

  it('ends exactly when nothing has moved for its idle time', async () => {
    const sim = new Simulation(2)
    const flow = sim.root.child('flow', 'packets')
    const near = side(sim.root, 'near')
    const far = side(sim.root, 'far')
    let endedMs = 0
    const startMs = sim.clock.now()
    const record = relayPackets(flow, near.packets, far.packets, 5_000).then(made => {
      endedMs = sim.clock.now()
      return made
    })
    sim.after(3_000, () => {
      far.packets.push(patternBytes(1, 0, 9), client)
    })
    await sim.run(20_000)
    assert.equal((await record).reason, 'idle')
    assert.equal(endedMs - startMs, 8_000)
    await flow.end(clean)
    assert.equal(sim.program.wheel.size, 0)
  })

  it('drops and counts what does not fit, and never queues beyond its bound', async () => {
    const sim = new Simulation(3)
    const { packets } = side(sim.root, 'alone')
    const count = limits.packetsWaitingMax + 10
    for (let pushed = 0; pushed < count; pushed++) packets.push(new Uint8Array(1), client)
    assert.equal(packets.dropped, 10)
    const batch: Packet[] = packetBatch(1_000)
    assert.equal(await packets.receive(batch), limits.packetsWaitingMax)
    await packets.scope.end(failed(new SluiceError('test.end', 'stopped', 'over')))
    assert.equal(packets.push(new Uint8Array(1), client), false)
    await assert.rejects(async () => packets.receive(batch))
  })

  it('keeps one association a client, makes room from the longest silent, forgets the ended', async () => {
    const sim = new Simulation(4)
    const table = new AssociationTable(3)
    const made = [1, 2, 3].map(port => {
      const association = side(sim.root, `client ${String(port)}`).packets
      table.add(at('192.0.2.1', port), association)
      return association
    })
    assert.equal(table.find(at('192.0.2.1', 1)), made[0], 'used: no longer the oldest')
    table.add(at('192.0.2.1', 4), side(sim.root, 'client 4').packets)
    assert.equal(table.size, 3)
    assert.equal(table.evicted, 1)
    assert.equal(made[1]?.scope.isOpen, false, 'the longest silent one has ended')
    assert.equal(table.find(at('192.0.2.1', 2)), null)
    await made[0]?.scope.end(clean)
    assert.equal(table.find(at('192.0.2.1', 1)), null)
    assert.equal(table.size, 2)
    await sim.root.end(clean)
    assert.equal(table.size, 0)
  })
})
