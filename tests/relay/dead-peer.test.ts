import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { type ChildEngine, withChildEngine } from '../support/child-engine.ts'
import { Namespace, wire } from '../support/namespace.ts'
import { Peer } from '../support/peer.ts'
import { checkRecord, checkReset, checkTook, cleanly, scenario } from './scenario.ts'

const mib = 1_048_576
const up = 1
const down = 2

// Each has a network of its own and mostly waits, so they run side by side.
describe('peers that are gone without a word', { concurrency: true }, () => {
  scenario(
    'R08',
    async () => {
      using namespace = Namespace.create()
      namespace.set('net.ipv4.tcp_fin_timeout', 1)
      await using peer = Peer.start(namespace.through)
      const target = await peer.listen()
      const socket = { keepAliveMs: 1_000, halfCloseProbeMs: 500 }
      await withChildEngine({ target, socket }, namespace.through, async engine => {
        const open = async () => {
          const client = await peer.connect(engine.port())
          return { client, server: await target.accept() }
        }
        const gone = await open()
        const half = await open()
        await half.client.end()
        assert.equal(await half.server.readText(), '')
        const closedAt = await gone.client.close()
        assert.equal(await gone.server.readText(), '', 'the end goes through')
        // The server writes nothing: only the kernel of the client can tell.
        const told = await gone.server.gone()
        assert.equal(told.why, 'error', 'and then it is reset')
        checkTook(told.at - closedAt, 1_000, 10_000, 'the server hears of it')
        const record = await engine.records.next()
        checkRecord(record, {
          reason: 'reset',
          side: 'near',
          call: ['read', 'write'],
          system: ['ECONNRESET', 'EPIPE'],
          up: 0,
          down: 0,
        })
        assert.equal(record.source.port, gone.client.port)
        // Who has only ended its own direction lives on, and still gets its answer.
        assert.equal(await engine.do('flows'), 1)
        await half.server.say('after all')
        await half.server.end()
        assert.equal(await half.client.readText(), 'after all')
        checkRecord(await engine.records.next(), { ...cleanly, up: 0, down: 9 })
      })
    },
    { namespaces: true },
  )

  scenario(
    'R23',
    async () => {
      using namespace = Namespace.create()
      namespace.drop('tcp dport 9')
      await using peer = Peer.start(namespace.through)
      const target = { host: '127.0.0.1', port: 9 }
      const connectTimeoutMs = 8_000
      await withChildEngine({ target, connectTimeoutMs }, namespace.through, async engine => {
        const client = await peer.connect(engine.port())
        await client.say('x')
        const filling = client.fill(up, 100)
        assert.ok((await filling).sent > 0)
        const leg = await legOf(engine, client.port)
        assert.ok(bytesIn(leg) > 0 && bytesIn(leg) <= 2 * 65_536, leg)
        assert.equal((await engine.do('connections', 'SYN-SENT')).length, 1)
        const read = await client.read()
        assert.equal(checkReset(read), 0)
        checkTook(read.at - client.at, connectTimeoutMs - 5, connectTimeoutMs, 'the dial')
        checkRecord(await engine.records.next(), {
          reason: 'connect-timeout',
          side: 'far',
          call: 'connect',
          system: 'ETIMEDOUT',
          up: 0,
          down: 0,
          stage: 'dialing',
        })
        assert.deepEqual(await engine.do('connections', 'SYN-SENT'), [], 'the dial is given up')
        await client.close()
      })
    },
    { namespaces: true },
  )

  for (const said of ['', 'x'])
    scenario(
      'R24',
      async () => {
        using namespace = Namespace.create()
        namespace.drop('tcp dport 9')
        await using peer = Peer.start(namespace.through)
        const target = { host: '127.0.0.1', port: 9 }
        await withChildEngine(
          { target, connectTimeoutMs: 30_000 },
          namespace.through,
          async engine => {
            const client = await peer.connect(engine.port())
            await client.say('x')
            while ((await engine.do('connections', 'SYN-SENT')).length === 0);
            const resetAt = await client.reset()
            const record = await engine.records.next()
            checkRecord(record, {
              reason: 'reset',
              side: 'near',
              call: 'read',
              system: 'ECONNRESET',
              up: 0,
              down: 0,
              stage: 'dialing',
            })
            assert.ok(resetAt > 0 && record.durationMs < 20_000)
            assert.deepEqual(await engine.do('connections', 'SYN-SENT'), [], 'no socket remains')
          },
        )
      },
      { namespaces: true, ...(said === '' ? {} : { variant: 'that has said something' }) },
    )

  scenario(
    'R30',
    async () => {
      using here = Namespace.create()
      using there = Namespace.create()
      const address = wire(here, there)
      await using peer = Peer.start(here.through)
      await using client = Peer.start(there.through)
      const target = await peer.listen()
      // One second of silence, then ten questions a second apart, as libuv sets it.
      const socket = { keepAliveMs: 1_000 }
      const options = { target, socket, listen: address.one }
      await withChildEngine(options, here.through, async engine => {
        const near = await client.connect(engine.port(), { host: address.one })
        const server = await target.accept()
        await near.say('a')
        assert.equal(await server.readText({ bytes: 1 }), 'a')
        const begun = performance.now()
        there.drop('meta iifname wire')
        assert.equal(checkReset(await server.read()), 0)
        checkTook(performance.now() - begun, 5_000, 12_000, 'keepalive')
        checkRecord(await engine.records.next(), {
          reason: 'keepalive',
          side: 'near',
          call: 'read',
          system: 'ETIMEDOUT',
          up: 1,
          down: 0,
        })
        await server.close()
      })
    },
    { namespaces: true },
  )

  for (const by of ['the write-stall timer', 'the kernel'] as const) {
    scenario(
      'R31',
      async () => {
        using here = Namespace.create()
        using there = Namespace.create()
        const address = wire(here, there)
        await using peer = Peer.start(here.through)
        await using client = Peer.start(there.through)
        const target = await peer.listen()
        const isKernel = by === 'the kernel'
        if (isKernel) here.set('net.ipv4.tcp_retries2', 3)
        const stallMs = isKernel ? 60_000 : 1_000
        const policy = { connIdleMs: stallMs, writeStallMs: stallMs }
        const options = { target, policy, socket: { keepAliveMs: 0 }, listen: address.one }
        await withChildEngine(options, here.through, async engine => {
          const near = await client.connect(engine.port(), { host: address.one })
          const server = await target.accept()
          const streaming = server.send(1_024 * mib, down)
          assert.ok((await near.read({ bytes: mib, seed: down })).isRight)
          const begun = performance.now()
          there.drop('meta iifname wire')
          const sent = await streaming
          assert.equal(sent.failed, 'ECONNRESET', 'the server is reset')
          checkTook(performance.now() - begun, isKernel ? 0 : stallMs - 100, 3_000, by)
          const record = await engine.records.next()
          checkRecord(record, {
            ...(isKernel
              ? { reason: 'keepalive', call: ['read', 'write'], system: 'ETIMEDOUT' }
              : { reason: 'write-stall', call: null, system: null }),
            side: 'near',
            up: 0,
          })
          assert.ok(record.down.written >= mib)
          await server.close()
        })
      },
      { variant: `by ${by}`, namespaces: true },
    )
  }
})

/** The line of the ledger for a client's socket. */
async function legOf(engine: ChildEngine, port: number): Promise<string> {
  const lines = await engine.do('ledger')
  return lines.find(line => line.includes(`:${String(port)} open in `)) ?? ''
}

function bytesIn(line: string): number {
  return Number(/ in (\d+) out /.exec(line)?.[1])
}
