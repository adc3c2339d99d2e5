import assert from 'node:assert/strict'
import { after } from 'node:test'
import { openThrough, ways } from '../support/clients.ts'
import { Peer } from '../support/peer.ts'
import { withEngine } from '../support/tunnel.ts'
import { checkRecord, checkWhole, cleanly, closeAll, scenario } from './scenario.ts'

const peer = Peer.start()
after(() => peer.stop())

const mib = 1_048_576
const up = 1
const down = 2

for (const way of ways) {
  scenario(
    'R32',
    async () => {
      const target = await peer.listen()
      await withEngine({ target }, async tunnel => {
        const client = await openThrough(peer, tunnel, way, target)
        const server = await target.accept()
        const [sentUp, sentDown, gotUp, gotDown] = await Promise.all([
          client.send(1_234_567, up).then(async sent => {
            await client.end()
            return sent.sent
          }),
          server.send(7_654_321, down).then(async sent => {
            await server.end()
            return sent.sent
          }),
          server.read({ seed: up }),
          client.read({ seed: down }),
        ])
        assert.deepEqual([sentUp, sentDown], [1_234_567, 7_654_321])
        checkWhole(gotUp, 1_234_567)
        checkWhole(gotDown, 7_654_321)
        // Neither the handshake nor the answer to it counts: only what was relayed.
        checkRecord(await tunnel.records.next(), { ...cleanly, up: 1_234_567, down: 7_654_321 })
        await closeAll(client, server)
      })
      await target.stop()
    },
    way === 'tunnel' ? {} : { variant: `through ${way}` },
  )
}

const broken = {
  reason: 'reset',
  side: 'near',
  call: ['read', 'write'],
  system: ['ECONNRESET', 'EPIPE'],
} as const

scenario('R33', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port(), { receiveBuffer: 16_384 })
    const server = await target.accept()
    const sending = server.send(mib, down)
    assert.ok((await client.read({ seed: down, bytes: 102_400 })).isRight)
    const sent = await sending
    assert.equal(sent.sent, mib)
    await client.reset()
    const record = await tunnel.records.next()
    checkRecord(record, { ...broken, up: 0 })
    const { read, written } = record.down
    assert.ok(read <= mib && written >= 102_400, JSON.stringify(record.down))
    assert.equal((await server.gone()).why, 'error')
    await server.close()
  })
  await target.stop()
})

scenario(
  'R33',
  async () => {
    const target = await peer.listen()
    await withEngine({ target }, async tunnel => {
      const client = await peer.connect(tunnel.port(), { receiveBuffer: 16_384 })
      const server = await target.accept()
      const { sent } = await server.fill(down, 150)
      const ledger = tunnel.ledger().join('\n')
      await client.reset()
      const record = await tunnel.records.next()
      checkRecord(record, { ...broken, up: 0 })
      const { read, written } = record.down
      assert.ok(read > written, 'what was read and could not be written is the difference')
      assert.ok(read - written <= 65_536, 'and that is one chunk')
      assert.ok(read < sent, 'the rest was never read')
      // Counted as it goes, not at the end.
      assert.ok(ledger.includes(`up 0 down ${String(written)}`), ledger)
      await server.close()
    })
    await target.stop()
  },
  { variant: 'everything between them full' },
)
