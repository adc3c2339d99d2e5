import assert from 'node:assert/strict'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openThrough, ways } from '../support/clients.ts'
import { Peer } from '../support/peer.ts'
import { withEngine } from '../support/tunnel.ts'
import { checkRecord, checkWhole, cleanly, closeAll, holdLoop, scenario } from './scenario.ts'

const peer = Peer.start()
after(() => peer.stop())

const mib = 1_048_576
const up = 1
const down = 2

for (const way of ways) {
  const variant = way === 'tunnel' ? {} : { variant: `through ${way}` }

  for (const [id, waitMs] of [
    ['R01', 300],
    ['R02', way === 'tunnel' ? 2_000 : 1_100],
  ] as const) {
    scenario(
      id,
      async () => {
        const target = await peer.listen()
        await withEngine({ target }, async tunnel => {
          const client = await openThrough(peer, tunnel, way, target)
          const server = await target.accept()
          await client.say('req')
          await client.end()
          const request = await server.read()
          assert.equal(request.head.toString(), 'req')
          assert.equal(request.end, 'eof', 'the end goes through before there is a reply')
          await sleep(waitMs)
          const replied = await server.say('REPLY:req')
          assert.equal(replied.failed, null)
          await server.close()
          const reply = await client.read()
          assert.equal(reply.head.toString(), 'REPLY:req')
          assert.equal(reply.end, 'eof')
          assert.ok(reply.at >= request.at + waitMs, 'and it was late')
          const record = await tunnel.records.next()
          checkRecord(record, { ...cleanly, up: 3, down: 9 })
          assert.equal(record.source.port, client.port)
          assert.deepEqual(record.target, { host: target.host, port: target.port })
          assert.ok(record.durationMs >= waitMs)
          await client.close()
        })
        await target.stop()
      },
      variant,
    )
  }

  scenario(
    'R03',
    async () => {
      const target = await peer.listen()
      await withEngine({ target }, async tunnel => {
        const client = await openThrough(peer, tunnel, way, target)
        const server = await target.accept()
        await client.say('req')
        await client.end()
        assert.equal(await server.readText(), 'req')
        const [sent, got] = await Promise.all([
          server.send(32 * mib, down).then(async result => {
            await server.close()
            return result
          }),
          client.read({ seed: down }),
        ])
        assert.deepEqual([sent.sent, sent.failed], [32 * mib, null])
        checkWhole(got, 32 * mib)
        checkRecord(await tunnel.records.next(), { ...cleanly, up: 3, down: 32 * mib })
        await client.close()
      })
      await target.stop()
    },
    variant,
  )

  scenario(
    'R04',
    async () => {
      const target = await peer.listen()
      await withEngine({ target }, async tunnel => {
        const client = await openThrough(peer, tunnel, way, target)
        const server = await target.accept()
        await server.say('bye')
        await server.end()
        assert.equal(await client.readText(), 'bye')
        const [sent, got] = await Promise.all([
          client.send(mib, up).then(async result => {
            await client.end()
            return result
          }),
          server.read({ seed: up }),
        ])
        assert.deepEqual([sent.sent, sent.failed], [mib, null])
        checkWhole(got, mib)
        checkRecord(await tunnel.records.next(), { ...cleanly, up: mib, down: 3 })
        await closeAll(client, server)
      })
      await target.stop()
    },
    variant,
  )
}

scenario('R18', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    // Both orders, and with the loop held up so that both ends are seen in one turn.
    for (const [clientMs, serverMs] of [
      [20, 20],
      [15, 30],
      [30, 15],
    ] as const) {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      const started = [
        client.say('c', { afterMs: clientMs, thenEnd: true }),
        server.say('v', { afterMs: serverMs, thenEnd: true }),
      ]
      await new Promise(setImmediate)
      holdLoop(80)
      await Promise.all(started)
      assert.equal(await client.readText(), 'v')
      assert.equal(await server.readText(), 'c')
      const record = await tunnel.records.next()
      checkRecord(record, { ...cleanly, up: 1, down: 1 })
      assert.equal(record.laterFaults, 0)
      await closeAll(client, server)
    }
  })
  await target.stop()
})
