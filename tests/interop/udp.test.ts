import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Bench, type Origin } from '../support/proxy-bench.ts'
import { JumpingClock } from '../support/proxy-clock.ts'
import { expectRecord } from '../support/proxy-expect.ts'
import { hasIpv6 } from '../support/proxy-peers.ts'
import { Association, socksUdp, type UdpPeer } from '../support/proxy-udp.ts'
import { becomes } from '../support/proxy-wait.ts'

/** What makes an association idle, by the configuration's default. */
const idleMs = 300_000
const socks = { tag: 'in', protocol: 'socks', settings: { udp: true } }

describe('UDP through SOCKS5', () => {
  it('is answered by an echo, and the record counts the payloads', async () => {
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const proxy = await bench.proxy({ inbounds: [socks] })
    const control = await bench.client(proxy.port())
    const { port } = control
    const client = await Association.open(control, await bench.udp())
    const sizes = [0, 1, 512, 1_400, 9_000, 60_000]
    for (const size of sizes) {
      const bytes = Buffer.alloc(size, size % 251)
      await client.send('127.0.0.1', echo.port, bytes)
      const answer = await client.next()
      assert.equal(answer.from, echo.name)
      assert.deepEqual(answer.bytes, bytes)
    }
    control.end()
    assert.equal(await control.over, 'end')
    const sum = sizes.reduce((a, b) => a + b)
    expectRecord(await proxy.ended(), {
      inbound: 'in',
      source: `127.0.0.1:${String(port)}`,
      network: 'udp',
      target: null,
      user: null,
      outbound: 'direct',
      stage: 'relaying',
      reason: 'clean',
      up: sum,
      down: sum,
    })
  })

  it('is full cone: one association, many targets, and a third may answer unasked', async () => {
    await using bench = new Bench()
    const proxy = await bench.proxy({ inbounds: [socks] })
    const client = await Association.open(await bench.client(proxy.port()), await bench.udp())
    const targets = await Promise.all(Array.from({ length: 8 }, () => bench.udp()))
    const stranger = await bench.udp()
    const outer = new Set<string>()
    for (const target of targets) {
      await client.send('127.0.0.1', target.port, `to ${target.name}`)
      const { bytes, from } = await target.next()
      assert.equal(bytes.toString(), `to ${target.name}`)
      outer.add(from)
    }
    const [seen = ''] = outer
    assert.equal(outer.size, 1, 'every target sees the same address')
    await stranger.send('unasked', Number(seen.split(':')[1]))
    const answer = await client.next()
    assert.equal(`${answer.from} ${answer.bytes.toString()}`, `${stranger.name} unasked`)
  })

  it('takes a name for a target and names the address that answered', async () => {
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const proxy = await bench.proxy({ inbounds: [socks] })
    const client = await Association.open(await bench.client(proxy.port()), await bench.udp())
    for (const text of ['first', 'second', 'third']) await client.send('localhost', echo.port, text)
    const answers = [await client.next(), await client.next(), await client.next()]
    assert.deepEqual(
      answers.map(({ bytes, from }) => `${from} ${bytes.toString()}`),
      ['first', 'second', 'third'].map(text => `${echo.name} ${text}`),
    )
  })

  it('reaches IPv4 and IPv6 targets through one association', async t => {
    if (!hasIpv6()) {
      t.skip('no IPv6 here')
      return
    }
    await using bench = new Bench()
    const [four, six] = [await bench.udp(), await bench.udp('::1')]
    four.echoes()
    six.echoes()
    const proxy = await bench.proxy({ inbounds: [socks] })
    const client = await Association.open(await bench.client(proxy.port()), await bench.udp())
    await client.send('::1', six.port, 'six')
    assert.equal((await client.next()).bytes.toString(), 'six')
    await client.send('127.0.0.1', four.port, 'four')
    assert.equal((await client.next()).bytes.toString(), 'four')
  })

  it('names its user after authentication', async () => {
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const accounts = [{ user: 'ann', pass: 'pass' }]
    const proxy = await bench.proxy({
      inbounds: [
        { tag: 'in', protocol: 'socks', settings: { udp: true, auth: 'password', accounts } },
      ],
    })
    const control = await bench.client(proxy.port())
    control.send('\x05\x01\x02\x01\x03ann\x04pass')
    assert.deepEqual([...(await control.read(4))], [5, 2, 1, 0])
    control.send('\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00')
    const reply = await control.read(10)
    const client = await bench.udp()
    const header = Buffer.from([0, 0, 0, 1, 127, 0, 0, 1, echo.port >> 8, echo.port & 255])
    await client.send(Buffer.concat([header, Buffer.from('hello')]), reply.readUInt16BE(8))
    assert.deepEqual((await client.next()).bytes, Buffer.concat([header, Buffer.from('hello')]))
    control.end()
    expectRecord(await proxy.ended(), {
      user: 'ann',
      network: 'udp',
      reason: 'clean',
      up: 5,
      down: 5,
    })
  })

  it('ends with its control connection, whether that ends or is reset', async () => {
    await using bench = new Bench()
    const target = await bench.udp()
    const proxy = await bench.proxy({ inbounds: [socks] })
    for (const how of ['end', 'reset'] as const) {
      const control = await bench.client(proxy.port())
      const client = await Association.open(control, await bench.udp())
      await client.send('127.0.0.1', target.port, 'before')
      await target.next()
      control[how]()
      expectRecord(await proxy.ended(), {
        network: 'udp',
        stage: 'relaying',
        reason: how === 'end' ? 'clean' : 'error',
        ...(how === 'end' ? {} : { code: 'flow.control-ended' }),
        up: 6,
        down: 0,
      })
      await proxy.rests()
      await client.send('127.0.0.1', target.port, 'after')
    }
    const last = await bench.udp()
    last.echoes()
    const client = await Association.open(await bench.client(proxy.port()), await bench.udp())
    await client.send('127.0.0.1', last.port, 'last')
    await client.next()
    assert.equal(target.receivedTotal, 2, 'nothing was forwarded after the end')
  })

  it('works over an IPv6 control connection', async t => {
    if (!hasIpv6()) {
      t.skip('no IPv6 here')
      return
    }
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const proxy = await bench.proxy({ inbounds: [{ ...socks, listen: '::1' }] })
    const control = await bench.client(proxy.port(), { host: '::1' })
    control.send('\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00')
    const reply = (await control.read(24)).subarray(2)
    assert.equal(reply.subarray(0, 20).toString('hex'), `05000004${'00'.repeat(15)}01`)
    const peer = await bench.udp('::1')
    const datagram = socksUdp('127.0.0.1', echo.port, 'hello')
    await peer.send(datagram, reply.readUInt16BE(20), '::1')
    assert.deepEqual((await peer.next()).bytes, datagram)
  })

  it('works for an IPv4 client of an inbound on all addresses', async t => {
    if (!hasIpv6()) {
      t.skip('no IPv6 here')
      return
    }
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const proxy = await bench.proxy({ inbounds: [{ ...socks, listen: '::' }] })
    const control = await bench.client(proxy.port())
    const { port } = control
    const client = await Association.open(control, await bench.udp())
    await client.send('127.0.0.1', echo.port, 'hello')
    assert.equal((await client.next()).bytes.toString(), 'hello')
    control.end()
    expectRecord(await proxy.ended(), { source: `127.0.0.1:${String(port)}`, reason: 'clean' })
  })

  it('is not offered unless the configuration says so', async () => {
    await using bench = new Bench()
    const proxy = await bench.proxy({ inbounds: [{ tag: 'in', protocol: 'socks' }] })
    const client = await bench.client(proxy.port())
    client.send('\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00')
    assert.deepEqual([...(await client.readAll())], [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0])
    client.end()
    expectRecord(await proxy.ended(), { reason: 'refused', code: 'socks.command-refused' })
  })

  it('announces the address that the configuration names', async () => {
    await using bench = new Bench()
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'socks', settings: { udp: true, ip: '192.0.2.7' } }],
    })
    const client = await bench.client(proxy.port())
    client.send('\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00')
    assert.deepEqual([...(await client.read(10)).subarray(2)], [5, 0, 0, 1, 192, 0, 2, 7])
  })
})

describe('a UDP port forward', () => {
  it('keeps fifty clients at once apart', async () => {
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({ inbounds: [tunnelTo(echo.port)], clock })
    const clients = await Promise.all(Array.from({ length: 50 }, () => bench.udp()))
    await Promise.all(
      clients.map(async (client, at) => {
        for (let round = 0; round < 20; round++) {
          const text = `client ${String(at)} round ${String(round)}`
          await client.send(text, proxy.port())
          const { bytes, from } = await client.next()
          assert.equal(`${from} ${bytes.toString()}`, `127.0.0.1:${String(proxy.port())} ${text}`)
        }
      }),
    )
    assert.equal(proxy.engine.flows, 50)
    clock.jump(idleMs, 0)
    const sources = clients.map(client => client.name)
    const records = await proxy.endedAll(50)
    assert.deepEqual(
      records.map(({ source }) => `127.0.0.1:${String(source.port)}`).sort(),
      sources.sort(),
    )
    for (const record of records) {
      expectRecord(record, {
        inbound: 'in',
        network: 'udp',
        user: null,
        target: `127.0.0.1:${String(echo.port)}`,
        outbound: 'direct',
        stage: 'relaying',
        reason: 'idle',
        side: 'local',
      })
      assert.equal(record.up.written, record.down.written)
      assert.ok(record.durationMs >= idleMs)
    }
  })

  it('takes connections and datagrams on one port', async () => {
    await using bench = new Bench()
    const { stream, datagram } = await bothOnOnePort(bench)
    datagram.echoes()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({
      inbounds: [{ ...tunnelTo(stream.port, 'tcp,udp') }],
      clock,
    })
    const client = await bench.client(proxy.port())
    client.send('stream')
    assert.equal((await client.read(6)).toString(), 'stream')
    client.end()
    expectRecord(await proxy.ended(), { network: 'tcp', reason: 'clean', up: 6, down: 6 })
    const peer = await bench.udp()
    await peer.send('datagram', proxy.port())
    assert.equal((await peer.next()).bytes.toString(), 'datagram')
    clock.jump(idleMs, 0)
    expectRecord(await proxy.ended(), { network: 'udp', reason: 'idle', up: 8, down: 8 })
  })

  it('answers clients of both families on all addresses', async t => {
    if (!hasIpv6()) {
      t.skip('no IPv6 here')
      return
    }
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({
      inbounds: [{ ...tunnelTo(echo.port), listen: '::' }],
      clock,
    })
    for (const host of ['::1', '127.0.0.1']) {
      const client = await bench.udp(host)
      await client.send(host, proxy.port(), host)
      const answer = client.next(500).finally(() => {
        clock.jump(idleMs, 0)
      })
      assert.equal((await answer).bytes.toString(), host)
      expectRecord(await proxy.ended(), { reason: 'idle' })
    }
  })

  it('passes on only what its target sends', async () => {
    await using bench = new Bench()
    const [target, stranger] = [await bench.udp(), await bench.udp()]
    const clock = new JumpingClock()
    const proxy = await bench.proxy({ inbounds: [tunnelTo(target.port)], clock })
    const client = await bench.udp()
    await client.send('question', proxy.port())
    const { from } = await target.next()
    const outer = Number(from.split(':')[1])
    await stranger.send('forged', outer)
    await target.send('answer', outer)
    const first = (await client.next()).bytes.toString()
    clock.jump(idleMs, 0)
    await proxy.ended()
    assert.equal(first, 'answer')
  })

  it('goes on for its clients while a stop drains', async () => {
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({ inbounds: [tunnelTo(echo.port)], clock })
    const client = await bench.udp()
    await client.send('before', proxy.port())
    await client.next()
    const stopped = proxy.engine.stop(idleMs)
    await client.send('during', proxy.port())
    const answer = client.next(200).finally(() => {
      clock.jump(idleMs, 0)
    })
    assert.equal((await answer).bytes.toString(), 'during')
    assert.equal(await stopped, 0)
    await proxy.stop()
  })

  it('opens again for a client that was silent for too long', async () => {
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({ inbounds: [tunnelTo(echo.port)], clock })
    const client = await bench.udp()
    for (const text of ['one', 'two']) {
      await client.send(text, proxy.port())
      assert.equal((await client.next()).bytes.toString(), text)
      clock.jump(idleMs, 0)
      expectRecord(await proxy.ended(), { reason: 'idle', up: 3, down: 3 })
      assert.ok(await becomes(() => proxy.engine.flows === 0))
    }
  })
})

/** An origin of each kind; the number that is free for TCP may be taken for UDP. */
async function bothOnOnePort(
  bench: Bench,
): Promise<{ readonly stream: Origin; readonly datagram: UdpPeer }> {
  for (let round = 0; ; round++) {
    const stream = await bench.echo()
    try {
      return { stream, datagram: await bench.udp('127.0.0.1', stream.port) }
    } catch (thrown) {
      if (round === 5) throw thrown
    }
  }
}

function tunnelTo(port: number, network = 'udp'): Readonly<Record<string, unknown>> {
  return { tag: 'in', protocol: 'dokodemo-door', settings: { address: '127.0.0.1', port, network } }
}
