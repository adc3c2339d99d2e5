import assert from 'node:assert/strict'
import net from 'node:net'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  defineOutbound,
  type Link,
  type Outbound,
  type Scope,
  SluiceError,
} from '../../src/index.ts'
import { freedomOutbound } from '../../src/protocol/freedom/outbound.ts'
import { openOrigin } from '../support/origin.ts'
import { Peer } from '../support/peer.ts'
import { becomes, connectionsIn, within } from '../support/resources.ts'
import { spySockets } from '../support/sockets.ts'
import { checkHeard, startTunnel, withEngine } from '../support/tunnel.ts'
import {
  checkRecord,
  checkReset,
  checkTook,
  checkWhole,
  cleanly,
  closeAll,
  holdLoop,
  scenario,
} from './scenario.ts'

const peer = Peer.start()
after(() => peer.stop())

const mib = 1_048_576
const down = 2

scenario('R20', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    await client.end()
    const server = await target.accept()
    assert.equal(await server.readText(), '')
    const endedAt = await server.end()
    const read = await client.read()
    assert.deepEqual([read.bytes, read.end], [0, 'eof'])
    checkTook(read.at - endedAt, 0, 100, 'the end goes through')
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: 0 })
    await closeAll(client, server)
    assert.equal(await target.acceptWithin(0), null, 'one connection')
  })
  await target.stop()
})

scenario('R21', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const reading = client.read({ bytes: 6 })
    const server = await target.accept()
    const said = await server.say('banner')
    const read = await reading
    assert.equal(read.head.toString(), 'banner')
    checkTook(read.at - said.at, Number.NEGATIVE_INFINITY, 50, 'the banner')
    await server.end()
    await client.end()
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: 6 })
    await closeAll(client, server)
  })
  await target.stop()
})

/** `freedom`, with the scope of each link that it makes. */
function watchedFreedom(scopes: Scope[]): Outbound {
  return defineOutbound({
    type: 'watched',
    options: freedomOutbound.options,
    create: (options, context) => {
      const handler = freedomOutbound.create(options, context)
      return {
        packets: (request, scope) => handler.packets(request, scope),
        link: async (request, scope): Promise<Link> => {
          const link = await handler.link(request, scope)
          scopes.push(link.scope)
          return link
        },
      }
    },
  })
}

scenario('R25', async () => {
  const target = await peer.listen()
  const scopes: Scope[] = []
  const protocols = { outbounds: [watchedFreedom(scopes)] }
  await withEngine({ target, protocols, outbound: 'watched' }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    assert.ok(await becomes(() => tunnel.ledger().some(line => line.includes('open/open'))))
    const [scope] = scopes
    assert.ok(scope !== undefined)
    let cleanups = 0
    scope.onEnd(() => {
      cleanups += 1
    })
    const why = new SluiceError('test.closed', 'stopped', 'closed by the test')
    const endings: Promise<unknown>[] = []
    const close = (): void => {
      endings.push(scope.end({ kind: 'failed', why }))
    }
    process.nextTick(close)
    queueMicrotask(close)
    await new Promise<void>(resolve => {
      setImmediate(() => {
        close()
        close()
        resolve()
      })
    })
    assert.equal(endings.length, 4)
    for (const ending of endings) assert.equal(ending, endings[0], 'one and the same promise')
    await Promise.all(endings)
    assert.equal(cleanups, 1)
    const record = await tunnel.records.next()
    assert.equal(record.reason, 'stopped')
    assert.equal(record.code, 'test.closed')
    for (const conn of [client, server]) assert.equal(checkReset(await conn.read()), 0)
    await closeAll(client, server)
  })
  await target.stop()
})

scenario(
  'R25',
  async () => {
    const target = await peer.listen()
    const tunnel = await startTunnel({ target })
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    assert.ok(await becomes(() => tunnel.ledger().some(line => line.includes('open/open'))))
    const { engine } = tunnel
    const stoppedAt = performance.now()
    const [first, second, third] = [engine.stop(20_000), engine.stop(0), engine.abort()]
    assert.equal(first, second)
    assert.equal(first, third)
    assert.equal(await first, 0)
    assert.ok(performance.now() - stoppedAt < 10_000, 'an abort waits for nothing')
    assert.equal(tunnel.records.all.length, 1)
    checkRecord(await tunnel.records.next(), {
      reason: 'stopped',
      side: 'local',
      call: null,
      system: null,
      up: 0,
      down: 0,
    })
    checkHeard(tunnel.heard, tunnel.engine.bugs.map(String))
    await closeAll(client, server)
    await target.stop()
  },
  { variant: 'of the whole engine' },
)

scenario('R34', async () => {
  const flows = 1_000
  const atOnce = 40
  await using origin = await openOrigin(socket => {
    serveChurn(socket)
  })
  const spare = await peer.listen()
  await spare.stop()
  const options = { target: origin, tunnels: { nobody: spare } }
  await withEngine({ ...options, policy: { halfCloseIdleMs: 2_000 } }, async tunnel => {
    const ports = { tunnel: tunnel.port(), nobody: tunnel.port('nobody') }
    const queue = Array.from({ length: flows }, (_, at) => kinds[at % kinds.length] ?? 'R01')
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (let kind = queue.pop(); kind !== undefined; kind = queue.pop()) {
          await churn(kind, kind === 'R22' ? ports.nobody : ports.tunnel)
        }
      }),
    )
    const records = await tunnel.records.take(flows)
    const reasons = { clean: 0, refused: 0, reset: 0, other: 0 }
    for (const { reason } of records) {
      reasons[
        reason === 'clean' || reason === 'refused' || reason === 'reset' ? reason : 'other'
      ] += 1
    }
    const share = flows / kinds.length
    assert.deepEqual(reasons, { clean: 2 * share, refused: share, reset: 2 * share, other: 0 })
    assert.equal(tunnel.engine.flows, 0)
    assert.equal(tunnel.engine.flowsEnded, flows)
  })
})

const kinds = ['R01', 'R07', 'R10', 'R20', 'R22'] as const
type Kind = (typeof kinds)[number]

/** The first letter says what it is asked to be; nothing at all, to be R20. */
function serveChurn(socket: net.Socket): void {
  let asked = ''
  socket.on('data', bytes => {
    asked += String(bytes)
    if (asked !== 'chat') return
    const timer = setInterval(() => socket.write('x'), 5)
    socket.on('close', () => {
      clearInterval(timer)
    })
  })
  socket.on('end', () => {
    if (asked !== 'chat') socket.end(asked === '' ? '' : `REPLY:${asked}`)
  })
}

/** One connection of its kind, from the client's side to its end. */
async function churn(kind: Kind, port: number): Promise<void> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const closed = new Promise(resolve => socket.once('close', resolve))
  let got = ''
  let failed: string | null = null
  socket.on('data', bytes => {
    got += String(bytes)
    if (kind === 'R07') socket.destroy()
  })
  socket.on('error', thrown => {
    failed = 'code' in thrown ? String(thrown.code) : thrown.message
  })
  switch (kind) {
    case 'R01':
      socket.end('req')
      break
    case 'R07':
      socket.write('chat')
      break
    case 'R10':
      socket.write('a', () => socket.resetAndDestroy())
      break
    case 'R20':
      socket.end()
      break
    case 'R22':
      break
  }
  await closed
  if (kind === 'R01') assert.equal(got, 'REPLY:req')
  assert.equal(failed, kind === 'R22' ? 'ECONNRESET' : null, kind)
}

scenario('R35', async () => {
  const target = await peer.listen()
  const tunnel = await startTunnel({ target })
  const quick = { client: await peer.connect(tunnel.port()), server: await target.accept() }
  const endless = { client: await peer.connect(tunnel.port()), server: await target.accept() }
  const streaming = endless.server.send(1_024 * mib, down)
  const watching = endless.client.read({ seed: down, step: 65_536, everyMs: 5 })
  const stoppedAt = performance.now()
  const stopping = tunnel.engine.stop(800)
  await assert.rejects(peer.connect(tunnel.port()), /ECONNREFUSED/, 'it accepts nothing any more')
  // What ends within the limit ends well.
  const sending = quick.server.send(8 * mib, down).then(() => quick.server.end())
  checkWhole(await quick.client.read({ seed: down }), 8 * mib)
  await sending
  await quick.client.end()
  assert.equal(await quick.server.readText(), '')
  checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: 8 * mib })
  assert.ok(performance.now() - stoppedAt < 800, 'that was within the limit')
  // What does not is reset.
  assert.equal(await stopping, 0)
  const tookMs = performance.now() - stoppedAt
  checkTook(tookMs, 800, 1_000, 'the stop')
  assert.equal(tunnel.engine.flows, 0)
  assert.equal(tunnel.records.all.length, 2, 'it says so only after the last record')
  checkReset(await watching)
  assert.equal((await streaming).failed, 'ECONNRESET')
  const record = await tunnel.records.next()
  checkRecord(record, { reason: 'stopped', side: 'local', call: null, system: null, up: 0 })
  assert.equal(record.code, 'scope.stopped')
  checkHeard(tunnel.heard, tunnel.engine.bugs.map(String))
  await closeAll(quick.client, quick.server, endless.client, endless.server)
  await target.stop()
})

scenario(
  'R35',
  async () => {
    const target = await peer.listen()
    const tunnel = await startTunnel({ target })
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    const stoppedAt = performance.now()
    const stopping = tunnel.engine.stop(20_000)
    await server.send(mib, down)
    await server.end()
    checkWhole(await client.read({ seed: down }), mib)
    await client.end()
    assert.equal(await stopping, 0)
    assert.ok(performance.now() - stoppedAt < 10_000, 'it does not wait longer than it must')
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 0, down: mib })
    checkHeard(tunnel.heard, tunnel.engine.bugs.map(String))
    await closeAll(client, server)
    await target.stop()
  },
  { variant: 'and everything ends before the limit' },
)

for (const ended of ['server', 'client'] as const) {
  scenario(
    'R35',
    async () => {
      const target = await peer.listen()
      const tunnel = await startTunnel({ target })
      using spy = spySockets()
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      assert.ok(await becomes(() => tunnel.ledger().some(line => line.includes('open/open'))))
      const [socket] = ended === 'server' ? spy.dialled : spy.accepted
      const [from, to] = ended === 'server' ? [server, client] : [client, server]
      assert.ok(socket !== undefined)
      // The end is read and passed on; that it has left is heard later, in the same turn at best.
      const aborted = new Promise<number>((resolve, reject) => {
        const look = (left: number): void => {
          if (tunnel.ledger().some(line => / (ending\/open|open\/ending) /.test(line))) {
            within(tunnel.engine.abort(), 5_000, 'a stop').then(resolve, reject)
          } else if (left === 0) reject(new Error('there was no such moment'))
          else queueMicrotask(() => look(left - 1))
        }
        socket.once('end', () => look(100))
      })
      await from.end()
      assert.equal(await aborted, 0)
      const record = await tunnel.records.next()
      checkRecord(record, { reason: 'stopped', side: 'local', call: null, system: null })
      assert.equal((await from.gone()).why, 'error')
      const told = await to.read()
      // It may have heard of the end before the reset.
      assert.ok(told.end === 'ECONNRESET' || told.end === 'eof', String(told.end))
      await to.say('anybody there?')
      assert.equal((await to.gone()).why === null, false)
      checkHeard(tunnel.heard, tunnel.engine.bugs.map(String))
      await closeAll(client, server)
      await target.stop()
    },
    { variant: `in the very turn in which an end of the ${ended} goes out` },
  )
}

for (const first of ['server', 'client'] as const) {
  scenario(
    'R39',
    async () => {
      const target = await peer.listen()
      await withEngine({ target }, async tunnel => {
        for (let round = 0; round < 5; round++) {
          const client = await peer.connect(tunnel.port())
          const server = await target.accept()
          await server.say('v')
          assert.equal(await client.readText({ bytes: 1 }), 'v')
          // One closes altogether, the other one only then; both are seen in the same turn.
          const [early, late] = first === 'server' ? [server, client] : [client, server]
          const closed = Promise.all([early.close(15), late.close(30)])
          await new Promise(setImmediate)
          holdLoop(60)
          await closed
          const record = await tunnel.records.next()
          checkRecord(record, { ...cleanly, up: 0, down: 1 })
          assert.equal(record.laterFaults, 0)
        }
      })
      await target.stop()
    },
    { variant: `the ${first} is seen first` },
  )
}

scenario('R46', async () => {
  const target = await peer.listen()
  await withEngine({ target }, async tunnel => {
    using spy = spySockets()
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    await client.say('req')
    await client.end()
    assert.equal(await server.readText(), 'req')
    await server.say('5 s later', { afterMs: 500 })
    await server.end()
    assert.equal(await client.readText(), '5 s later')
    const record = await tunnel.records.next()
    checkRecord(record, { ...cleanly, up: 3, down: 9 })
    const dialledFrom = String(server.port)
    assert.equal(spy.sockets.length, 2)
    // Whoever ended first waits in TIME-WAIT: a reset would have left nothing there.
    const waiting = connectionsIn('TIME-WAIT')
    const near = `${String(client.port)}>${String(tunnel.port())}`
    const far = `${dialledFrom}>${String(target.port)}`
    assert.ok(waiting.includes(near), `${near} among ${waiting.join(' ')}`)
    assert.ok(waiting.includes(far), `${far} among ${waiting.join(' ')}`)
    for (const conn of [client, server]) assert.equal((await conn.gone(0)).why, 'closed')
    await closeAll(client, server)
  })
  await target.stop()
})

scenario('R47', async () => {
  const target = await peer.listen()
  const connIdleMs = 200
  await withEngine({ target, policy: { connIdleMs } }, async tunnel => {
    using spy = spySockets()
    for (const ending of ['clean', 'reset', 'idle'] as const) {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      await client.say('a')
      assert.equal(await server.readText({ bytes: 1 }), 'a')
      if (ending === 'clean') await Promise.all([client.end(), server.end()])
      if (ending === 'reset') await client.reset()
      const record = await tunnel.records.next()
      assert.equal(record.reason, ending)
      const kept = JSON.stringify(record)
      const lines = tunnel.ledger()
      // The peers have not heard of it and go on;
      await server.say('late')
      await server.reset()
      if (ending !== 'reset') {
        await client.say('late')
        await client.reset()
      }
      // and whatever the sockets below could still say, they say now.
      assert.equal(spy.sockets.length, 2)
      for (const socket of spy.sockets) {
        assert.ok(socket.destroyed)
        socket.emit('data', Buffer.from('late'))
        socket.emit('end')
        socket.emit('drain')
        socket.emit('error', Object.assign(new Error('late'), { code: 'EPIPE' }))
        socket.emit('timeout')
        socket.emit('close', true)
      }
      spy.clear()
      await sleep(20)
      assert.equal(JSON.stringify(record), kept, 'no counter moves')
      assert.deepEqual(tunnel.ledger(), lines)
      assert.deepEqual(tunnel.records.left, [], 'no second record')
    }
  })
  await target.stop()
})
