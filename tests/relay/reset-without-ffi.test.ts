import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { after } from 'node:test'
import { Peer } from '../support/peer.ts'
import { withEngine } from '../support/tunnel.ts'
import { checkRecord, checkReset, checkTook, scenario } from './scenario.ts'

// As where that package is not installed. It is loaded when first needed, so this comes in time.
registerHooks({
  resolve: (specifier, context, next) => {
    if (specifier === 'koffi') throw new Error('not here')
    return next(specifier, context)
  },
})

const peer = Peer.start()
after(() => peer.stop())

const mib = 1_048_576
const down = 2

scenario(
  'R12',
  async () => {
    const { openSelf } = await import('../../src/native/ffi.ts')
    assert.equal(openSelf(), null)
    const target = await peer.listen()
    const resetGraceMs = 2_500
    await withEngine({ target, policy: { resetGraceMs } }, async tunnel => {
      const client = await peer.connect(tunnel.port(), { receiveBuffer: 32_768 })
      const server = await target.accept()
      const sent = await server.send(mib, down)
      assert.equal(sent.sent, mib)
      await server.reset({ afterMs: 300 })
      const read = await client.read({ seed: down, afterMs: 600 })
      assert.equal(checkReset(read), mib)
      checkTook(read.at - sent.at, resetGraceMs, resetGraceMs + 300, 'the quiet time')
      const record = await tunnel.records.next()
      checkRecord(record, {
        reason: 'reset',
        side: 'far',
        call: 'read',
        system: 'ECONNRESET',
        up: 0,
        down: mib,
      })
      await client.close()
    })
    await target.stop()
  },
  { variant: 'without a way to ask the kernel' },
)
