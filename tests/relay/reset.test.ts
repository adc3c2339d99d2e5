import assert from 'node:assert/strict'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Peer } from '../support/peer.ts'
import { watchSockets } from '../support/sockets.ts'
import { withEngine } from '../support/tunnel.ts'
import { checkRecord, checkReset, checkTook, closeAll, holdLoop, scenario } from './scenario.ts'

const peer = Peer.start()
after(() => peer.stop())

const mib = 1_048_576
const up = 1
const down = 2

const resetBy = { reason: 'reset', system: 'ECONNRESET' } as const
/** A write may meet it first, or a read. */
const brokenBy = {
  reason: 'reset',
  call: ['read', 'write'],
  system: ['ECONNRESET', 'EPIPE'],
} as const

scenario('R07', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const writing = server.send(100, down, { step: 1, everyMs: 100 })
    assert.equal((await client.read({ bytes: 2, seed: down })).bytes, 2)
    const closedAt = await client.close()
    const written = await writing
    assert.ok(written.failed === 'ECONNRESET' || written.failed === 'EPIPE', String(written.failed))
    checkTook(written.at - closedAt, 0, 1_000, 'the server sees it broken')
    const record = await tunnel.records.next()
    checkRecord(record, { ...brokenBy, side: 'near', up: 0 })
    assert.ok(record.down.written >= 2)
    await server.close()
  })
  await target.stop()
})

scenario('R09', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const reading = client.read()
    const resetAt = await server.reset({ afterMs: 200 })
    const read = await reading
    assert.equal(checkReset(read), 0)
    checkTook(read.at - resetAt, 0, 500, 'the client sees it')
    const record = await tunnel.records.next()
    checkRecord(record, { ...resetBy, side: 'far', call: 'read', up: 0, down: 0 })
    assert.deepEqual([record.upState, record.downState], ['failed', 'failed'])
    await client.close()
  })
  await target.stop()
})

scenario('R10', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const reading = server.read()
    await client.reset({ afterMs: 200 })
    assert.equal(checkReset(await reading), 0)
    const record = await tunnel.records.next()
    checkRecord(record, { ...resetBy, side: 'near', call: 'read', up: 0, down: 0 })
    await server.close()
  })
  await target.stop()
})

scenario('R11', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const reading = client.read({ seed: down })
    assert.equal((await server.send(mib, down)).sent, mib)
    await server.reset({ afterMs: 300 })
    assert.equal(checkReset(await reading), mib)
    const record = await tunnel.records.next()
    checkRecord(record, { ...resetBy, side: 'far', call: 'read', up: 0, down: mib })
    await client.close()
  })
  await target.stop()
})

scenario(
  'R12',
  async t => {
    if (!(await canAskKernel())) {
      t.skip('no FFI here: the kernel cannot be asked what it still holds')
      return
    }
    const target = await peer.listen()
    const resetGraceMs = 20_000
    await withEngine({ target, policy: { resetGraceMs } }, async tunnel => {
      const client = await peer.connect(tunnel.port(), { receiveBuffer: 32_768 })
      const server = await target.accept()
      assert.equal((await server.send(mib, down)).sent, mib)
      const resetAt = await server.reset({ afterMs: 300 })
      await sleep(600)
      assert.equal((await client.gone(0)).why, null, 'no reset while bytes are owed')
      const read = await client.read({ seed: down })
      assert.equal(checkReset(read), mib)
      assert.ok(read.at - resetAt < resetGraceMs, 'and it does not wait for the grace to end')
      const record = await tunnel.records.next()
      checkRecord(record, { ...resetBy, side: 'far', call: 'read', up: 0, down: mib })
      await client.close()
    })
    await target.stop()
  },
  { variant: 'asking the kernel what it still holds' },
)

scenario(
  'R12',
  async () => {
    const target = await peer.listen()
    const resetGraceMs = 400
    await withEngine({ target, policy: { resetGraceMs } }, async tunnel => {
      const client = await peer.connect(tunnel.port(), { receiveBuffer: 32_768 })
      const server = await target.accept()
      assert.equal((await server.send(mib, down)).sent, mib)
      const resetAt = await server.reset({ afterMs: 100 })
      const gone = await client.gone()
      assert.equal(gone.why, 'error')
      // Where the kernel cannot be asked, the time counts from the last write, which was before.
      const leastMs = (await canAskKernel()) ? resetGraceMs : 0
      checkTook(gone.at - resetAt, leastMs, resetGraceMs + 100, 'the reset')
      assert.ok(checkReset(await client.read({ seed: down })) < mib, 'a cut body looks cut')
      checkRecord(await tunnel.records.next(), { ...resetBy, side: 'far', call: 'read', up: 0 })
      await client.close()
    })
    await target.stop()
  },
  { variant: 'and a client that never reads: reset when the grace ends' },
)

scenario('R13', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    assert.equal((await client.send(300_000, up)).sent, 300_000)
    const reading = client.read()
    await server.close(50)
    assert.equal(checkReset(await reading), 0)
    const record = await tunnel.records.next()
    checkRecord(record, { ...brokenBy, side: 'far', down: 0 })
    await client.close()
  })
  await target.stop()
})

scenario('R26', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    await client.say('req')
    await client.end()
    assert.equal(await server.readText(), 'req')
    await server.reset({ afterMs: 300 })
    assert.equal(checkReset(await client.read()), 0)
    const record = await tunnel.records.next()
    checkRecord(record, { ...resetBy, side: 'far', call: 'read', up: 3, down: 0 })
    assert.deepEqual([record.upState, record.downState], ['ended', 'failed'])
    await client.close()
  })
  await target.stop()
})

scenario('R27', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const streaming = server.send(1_024 * mib, down)
    assert.ok((await client.read({ bytes: mib, seed: down })).isRight)
    const resetAt = await client.reset()
    const sent = await streaming
    assert.equal(sent.failed, 'ECONNRESET', 'a reset, not an end')
    checkTook(sent.at - resetAt, 0, 100, 'the server is reset')
    const record = await tunnel.records.next()
    checkRecord(record, { ...brokenBy, side: 'near', up: 0 })
    assert.ok(record.down.written >= mib)
    await server.close()
  })
  await target.stop()
})

scenario('R43', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const sockets = watchSockets()
    const client = await peer.connect(tunnel.port(), { receiveBuffer: 16_384 })
    const server = await target.accept()
    // The client reads nothing, so everything behind it is full of writes.
    const queued = await server.fill(down, 150, { step: 4_096 })
    assert.ok(queued.sent >= 100 * 4_096, `${String(queued.sent)} bytes are on their way`)
    await client.reset()
    assert.equal((await server.gone()).why, 'error')
    const record = await tunnel.records.next()
    checkRecord(record, { ...brokenBy, side: 'near', up: 0 })
    assert.ok(record.down.read > record.down.written, 'what could not be written was read')
    assert.ok(await sockets.areCollected(2), 'nobody holds a buffer of it any more')
    await server.close()
  })
  await target.stop()
})

for (const isOneTurn of [false, true]) {
  scenario(
    'R45',
    async () => {
      const target = await peer.listen()
      await withEngine({ target }, async tunnel => {
        const client = await peer.connect(tunnel.port())
        const server = await target.accept()
        const reading = client.read({ seed: down })
        const sending = server.send(100_000, down, { afterMs: 10 })
        const ending = sending.then(() => server.reset({ afterEnd: true }))
        if (isOneTurn) {
          await new Promise(setImmediate)
          // The answer to `send` is read only after this, so the reset is a turn of its own.
          holdLoop(50)
        }
        await ending
        const read = await reading
        assert.equal(read.bytes, 100_000)
        assert.ok(read.isRight)
        assert.ok(read.end === 'eof' || read.end === 'ECONNRESET', String(read.end))
        await client.close()
        const record = await tunnel.records.next()
        assert.ok(record.reason === 'clean' || record.reason === 'reset', record.reason)
        assert.deepEqual(record.down, { read: 100_000, written: 100_000 })
        assert.deepEqual(record.up, { read: 0, written: 0 })
        if (read.end === 'ECONNRESET') assert.equal(record.reason, 'reset')
      })
      await target.stop()
    },
    isOneTurn ? { variant: 'seen in few turns' } : {},
  )
}

scenario(
  'R45',
  async () => {
    const target = await peer.listen()
    await withEngine({ target }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      await server.say('all')
      assert.equal(await client.readText({ bytes: 3 }), 'all')
      await server.reset({ afterEnd: true })
      const read = await client.read()
      assert.ok(read.end === 'eof' || read.end === 'ECONNRESET', String(read.end))
      await client.say('into the void')
      assert.equal(
        (await client.gone()).why,
        'error',
        'what cannot be delivered is told by a reset',
      )
      const record = await tunnel.records.next()
      checkRecord(record, { ...brokenBy, side: 'far', down: 3 })
      await closeAll(client)
    })
    await target.stop()
  },
  { variant: 'and a client that still writes' },
)

async function canAskKernel(): Promise<boolean> {
  const { openSelf } = await import('../../src/native/ffi.ts')
  return openSelf() !== null
}
