import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after } from 'node:test'
import { withChildEngine } from '../support/child-engine.ts'
import { httpConnect, socks5Connect, socks5Greeting, type Way, ways } from '../support/clients.ts'
import { Peer, type PeerConn } from '../support/peer.ts'
import { becomes } from '../support/resources.ts'
import { spySockets } from '../support/sockets.ts'
import { type Target, withEngine } from '../support/tunnel.ts'
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

/** Asks for `target` and gives what came, up to the end of the connection. */
async function askFor(way: Way, conn: PeerConn, target: Target): Promise<string> {
  if (way === 'socks5') {
    await conn.sayBytes(socks5Greeting)
    await conn.sayBytes(socks5Connect(target))
  } else if (way === 'http') await conn.say(httpConnect(target))
  const read = await conn.read()
  return `${String(read.end)} ${way === 'http' ? firstLine(read.head) : read.head.toString('hex')}`
}

function firstLine(head: Buffer): string {
  return head.toString('latin1').split('\r\n')[0] ?? ''
}

const refusals: Readonly<Record<Way, string>> = {
  tunnel: 'ECONNRESET ',
  // The method, then "connection refused" with no address (RFC 1928 section 6), then the end.
  socks5: 'eof 050005050001000000000000',
  http: 'eof HTTP/1.1 502 Bad Gateway',
}

for (const way of ways) {
  scenario(
    'R22',
    async () => {
      const target = await peer.listen()
      await target.stop()
      await withEngine({ target }, async tunnel => {
        const tag = { tunnel: 'tunnel', socks5: 'socks', http: 'http' }[way]
        const client = await peer.connect(tunnel.port(tag))
        assert.equal(await askFor(way, client, target), refusals[way])
        await client.close()
        const record = await tunnel.records.next()
        checkRecord(record, {
          reason: 'refused',
          side: 'far',
          call: 'connect',
          system: 'ECONNREFUSED',
          up: 0,
          down: 0,
          stage: 'dialing',
        })
        assert.equal(record.code, 'net.refused')
        assert.deepEqual(record.target, { host: target.host, port: target.port })
        assert.notEqual(record.outbound, null)
      })
    },
    way === 'tunnel' ? {} : { variant: `through ${way}` },
  )
}

/** A listener that answers no SYN any more, because nobody accepts and its queue is full. */
async function fullListener(): Promise<Target & { stop(): Promise<void> }> {
  const listener = await peer.listen({ backlog: 0 })
  const first = await peer.connect(listener.port)
  return {
    host: listener.host,
    port: listener.port,
    stop: async () => {
      await first.close()
      await listener.stop()
    },
  }
}

scenario(
  'R23',
  async () => {
    const target = await fullListener()
    const connectTimeoutMs = 500
    await withEngine({ target, connectTimeoutMs }, async tunnel => {
      using spy = spySockets()
      const client = await peer.connect(tunnel.port())
      const filled = await client.fill(up, 100, { step: 1_000 })
      const [near] = spy.accepted
      assert.ok(near !== undefined && near.bytesRead > 0)
      assert.ok(near.bytesRead <= 2 * 65_536, `${String(near.bytesRead)} bytes are kept`)
      assert.ok(filled.sent > near.bytesRead, 'the others wait in the kernel')
      const read = await client.read()
      assert.equal(checkReset(read), 0)
      checkTook(read.at - client.at, connectTimeoutMs - 5, connectTimeoutMs, 'the dial')
      checkRecord(await tunnel.records.next(), {
        reason: 'connect-timeout',
        side: 'far',
        call: 'connect',
        system: 'ETIMEDOUT',
        up: 0,
        down: 0,
        stage: 'dialing',
      })
      await client.close()
    })
    await target.stop()
  },
  { variant: 'at a full listener' },
)

for (const said of ['', 'x']) {
  scenario(
    'R24',
    async () => {
      const target = await fullListener()
      await withEngine({ target, connectTimeoutMs: 5_000 }, async tunnel => {
        const client = await peer.connect(tunnel.port())
        assert.ok(await becomes(() => tunnel.ledger().some(line => line.includes('connecting'))))
        await client.say(said)
        await client.reset({ afterMs: 50 })
        const record = await tunnel.records.next()
        checkRecord(record, {
          reason: 'reset',
          side: 'near',
          call: 'read',
          system: 'ECONNRESET',
          up: 0,
          down: 0,
          stage: 'dialing',
        })
        assert.ok(record.durationMs < 4_000, `not after ${String(record.durationMs)} ms`)
        assert.deepEqual(tunnel.ledger(), tunnel.rest, 'no socket is left of the dial')
      })
      await target.stop()
    },
    { variant: said === '' ? 'at a full listener' : 'at a full listener, having said something' },
  )
}

scenario(
  'R01',
  async () => {
    const target = await peer.listen({ backlog: 0 })
    const first = await peer.connect(target.port)
    await withEngine({ target, connectTimeoutMs: 20_000 }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      await client.say('req', { thenEnd: true })
      assert.ok(await becomes(() => tunnel.ledger().some(line => line.includes('connecting'))))
      // Now there is room for the connection, which the kernel tries again a second later.
      await closeAll(await target.accept(), first)
      const server = await target.accept()
      assert.equal(await server.readText(), 'req')
      await server.say('REPLY:req', { thenEnd: true })
      assert.equal(await client.readText(), 'REPLY:req')
      checkRecord(await tunnel.records.next(), { ...cleanly, up: 3, down: 9 })
      await closeAll(client, server)
    })
    await target.stop()
  },
  { variant: 'asked before the dial is done' },
)

/** Descriptors a process may have in all. */
const descriptorsMax = 128

for (const free of [0, 1, 2]) {
  const what = ['to accept', 'to dial', 'for a second connection'][free] ?? ''
  scenario(
    'R44',
    async t => {
      const limit = `--nofile=${String(descriptorsMax)}:${String(descriptorsMax)}`
      const limited = ['prlimit', limit] as const
      const [program, ...args] = [...limited, 'true']
      if (spawnSync(program, args).status !== 0) {
        assert.notEqual(process.env['CI'], 'true', 'prlimit is needed')
        t.skip('no prlimit here')
        return
      }
      const target = await peer.listen()
      await withChildEngine({ target }, limited, async engine => {
        // With everything that is opened only once already open.
        await pass()
        assert.ok((await engine.do('exhaust', free)) > 0)
        const kept: PeerConn[] = []
        if (free === 2) {
          kept.push(await peer.connect(engine.port()), await target.accept())
        }
        const isAccepted = free === 1
        for (let at = 0; at < 3; at++) {
          const client = await peer.connect(engine.port())
          const read = await client.read()
          assert.equal(read.bytes, 0)
          await client.close()
          if (!isAccepted) {
            assert.notEqual(read.end, null, 'it is not left waiting')
            continue
          }
          assert.equal(read.end, 'ECONNRESET')
          const record = await engine.records.next()
          checkRecord(record, {
            reason: 'refused',
            side: 'far',
            call: 'socket',
            system: 'EMFILE',
            up: 0,
            down: 0,
            stage: 'dialing',
          })
          assert.equal(record.code, 'net.no-descriptors')
        }
        for (const conn of kept) await conn.close()
        if (kept.length > 0)
          checkRecord(await engine.records.next(), { ...cleanly, up: 0, down: 0 })
        await engine.do('relieve')
        await pass()

        async function pass(): Promise<void> {
          const client = await peer.connect(engine.port())
          const server = await target.accept()
          await client.send(mib, up)
          await client.end()
          checkWhole(await server.read({ seed: up }), mib)
          await server.close()
          assert.equal(await client.readText(), '')
          checkRecord(await engine.records.next(), { ...cleanly, up: mib, down: 0 })
          await closeAll(client)
        }
      })
      await target.stop()
    },
    { variant: `no descriptor left ${what}` },
  )
}
