import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Bench, openSockets, type Proxy, said } from '../support/proxy-bench.ts'
import { expectRecord } from '../support/proxy-expect.ts'
import { Association, socksUdp, type UdpPeer } from '../support/proxy-udp.ts'

const inbounds = [{ tag: 'in', protocol: 'socks', settings: { udp: true } }]

interface SetUp {
  readonly proxy: Proxy
  readonly echo: UdpPeer
  readonly client: Association
  /** Waits until everything sent before has been seen: an echo comes back. */
  readonly settled: () => Promise<void>
}

async function setUp(bench: Bench, named?: (peer: UdpPeer) => number): Promise<SetUp> {
  const echo = await bench.udp()
  echo.echoes()
  const proxy = await bench.proxy({ inbounds })
  const peer = await bench.udp()
  const client = await Association.open(await bench.client(proxy.port()), peer, named?.(peer))
  let round = 0
  const settled = async (): Promise<void> => {
    round += 1
    const text = `settled ${String(round)}`
    await client.send('127.0.0.1', echo.port, text)
    assert.equal((await client.next()).bytes.toString(), text)
  }
  return { proxy, echo, client, settled }
}

describe('a UDP association of SOCKS5 drops', () => {
  const good = (port: number): Buffer => socksUdp('127.0.0.1', port, 'evil')
  const malformed: readonly (readonly [what: string, datagram: (port: number) => Buffer])[] = [
    ['the first fragment', port => socksUdp('127.0.0.1', port, 'evil', 1)],
    ['the last fragment', port => socksUdp('127.0.0.1', port, 'evil', 0x81)],
    ['an empty datagram', () => Buffer.alloc(0)],
    ['a reserved byte', port => Buffer.concat([Buffer.from([0, 1]), good(port).subarray(2)])],
    ['half a header', port => good(port).subarray(0, 7)],
    [
      'an unknown type of address',
      port => Buffer.concat([Buffer.from([0, 0, 0, 2]), good(port).subarray(4)]),
    ],
    ['a domain of no bytes', () => Buffer.from([0, 0, 0, 3, 0, 0, 80, 1])],
    ['a domain that is cut', () => Buffer.from([0, 0, 0, 3, 255, 97, 97])],
    ['a domain with a NUL', port => socksUdp('local\0host', port, 'evil')],
    ['a domain that is a path', port => socksUdp('/run/log', port, 'evil')],
    ['port 0', () => socksUdp('127.0.0.1', 0, 'evil')],
    ['random bytes', () => Buffer.from('fe98a7c0ffee0011223344', 'hex')],
  ]
  for (const [what, datagram] of malformed) {
    it(`${what}, and goes on`, async () => {
      await using bench = new Bench()
      const { proxy, echo, client, settled } = await setUp(bench)
      await settled()
      await client.peer.send(datagram(echo.port), client.port)
      await settled()
      assert.equal(echo.receivedTotal, 2)
      client.control.end()
      expectRecord(await proxy.ended(), { reason: 'clean', up: 18, down: 18 })
    })
  }

  it('what another port of the client sends', async () => {
    await using bench = new Bench()
    const { echo, client, settled } = await setUp(bench)
    await settled()
    const other = await bench.udp()
    await other.send(socksUdp('127.0.0.1', echo.port, 'evil'), client.port)
    await settled()
    assert.equal(echo.receivedTotal, 2)
    assert.equal(other.receivedTotal, 0)
  })

  it('what another address sends, before and after the client has sent', async () => {
    await using bench = new Bench()
    const { echo, client, settled } = await setUp(bench)
    const foreign = await bench.udp('127.0.0.2')
    await foreign.send(socksUdp('127.0.0.1', echo.port, 'evil'), client.port)
    await settled()
    await foreign.send(socksUdp('127.0.0.1', echo.port, 'evil'), client.port)
    const samePort = await bench.udp('127.0.0.3', client.peer.port)
    await samePort.send(socksUdp('127.0.0.1', echo.port, 'evil'), client.port)
    await settled()
    assert.equal(echo.receivedTotal, 2)
    assert.equal(foreign.receivedTotal + samePort.receivedTotal, 0)
  })

  it('what any port but the one named in the request sends', async () => {
    await using bench = new Bench()
    const { echo, client, settled } = await setUp(bench, peer => peer.port)
    const other = await bench.udp()
    await other.send(socksUdp('127.0.0.1', echo.port, 'evil'), client.port)
    await settled()
    assert.equal(echo.receivedTotal, 1)
  })
})

describe('a UDP association of SOCKS5', () => {
  it('forwards the largest datagram and loses an answer that a header makes too large', async () => {
    await using bench = new Bench()
    const { proxy, echo, client, settled } = await setUp(bench)
    const largest = Buffer.alloc(65_507 - 10, 7)
    await client.send('127.0.0.1', echo.port, largest)
    assert.deepEqual((await client.next()).bytes, largest)
    const talker = await bench.udp()
    await client.send('127.0.0.1', talker.port, 'hello')
    const { from } = await talker.next()
    await talker.send(Buffer.alloc(65_507, 8), Number(from.split(':')[1]))
    await settled()
    client.control.end()
    expectRecord(await proxy.ended(), { reason: 'clean', up: largest.length + 5 + 9 })
  })

  it('takes a hundred thousand targets with bounded memory and one more socket', async t => {
    await using bench = new Bench()
    const { proxy, client, settled } = await setUp(bench)
    await settled()
    const sockets = openSockets()
    const heapBefore = usedHeap()
    const targets = 100_000
    for (let at = 0; at < targets; at++) {
      const address = [127, 1 + (at % 250), (at >> 8) & 255, 1 + (at % 254)]
      const port = 10_000 + (at % 20_000)
      const datagram = Buffer.from([0, 0, 0, 1, ...address, port >> 8, port & 255, 120])
      client.peer.socket.send(datagram, client.port, '127.0.0.1')
      // Almost as many at once as may wait for a flow; more would be dropped, which is right too.
      if (at % 56 === 55) await settled()
    }
    await settled()
    const grown = usedHeap() - heapBefore
    t.diagnostic(
      `${String(targets)} targets, heap grown by ${String(Math.round(grown / 1024))} KiB`,
    )
    assert.ok(grown < 16 * 1_048_576, `${String(grown)} bytes more`)
    assert.equal(openSockets(), sockets)
    assert.equal(proxy.engine.flows, 1)
    assert.deepEqual(proxy.engine.bugs, [])
    client.control.end()
    const record = await proxy.ended()
    expectRecord(record, { reason: 'clean' })
    assert.ok(record.up.written >= targets, `${String(record.up.written)} bytes forwarded`)
  })

  it('keeps only a bounded number of datagrams for names that nobody answers for', async () => {
    await using bench = new Bench()
    let asked = 0
    const never = new Promise<never>(() => undefined)
    const proxy = await bench.proxy({
      inbounds,
      resolver: () => ({
        resolve: scope => {
          asked += 1
          const ended = Promise.withResolvers<never>()
          scope.onEnd(() => {
            ended.reject(new Error('ended'))
          })
          return Promise.race([never, ended.promise])
        },
      }),
    })
    const echo = await bench.udp()
    echo.echoes()
    const client = await Association.open(await bench.client(proxy.port()), await bench.udp())
    for (let at = 0; at < 2_000; at++) {
      await client.send(`name-${String(at)}.test`, 53, Buffer.alloc(1_000))
      if (at % 32 !== 31) continue
      await client.send('127.0.0.1', echo.port, 'passes by')
      assert.equal((await client.next()).bytes.toString(), 'passes by')
    }
    assert.equal(asked, 64, 'as many names are looked up as datagrams may wait')
    client.control.end()
    expectRecord(await proxy.ended(), { reason: 'clean' })
  })

  it('ends with its control connection while datagrams are on their way', async () => {
    await using bench = new Bench()
    const { proxy, echo, client, settled } = await setUp(bench)
    await settled()
    for (let at = 0; at < 200; at++) {
      client.peer.socket.send(socksUdp('127.0.0.1', echo.port, 'late'), client.port, '127.0.0.1')
      if (at === 100) client.control.reset()
    }
    expectRecord(await proxy.ended(), {
      stage: 'relaying',
      reason: 'error',
      code: 'flow.control-ended',
    })
    await proxy.rests()
  })

  it('survives bytes on its control connection, whenever they come', async () => {
    // In a process of its own: what fails here stands still.
    await using bench = new Bench()
    const child = bench.script(import.meta.resolve('../support/proxy-small.ts'), [
      JSON.stringify({ inbounds }),
    ])
    const { port } = await said<{ port: number }>(child, 'its port')
    const echo = await bench.udp()
    echo.echoes()
    for (const late of [false, true]) {
      const control = await bench.client(port)
      control.send('\x05\x01\x00')
      await control.read(2)
      control.send(`\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00${late ? '' : 'more'}`)
      const answer = await control.read(10)
      if (late) control.send('more')
      const peer = await bench.udp()
      await peer.send(socksUdp('127.0.0.1', echo.port, 'hello'), answer.readUInt16BE(8))
      const { bytes } = await peer.next(2_000)
      assert.equal(bytes.subarray(10).toString(), 'hello')
      control.end()
      await control.over
    }
  })
})

function usedHeap(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') collect()
  return process.memoryUsage().heapUsed
}
