import assert from 'node:assert/strict'
import { after, before, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Peer } from '../support/peer.ts'
import { becomes } from '../support/resources.ts'
import { footprint, withEngine } from '../support/tunnel.ts'
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
after(async () => {
  await becomes(() => footprint() === atFirst, 2_000)
  assert.equal(footprint(), atFirst, 'the process is as it was before')
  await peer.stop()
})

const up = 1
const down = 2
/** Timers end a flow by themselves: no side has failed, and no system call. */
const byTimer = { side: 'local', call: null, system: null } as const

// They mostly wait, so they run side by side; the process is looked at when all are over.
const isAlone = false
let atFirst = ''
before(() => {
  atFirst = footprint()
})

describe('timers', { concurrency: true }, () => {
  scenario('R05', async () => {
    const target = await peer.listen()
    const halfCloseIdleMs = 1_000
    await withEngine({ isAlone, target, policy: { halfCloseIdleMs } }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const endedAt = await client.end()
      const server = await target.accept()
      assert.equal(await server.readText(), '')
      const dripping = server.send(25, down, { step: 1, everyMs: 100 })
      const reading = client.read({ seed: down })
      assert.equal((await dripping).sent, 25)
      await server.close()
      const read = await reading
      checkWhole(read, 25)
      assert.ok(read.at - endedAt > 2 * halfCloseIdleMs, 'far longer than the timer')
      checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: 25 })
      await client.close()
    })
    await target.stop()
  })

  scenario('R06', async () => {
    const target = await peer.listen()
    const halfCloseIdleMs = 400
    await withEngine({ isAlone, target, policy: { halfCloseIdleMs } }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      await client.say('req')
      await server.read({ bytes: 3 })
      // The later one counts: the last byte comes after the end.
      await client.end()
      await server.read()
      const lastAt = (await server.say('late', { afterMs: 200 })).at
      const read = await client.read()
      assert.equal(read.head.toString(), 'late')
      assert.equal(read.end, 'ECONNRESET', 'it was never told an end, so it is reset')
      checkTook(read.at - lastAt, halfCloseIdleMs - 5, halfCloseIdleMs + 1_000, 'the timer')
      const record = await tunnel.records.next()
      checkRecord(record, { ...byTimer, reason: 'half-close-idle', up: 3, down: 4 })
      assert.equal(record.code, 'relay.half-close-idle')
      assert.deepEqual([record.upState, record.downState], ['ended', 'failed'])
      await server.say('nobody is there any more')
      assert.equal((await server.gone()).why, 'error')
      await closeAll(client, server)
    })
    await target.stop()
  })

  scenario('R28', async () => {
    const target = await peer.listen()
    const connIdleMs = 400
    await withEngine({ isAlone, target, policy: { connIdleMs } }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      const [near, far] = await Promise.all([client.read(), server.read()])
      for (const read of [near, far]) {
        assert.equal(checkReset(read), 0)
        checkTook(read.at - server.at, connIdleMs - 20, connIdleMs + 500, 'the timer')
      }
      const record = await tunnel.records.next()
      checkRecord(record, { ...byTimer, reason: 'idle', up: 0, down: 0 })
      assert.ok(record.durationMs >= connIdleMs)
      assert.equal(record.code, 'relay.idle')
      await closeAll(client, server)
    })
    await target.stop()
  })

  for (const by of ['server', 'client'] as const) {
    scenario(
      'R29',
      async () => {
        const target = await peer.listen()
        const connIdleMs = 1_000
        await withEngine({ isAlone, target, policy: { connIdleMs } }, async tunnel => {
          const client = await peer.connect(tunnel.port())
          const server = await target.accept()
          const [from, to] = by === 'server' ? [server, client] : [client, server]
          const seed = by === 'server' ? down : up
          const sent = await from.send(7, seed, { step: 1, everyMs: 350 })
          assert.equal(sent.failed, null)
          assert.ok(sent.at - server.at > 2 * connIdleMs)
          await from.end()
          checkWhole(await to.read({ seed }), 7)
          await to.close()
          const counts = by === 'server' ? { up: 0, down: 7 } : { up: 7, down: 0 }
          checkRecord(await tunnel.records.next(), { ...cleanly, ...counts })
          await from.close()
        })
        await target.stop()
      },
      { variant: `the ${by} sends` },
    )
  }

  scenario('R48', async () => {
    const target = await peer.listen()
    const halfCloseIdleMs = 200
    await withEngine({ isAlone, target, policy: { halfCloseIdleMs } }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      await client.say('a')
      assert.equal(await server.readText({ bytes: 1 }), 'a')
      await sleep(5 * halfCloseIdleMs)
      assert.deepEqual(tunnel.records.all, [])
      assert.equal(tunnel.engine.flows, 1)
      await server.say('b')
      await server.end()
      assert.equal(await client.readText(), 'b')
      await client.end()
      assert.equal(await server.readText(), '')
      checkRecord(await tunnel.records.next(), { ...cleanly, up: 1, down: 1 })
      await closeAll(client, server)
    })
    await target.stop()
  })
})
