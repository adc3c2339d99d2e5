import assert from 'node:assert/strict'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withChildEngine } from '../support/child-engine.ts'
import { Peer, type PeerConn } from '../support/peer.ts'
import { becomes } from '../support/resources.ts'
import { type SocketSpy, spySockets } from '../support/sockets.ts'
import { type Tunnel, withEngine } from '../support/tunnel.ts'
import {
  checkRecord,
  checkReset,
  checkTook,
  checkWhole,
  cleanly,
  closeAll,
  scenario,
} from './scenario.ts'

const peer = Peer.start()
after(() => peer.stop())

const mib = 1_048_576
const up = 1
const down = 2
/** Node's high-water mark, and the largest chunk of one read. */
const highWater = 65_536
const chunk = 65_536

/** Bytes that a relay from `dialled` to `accepted` holds in user space. */
function heldBytes(tunnel: Tunnel, spy: SocketSpy, client: PeerConn): number {
  let read = 0
  let written = 0
  for (const row of tunnel.engine.ledger()) {
    const counts = /^in (\d+) out (\d+)$/.exec(row.note)
    if (row.kind !== 'socket' || counts === null) continue
    if (row.name.endsWith(`:${String(client.port)}`)) written = Number(counts[2])
    else read = Number(counts[1])
  }
  const below = spy.dialled.reduce((sum, socket) => sum + socket.readableLength, 0)
  return read - written + below
}

scenario('R14', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const sending = server.send(8 * mib, down).then(async sent => {
      await server.close()
      return sent
    })
    const read = await client.read({ seed: down, step: 65_536, everyMs: 4, afterMs: 600 })
    checkWhole(read, 8 * mib)
    assert.deepEqual([(await sending).sent, (await sending).failed], [8 * mib, null])
    await client.close()
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: 8 * mib })
  })
  await target.stop()
})

scenario('R15', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const sending = client.send(8 * mib, up).then(async sent => {
      await client.close()
      return sent
    })
    const read = await server.read({ seed: up, step: 65_536, everyMs: 4, afterMs: 600 })
    checkWhole(read, 8 * mib)
    assert.deepEqual([(await sending).sent, (await sending).failed], [8 * mib, null])
    await server.close()
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 8 * mib, down: 0 })
  })
  await target.stop()
})

for (const step of [65_536, 1_000]) {
  scenario(
    'R16',
    async () => {
      const target = await peer.listen()
      await withEngine({ target }, async tunnel => {
        using spy = spySockets()
        const client = await peer.connect(tunnel.port(), { receiveBuffer: 16_384 })
        const server = await target.accept()
        const streaming = server.send(1_024 * mib, down, { step })
        const reading = client.read({ seed: down, bytes: 65_536, step: 6_554, everyMs: 60 })
        let most = 0
        let isOver = false
        void reading.finally(() => {
          isOver = true
        })
        while (!isOver) {
          most = Math.max(most, heldBytes(tunnel, spy, client))
          await sleep(5)
        }
        assert.ok((await reading).isRight)
        assert.ok(most > 0, 'it holds something')
        assert.ok(most <= highWater + chunk, `at most ${String(most)} bytes were held`)
        await client.reset()
        await streaming
        const record = await tunnel.records.next()
        const broken = { call: ['read', 'write'], system: ['ECONNRESET', 'EPIPE'] } as const
        checkRecord(record, { ...broken, reason: 'reset', side: 'near', up: 0 })
        await server.close()
      })
      await target.stop()
    },
    { variant: `writes of ${String(step)} bytes` },
  )
}

scenario(
  'R16',
  async () => {
    const target = await peer.listen()
    const count = 20
    await withChildEngine({ target }, [], async engine => {
      const open = async (): Promise<{ client: PeerConn; server: PeerConn }> => {
        const client = await peer.connect(engine.port(), { receiveBuffer: 16_384 })
        return { client, server: await target.accept() }
      }
      // One before, for what is made only once.
      const flows = [await open()]
      for (const { server } of flows) await server.fill(down, 100)
      const before = await engine.do('memory')
      for (let at = 0; at < count; at++) flows.push(await open())
      await Promise.all(
        flows.slice(1).map(async ({ client, server }) => {
          await server.fill(down, 200)
          const slow = { bytes: 65_536, step: 6_554, everyMs: 50 }
          assert.ok((await client.read({ seed: down, ...slow })).isRight)
          await server.fill(down, 50)
        }),
      )
      const after = await engine.do('memory')
      const kept = (after.kept - before.kept) / count
      assert.ok(kept < 262_144, `${String(Math.round(kept))} bytes are held for each connection`)
      // What the collector has freed and not given back counts here: of all together, not of each.
      const resident = after.resident - before.resident
      assert.ok(resident < count * 2 * mib + 64 * mib, `${String(resident)} bytes more in all`)
      for (const { client, server } of flows) await Promise.all([client.reset(), server.reset()])
      for (const { reason } of await engine.records.take(flows.length))
        assert.equal(reason, 'reset')
    })
    await target.stop()
  },
  { variant: 'bytes of the process' },
)

for (const [variant, connIdleMs, writeStallMs] of [
  [undefined, 700, 700],
  ['a stall limit below the idle one', 5_000, 700],
] as const) {
  scenario(
    'R17',
    async () => {
      const target = await peer.listen()
      await withEngine({ target, policy: { connIdleMs, writeStallMs } }, async tunnel => {
        const client = await peer.connect(tunnel.port())
        const server = await target.accept()
        const filled = await server.fill(down, 200)
        assert.ok(filled.sent > 0)
        assert.equal(filled.failed, null, 'it is blocked, not broken')
        const gone = await server.gone()
        assert.equal(gone.why, 'error')
        const tookMs = gone.at - server.at
        checkTook(tookMs, writeStallMs, writeStallMs + 1_000, 'the timer')
        assert.ok(checkReset(await client.read({ seed: down })) < filled.sent)
        const record = await tunnel.records.next()
        const byTimer = { reason: 'write-stall', call: null, system: null } as const
        checkRecord(record, { ...byTimer, side: 'near', up: 0 })
        assert.equal(record.code, 'relay.write-stall')
        assert.ok(record.down.read > record.down.written)
        await closeAll(client, server)
        assert.ok(variant === undefined || tookMs < connIdleMs, 'by its own limit')
      })
      await target.stop()
    },
    variant === undefined ? {} : { variant },
  )
}

scenario(
  'R17',
  async () => {
    const target = await peer.listen()
    const limitMs = 1_000
    const policy = { writeStallMs: limitMs, connIdleMs: limitMs }
    await withEngine({ target, policy }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      const sending = server.send(32 * mib, down).then(async sent => {
        await server.end()
        return sent.sent
      })
      // Enough at once for the kernel to take more, and pauses in between.
      for (let at = 0; at < 5; at++) {
        const read = await client.read({ seed: down, bytes: 4 * mib, afterMs: 500 })
        assert.deepEqual([read.end, read.isRight], [null, true])
      }
      checkWhole(await client.read({ seed: down }), 12 * mib)
      assert.equal(await sending, 32 * mib)
      await client.close()
      checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: 32 * mib })
      await server.close()
    })
    await target.stop()
  },
  { variant: 'but a reader with pauses is no stall' },
)

scenario('R19', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    using spy = spySockets()
    const client = await peer.connect(tunnel.port(), { receiveBuffer: 16_384 })
    const server = await target.accept()
    const filled = await server.fill(down, 150)
    assert.ok(filled.sent > mib)
    await server.close()
    assert.ok(heldBytes(tunnel, spy, client) > 0, 'the relay holds bytes')
    assert.equal((await client.gone(0)).why, null)
    checkWhole(await client.read({ seed: down, step: 65_536 }), filled.sent)
    await client.close()
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: filled.sent })
  })
  await target.stop()
})

scenario('R38', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const transfer = async (): Promise<number> => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      const begun = performance.now()
      const [, read] = await Promise.all([
        server.send(8 * mib, down).then(() => server.end()),
        client.read({ seed: down }),
      ])
      const tookMs = performance.now() - begun
      checkWhole(read, 8 * mib)
      await client.end()
      await server.read()
      checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: 8 * mib })
      await closeAll(client, server)
      return tookMs
    }
    const usualMs = Math.max(await transfer(), await transfer())
    const stopped = await peer.connect(tunnel.port())
    const blocked = await target.accept()
    const filled = await blocked.fill(down, 100)
    assert.equal(filled.failed, null)
    checkTook(await transfer(), 0, usualMs, 'beside a connection that stands still')
    // And the one that stood still has lost nothing.
    await blocked.end()
    checkWhole(await stopped.read({ seed: down }), filled.sent)
    await stopped.end()
    await blocked.read()
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: filled.sent })
    await closeAll(stopped, blocked)
  })
  await target.stop()
})

scenario('R40', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    using spy = spySockets()
    const client = await peer.connect(tunnel.port(), { receiveBuffer: 16_384 })
    const server = await target.accept()
    const filled = await server.fill(down, 100)
    await server.end()
    const dialled = spy.dialled[0]
    assert.ok(dialled !== undefined)
    assert.ok(await becomes(() => dialled.isPaused()), 'the relay does not read')
    checkWhole(await client.read({ seed: down }), filled.sent)
    await client.say('thanks')
    await client.end()
    assert.equal(await server.readText(), 'thanks')
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 6, down: filled.sent })
    await closeAll(client, server)
  })
  await target.stop()
})
