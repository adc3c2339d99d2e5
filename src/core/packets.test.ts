import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { settle, Simulation } from '../testing/index.ts'
import { type Endpoint, parsePort } from './endpoint.ts'
import { SluiceError } from './errors.ts'
import { limits } from './limits.ts'
import {
  AssociationTable,
  type Packet,
  packetBatch,
  type PacketLink,
  PushedPackets,
  relayPackets,
} from './packets.ts'
import { clean, failed, type Held, type Scope } from './scope.ts'

const peer: Endpoint = { host: '192.0.2.7', port: parsePort(4_000) }
const at = (port: number): Endpoint => ({ host: '192.0.2.1', port: parsePort(port) })
const killed = new SluiceError('test.killed', 'stopped', 'killed by the test')
const fault = new SluiceError('test.fault', 'network', 'unreachable', {
  call: 'write',
  system: 'EHOSTUNREACH',
})

function pushed(scope: Scope, send: (packet: Packet) => boolean = () => true): PushedPackets {
  return new PushedPackets(scope.child('packets', 'test'), peer, 'per-packet', send)
}

describe('packets that are pushed in', () => {
  it('are given in order, as many as there are places, with memory of their own', async () => {
    const { root } = new Simulation(1)
    const link = pushed(root)
    const lent = new Uint8Array([0, 9])
    for (let count = 0; count < 10; count++) {
      lent[0] = count
      assert.equal(link.push(lent, at(count)), true)
    }
    lent.fill(0xee)
    const batch = packetBatch(4)
    const seen: string[] = []
    for (let left = 10; left > 0; ) {
      const count = await link.receive(batch)
      assert(count > 0 && count <= 4)
      left -= count
      for (const packet of batch.slice(0, count)) {
        seen.push(
          `${String(packet.bytes[0])}/${String(packet.bytes.length)} ${String(packet.peer.port)}`,
        )
      }
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 10 }, (_, count) => `${String(count)}/2 ${String(count)}`),
    )
  })

  it('wake the one who waits, and a second call meanwhile is refused', async () => {
    const { root } = new Simulation(2)
    const link = pushed(root)
    const first = link.receive(packetBatch(4))
    assert.throws(() => link.receive(packetBatch(4)), { code: 'core.busy' })
    link.push(new Uint8Array(3), at(1))
    link.push(new Uint8Array(3), at(2))
    // What has come belongs to the first call, though it has not been told yet.
    assert.throws(() => link.receive(packetBatch(4)), { code: 'core.busy' })
    assert.equal(await first, 2)
    link.push(new Uint8Array(3), at(3))
    assert.equal(link.receive(packetBatch(4)), 1)
  })

  it('are dropped and counted when too many wait, or when they cannot be sent', () => {
    const { root } = new Simulation(3)
    let isFull = false
    const link = pushed(root, () => !isFull)
    for (let count = 0; count < limits.packetsWaitingMax; count++) {
      assert.equal(link.push(new Uint8Array(1), peer), true)
    }
    assert.equal(link.push(new Uint8Array(1), peer), false)
    assert.equal(link.dropped, 1)
    const batch: Packet[] = [1, 2, 3].map(size => ({ bytes: new Uint8Array(size), peer }))
    assert.equal(link.send(batch, 2), 3, 'only the first two')
    isFull = true
    assert.equal(link.send(batch, 3), 0)
    assert.equal(link.dropped, 4)
    assert.equal(link.send(batch, 9), 0, 'a count beyond the batch is no more than the batch')
  })

  it('end with their scope: 0 after a clean end, else the failure, also for who waits', async () => {
    const { root, program } = new Simulation(4)
    const batch = packetBatch(2)
    for (const ending of [clean, failed(killed)]) {
      const link = pushed(root)
      const waiting = link.receive(batch)
      link.push(new Uint8Array(1), peer)
      await waiting
      const again = link.receive(batch)
      const over = link.scope.end(ending)
      if (ending === clean) {
        assert.equal(await again, 0)
        assert.equal(link.receive(batch), 0)
        assert.throws(() => link.send([{ bytes: new Uint8Array(1), peer }], 1), {
          code: 'scope.ended',
        })
      } else {
        await assert.rejects(async () => again, killed)
        assert.throws(() => link.receive(batch), killed)
        assert.throws(() => link.send([{ bytes: new Uint8Array(1), peer }], 1), killed)
      }
      await over
      assert.equal(link.push(new Uint8Array(1), peer), false)
      assert.equal(link.dropped, 0)
    }
    assert.deepEqual(program.bugs, [])
  })
})

describe('the association table', () => {
  it('ends the association that was silent longest when it is full, and says why', async () => {
    const { root } = new Simulation(5)
    const table = new AssociationTable(3)
    const links = [1, 2, 3, 4, 5].map(() => pushed(root))
    for (const [port, link] of links.slice(0, 3).entries()) table.add(at(port), link)
    table.find(at(0))
    table.find(at(1))
    for (const [more, link] of links.slice(3).entries()) table.add(at(3 + more), link)
    assert.equal(table.size, 3)
    assert.equal(table.evicted, 2)
    assert.deepEqual(
      [0, 1, 2, 3, 4].map(port => table.find(at(port)) === links[port]),
      [false, true, false, true, true],
    )
    const ending = await links[2]?.scope.ended
    assert.equal(ending?.kind === 'failed' && ending.why.code, 'packets.table-full')
    assert.equal(ending?.kind === 'failed' && ending.why.blame, 'refused')
  })

  it('forgets what has ended, and never takes two of one client', async () => {
    const { root } = new Simulation(6)
    const table = new AssociationTable()
    const first = pushed(root)
    table.add(at(1), first)
    assert.throws(
      () => {
        table.add(at(1), pushed(root))
      },
      { code: 'core.bug' },
    )
    await first.scope.end(clean)
    assert.equal(table.size, 0)
    const second = pushed(root)
    table.add(at(1), second)
    assert.equal(table.find(at(1)), second)
    const late = pushed(root)
    await late.scope.end(clean)
    table.add(at(2), late)
    assert.equal(table.find(at(2)), null, 'what was over before is not kept')
    assert.equal(table.size, 1)
  })

  it('keeps its bound while a hundred thousand clients come and go', () => {
    const { root, program } = new Simulation(7)
    const table = new AssociationTable(1_000)
    for (let count = 0; count < 100_000; count++) {
      const client = { host: `10.0.${String(count >>> 8)}.${String(count & 255)}`, port: peer.port }
      table.add(client, pushed(root))
      assert(table.size <= 1_000)
    }
    assert.equal(table.evicted, 99_000)
    assert.equal([...root.rows()].filter(row => row.kind === 'packets').length, 1_000)
    assert.deepEqual(program.bugs, [])
  })
})

/** A packet link that is fed by hand and sends as slowly as the test says. */
class HandPackets implements PacketLink {
  readonly scope: Scope
  readonly local = peer
  readonly addresses = 'per-packet'
  readonly bytesMax = 65_535
  readonly dropped = 0
  receives = 0
  sent: string[] = []
  sending: (() => number | Promise<number>) | null = null
  #reader: PromiseWithResolvers<number> | null = null
  #batch: Packet[] = []
  readonly #lent = new Uint8Array(4)
  constructor(scope: Scope) {
    this.scope = scope.child('packets', 'hand')
    this.scope.onEnd(ending => {
      if (ending.kind === 'failed') this.#reader?.reject(ending.why)
      else this.#reader?.resolve(0)
    })
  }
  receive(batch: Packet[]): Promise<number> {
    this.receives += 1
    this.#lent.fill(0xee)
    this.#batch = batch
    this.#reader = Promise.withResolvers()
    return this.#reader.promise
  }
  give(...firsts: number[]): void {
    for (const [place, first] of firsts.entries()) {
      const packet = this.#batch[place]
      assert(packet !== undefined)
      this.#lent[place] = first
      packet.bytes = this.#lent.subarray(place, place + 1)
      packet.peer = at(first)
    }
    const reader = this.#reader
    this.#reader = null
    reader?.resolve(firsts.length)
  }
  fail(why: SluiceError): void {
    this.#reader?.reject(why)
  }
  send(batch: readonly Packet[], count: number): number | Promise<number> {
    if (this.sending !== null) return this.sending()
    for (const packet of batch.slice(0, count)) {
      this.sent.push(`${String(packet.bytes[0])} ${String(packet.peer.port)}`)
    }
    return count
  }
}

interface Bed {
  readonly sim: Simulation
  readonly flow: Scope
  readonly near: HandPackets
  readonly far: HandPackets
}

function bed(): Bed {
  const sim = new Simulation(1)
  return {
    sim,
    flow: sim.root.child('flow', 'packets'),
    near: new HandPackets(sim.root),
    far: new HandPackets(sim.root),
  }
}

async function assertNothingLeft({ sim, flow, near, far }: Bed): Promise<void> {
  assert.equal(near.scope.isOver, true)
  assert.equal(far.scope.isOver, true)
  await flow.end(clean)
  assert.equal(sim.root.isEmpty, true)
  assert.equal(sim.program.wheel.size, 0)
  assert.deepEqual(sim.program.bugs, [])
}

describe('a relay of packets', () => {
  it('asks for no more while a batch is being sent, for its memory is borrowed', async () => {
    const it = bed()
    const { near, far, flow } = it
    const slow = Promise.withResolvers<number>()
    const record = relayPackets(flow, near, far, 5_000)
    far.sending = () => slow.promise
    await settle()
    near.give(1, 2)
    await settle()
    assert.equal(near.receives, 1)
    far.sending = null
    slow.resolve(2)
    await settle()
    near.give(5)
    await settle()
    assert.deepEqual(far.sent, ['5 5'])
    await far.scope.end(clean)
    const made = await record
    assert.deepEqual([made.reason, made.side], ['clean', 'far'])
    assert.deepEqual(made.up, { read: 3, written: 3 })
    await assertNothingLeft(it)
  })

  it('names the side that failed: the one it received from, or the one it sent to', async () => {
    const cases: [(bed: Bed) => void, string][] = [
      [({ near }) => near.fail(fault), 'near'],
      [({ far }) => far.fail(fault), 'far'],
      [
        ({ near, far }) => {
          far.sending = () => Promise.reject(fault)
          near.give(1)
        },
        'far',
      ],
      [
        ({ near, far }) => {
          near.sending = () => {
            throw fault
          }
          far.give(1)
        },
        'near',
      ],
    ]
    for (const [act, side] of cases) {
      const it = bed()
      const record = relayPackets(it.flow, it.near, it.far, 5_000)
      await settle()
      act(it)
      const made = await record
      assert.deepEqual(
        [made.reason, made.side, made.call, made.system, made.laterFaults],
        ['error', side, 'write', 'EHOSTUNREACH', 0],
      )
      assert.deepEqual([it.near.scope.ending, it.far.scope.ending], [failed(fault), failed(fault)])
      await assertNothingLeft(it)
    }
  })

  it('ends with its scope, with one record, and also when that was over before', async () => {
    for (const isLate of [true, false]) {
      const it = bed()
      if (!isLate) void it.flow.end(failed(killed))
      const record = relayPackets(it.flow, it.near, it.far, 5_000)
      await settle()
      if (isLate) void it.flow.end(failed(killed))
      const made = await record
      assert.deepEqual(
        [made.reason, made.side, made.why, made.laterFaults],
        ['stopped', 'local', killed, 0],
      )
      await assertNothingLeft(it)
    }
  })

  it('is ended by silence, counted from the last datagram in either direction', async () => {
    const it = bed()
    const { sim, near, far, flow } = it
    const startMs = sim.clock.now()
    let endedMs = 0
    const record = relayPackets(flow, near, far, 1_000).then(made => {
      endedMs = sim.clock.now() - startMs
      return made
    })
    sim.after(700, () => {
      near.give(1)
    })
    sim.after(1_690, () => {
      far.give(2)
    })
    await sim.run(10_000)
    const made = await record
    assert.equal(endedMs, 2_690)
    assert.deepEqual(
      [made.reason, made.side, made.code, made.laterFaults],
      ['idle', 'local', 'packets.idle', 0],
    )
    await assertNothingLeft(it)
  })

  it('leaves nothing in a scope that lives on, and counts nothing that comes too late', async () => {
    const it = bed()
    const hooks: Held[] = []
    const onEnd = it.flow.onEnd.bind(it.flow)
    it.flow.onEnd = release => {
      const held = onEnd(release)
      hooks.push(held)
      return held
    }
    const slow = Promise.withResolvers<number>()
    it.far.sending = () => slow.promise
    const record = relayPackets(it.flow, it.near, it.far, 5_000)
    await settle()
    it.near.give(1)
    await settle()
    await it.far.scope.end(failed(fault))
    const made = await record
    const before = structuredClone({ ...made, why: null })
    assert.equal(hooks.length, 1)
    assert.equal(hooks[0]?.holder, null)
    slow.resolve(1)
    it.near.give(2)
    await settle()
    assert.deepEqual({ ...made, why: null }, before)
    await assertNothingLeft(it)
  })
})
