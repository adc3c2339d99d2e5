import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { Bench, type Origin, type Proxy, said } from '../support/proxy-bench.ts'
import type { Client } from '../support/proxy-client.ts'
import { JumpingClock } from '../support/proxy-clock.ts'
import { expectRecord } from '../support/proxy-expect.ts'
import { curl, hasPeer } from '../support/proxy-peers.ts'
import { silentPort, unusedPort } from '../support/proxy-targets.ts'
import { Association } from '../support/proxy-udp.ts'
import { becomes, within } from '../support/proxy-wait.ts'
import { sha256 } from '../support/proxy-web.ts'

const mixed = { tag: 'in', protocol: 'mixed', settings: { udp: true } }
const hourMs = 3_600_000

function bytesOf(port: number): readonly [number, number] {
  return [port >> 8, port & 255]
}

/** A connection to the origin, opened through SOCKS5. */
async function opened(bench: Bench, proxy: Proxy, port: number): Promise<Client> {
  const client = await bench.client(proxy.port())
  client.send(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, ...bytesOf(port)]))
  assert.equal((await client.read(12)).toString('hex'), '050005000001000000000000')
  return client
}

interface Pair {
  readonly near: Client
  readonly far: Client
}

async function pair(bench: Bench, proxy: Proxy, origin: Origin): Promise<Pair> {
  const [near, far] = await Promise.all([opened(bench, proxy, origin.port), origin.accepted()])
  return { near, far }
}

const ways: readonly (readonly [
  name: string,
  inbound: (port: number) => Readonly<Record<string, unknown>>,
  open: (client: Client, port: number) => Promise<void>,
])[] = [
  [
    'a port forward',
    port => ({ protocol: 'dokodemo-door', settings: { address: '127.0.0.1', port } }),
    () => Promise.resolve(),
  ],
  [
    'SOCKS4',
    () => ({ protocol: 'socks' }),
    async (client, port) => {
      client.send(Buffer.from([4, 1, ...bytesOf(port), 127, 0, 0, 1, 0]))
      await client.read(8)
    },
  ],
  [
    'SOCKS5',
    () => ({ protocol: 'mixed' }),
    async (client, port) => {
      client.send(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, ...bytesOf(port)]))
      await client.read(12)
    },
  ],
  [
    'HTTP CONNECT',
    () => ({ protocol: 'http' }),
    async (client, port) => {
      client.send(`CONNECT 127.0.0.1:${String(port)} HTTP/1.1\r\nHost: x\r\n\r\n`)
      await client.readUntil('\r\n\r\n')
    },
  ],
]

describe('half-close', () => {
  const words = randomBytes(1_000_000)
  for (const [name, inbound, open] of ways) {
    for (const first of ['client', 'origin'] as const) {
      it(`by the ${first} first leaves the other way open, through ${name}`, async () => {
        await using bench = new Bench()
        const origin = await bench.origin()
        const proxy = await bench.proxy({ inbounds: [{ tag: 'in', ...inbound(origin.port) }] })
        const client = await bench.client(proxy.port())
        await open(client, origin.port)
        const far = await origin.accepted()
        const [one, other] = first === 'client' ? [client, far] : [far, client]
        one.send('last words')
        one.end()
        assert.equal((await other.readAll()).toString(), 'last words')
        other.send(words)
        other.end()
        assert.equal(sha256(await one.readAll()), sha256(words))
        assert.deepEqual([await one.over, await other.over], ['end', 'end'])
        const [up, down] = first === 'client' ? [10, words.length] : [words.length, 10]
        expectRecord(await proxy.ended(), { stage: 'relaying', reason: 'clean', up, down })
      })
    }
  }

  it('of a connection without a byte reaches the origin and comes back', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const { near, far } = await pair(bench, proxy, origin)
    near.end()
    assert.equal(await far.over, 'end')
    far.end()
    assert.equal(await near.over, 'end')
    expectRecord(await proxy.ended(), { reason: 'clean', up: 0, down: 0 })
  })

  it('of both at once is a clean end', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const proxy = await bench.proxy({ inbounds: [mixed] })
    for (let round = 0; round < 50; round++) {
      const { near, far } = await pair(bench, proxy, origin)
      near.end('up')
      far.end('down')
      assert.equal((await near.readAll()).toString(), 'down')
      assert.equal((await far.readAll()).toString(), 'up')
      expectRecord(await proxy.ended(), { reason: 'clean', up: 2, down: 4 })
    }
  })
})

describe('a reset', () => {
  for (const paused of ['near', 'far'] as const) {
    const talking = paused === 'near' ? 'far' : 'near'

    it(`by a ${paused} side that does not read is passed on at once`, async () => {
      await using bench = new Bench()
      const { proxy, sides } = await stuck(bench, paused)
      sides[paused].reset()
      expectRecord(await proxy.ended(), { stage: 'relaying', reason: 'reset', side: paused })
      assert.equal(await sides[talking].over, 'reset')
    })

    it(`reaches a ${paused} side that does not read after what was sent before it`, async () => {
      await using bench = new Bench()
      const { proxy, sides } = await stuck(bench, paused)
      sides[talking].reset()
      sides[paused].socket.resume()
      assert.equal(await sides[paused].over, 'reset')
      const record = await proxy.ended()
      expectRecord(record, { stage: 'relaying', reason: 'reset', side: talking })
      const { written } = paused === 'near' ? record.down : record.up
      assert.ok(sides[paused].receivedBytes >= written - 12 && written > 50_000, String(written))
    })

    it(`to a ${paused} side that never reads again ends with the time for writing`, async () => {
      await using bench = new Bench()
      const { proxy, sides } = await stuck(bench, paused, { connIdleMs: 300, writeStallMs: 300 })
      sides[talking].reset()
      expectRecord(await proxy.ended(), { stage: 'relaying', reason: 'write-stall', side: paused })
      sides[paused].socket.resume()
      assert.equal(await sides[paused].over, 'reset')
    })
  }
})

describe('a client that goes away while its dial runs', () => {
  for (const early of ['', ' that has sent data early']) {
    it(`takes the dial${early} with it at once`, async () => {
      await using bench = new Bench()
      const port = await silentPort(bench)
      const proxy = await bench.proxy({ inbounds: [mixed], connectTimeoutMs: hourMs })
      const socks = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, ...bytesOf(port)])
      const http = Buffer.from(`CONNECT 127.0.0.1:${String(port)} HTTP/1.1\r\nHost: x\r\n\r\n`)
      for (const head of [socks, http]) {
        const clients = await Promise.all(
          Array.from({ length: 20 }, () => bench.client(proxy.port())),
        )
        for (const client of clients) client.send(Buffer.concat([head, Buffer.from(early)]))
        const dials = (): number =>
          proxy.engine.ledger().filter(row => row.name.startsWith('connecting')).length
        assert.ok(await becomes(() => dials() === 20), String(dials()))
        for (const client of clients) client.reset()
        for (const record of await proxy.endedAll(20)) {
          expectRecord(record, { stage: 'dialing', reason: 'reset', side: 'near' })
        }
        await proxy.rests()
      }
    })
  }
})

describe('a port forward to where nobody listens', () => {
  it('resets its client, as such a port does', async () => {
    await using bench = new Bench()
    const settings = { address: '127.0.0.1', port: await unusedPort() }
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'dokodemo-door', settings }],
    })
    const client = await bench.client(proxy.port())
    assert.equal(await client.over, 'reset')
    expectRecord(await proxy.ended(), {
      target: `127.0.0.1:${String(settings.port)}`,
      stage: 'dialing',
      reason: 'refused',
      side: 'far',
      call: 'connect',
    })
  })
})

describe('a side that does not read', () => {
  it('is given the time for writing where that is shorter than the idle time', async () => {
    await using bench = new Bench()
    const { proxy } = await stuck(bench, 'near', { writeStallMs: 100 })
    const record = await within(proxy.ended(), 'the flow to end', undefined, 1_000)
    expectRecord(record, { reason: 'write-stall', side: 'near' })
  })
})

/** A flow of which one side has been sent more than it takes, and does not read. */
async function stuck(
  bench: Bench,
  paused: 'near' | 'far',
  policy: { readonly connIdleMs?: number; readonly writeStallMs?: number } = {},
): Promise<{ readonly proxy: Proxy; readonly sides: Pair }> {
  const origin = await bench.origin()
  const proxy = await bench.proxy({
    inbounds: [mixed],
    policy: { resetGraceMs: 100, connIdleMs: hourMs, ...policy },
  })
  const sides = await pair(bench, proxy, origin)
  sides[paused].socket.pause()
  sides[paused === 'near' ? 'far' : 'near'].send(Buffer.alloc(48 * 1_048_576))
  await standsStill(proxy)
  return { proxy, sides }
}

/** Waits until the kernel's buffers are full: bytes have moved, and do so no more. Or all is over. */
async function standsStill(proxy: Proxy): Promise<void> {
  let before = 0
  let rounds = 0
  const isStill = (): boolean => {
    const now = moved(proxy)
    rounds = now > 0 && now === before ? rounds + 1 : 0
    before = now
    return rounds === 10 || proxy.engine.flows === 0
  }
  assert.ok(await becomes(isStill), `${String(before)} bytes have moved`)
}

/** Bytes that the only flow has moved, from its row in the ledger. */
function moved(proxy: Proxy): number {
  const note = proxy.engine.ledger().find(row => row.kind === 'flow')?.note ?? ''
  const [, up = '0', down = '0'] = /up (\d+) down (\d+)/.exec(note) ?? []
  return Number(up) + Number(down)
}

describe('a stop', () => {
  const flows = 1_000

  it('under a thousand live flows resets every one after the drain time and leaves nothing', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const clock = new JumpingClock()
    // Only the drain time passes in this test.
    const policy = { connIdleMs: 2 * hourMs, halfCloseIdleMs: 2 * hourMs }
    const proxy = await bench.proxy({ inbounds: [mixed], clock, policy })
    const pairs: Pair[] = []
    // One after the other: so each origin connection is known to belong to its client.
    while (pairs.length < flows) pairs.push(await pair(bench, proxy, origin))
    // Some talk, some have ended one way, most are silent.
    for (const [at, { near, far }] of pairs.entries()) {
      if (at % 4 === 1) near.end()
      if (at % 4 === 2) far.end()
      if (at % 4 === 3) near.send('talking')
    }
    assert.equal(proxy.engine.flows, flows)
    let isOver = false
    const stopped = proxy.engine.stop(hourMs).finally(() => {
      isOver = true
    })
    await assert.rejects(bench.client(proxy.port()), 'nobody is let in any more')
    const [first] = pairs
    assert.ok(first)
    first.near.send('and yet it goes on')
    assert.equal((await first.far.read(18)).toString(), 'and yet it goes on')
    assert.equal(isOver, false)
    clock.jump(hourMs, 0)
    assert.equal(await stopped, 0)
    await Promise.all(
      pairs.map(async ({ near, far }, at) => {
        assert.equal(await near.over, at % 4 === 2 ? 'end' : 'reset')
        assert.equal(await far.over, at % 4 === 1 ? 'end' : 'reset')
      }),
    )
    for (const record of await proxy.endedAll(flows)) {
      expectRecord(record, { stage: 'relaying', reason: 'stopped', side: 'local' })
    }
    await proxy.stop()
  })

  it('waits for the drain time and not longer, and a second stop is the first one', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const { near, far } = await pair(bench, proxy, origin)
    const startedMs = performance.now()
    const stopped = proxy.engine.stop(200)
    assert.equal(proxy.engine.stop(60_000), stopped)
    assert.equal(await stopped, 0)
    const tookMs = performance.now() - startedMs
    assert.ok(tookMs >= 200 && tookMs < 2_000, `${String(tookMs)} ms`)
    assert.deepEqual([await near.over, await far.over], ['reset', 'reset'])
    expectRecord(await proxy.ended(), { stage: 'relaying', reason: 'stopped', side: 'local' })
    await proxy.stop()
  })

  it('ends as soon as the last flow has ended by itself', async () => {
    await using bench = new Bench()
    const origin = await bench.echo()
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => opened(bench, proxy, origin.port)),
    )
    const stopped = proxy.engine.stop(60_000)
    for (const client of clients) client.end('bye')
    assert.equal(await stopped, 0)
    for (const record of await proxy.endedAll(10)) expectRecord(record, { reason: 'clean', up: 3 })
    await proxy.stop()
  })

  it('gives up handshakes and associations, too', async () => {
    await using bench = new Bench()
    const echo = await bench.udp()
    echo.echoes()
    const proxy = await bench.proxy({
      inbounds: [
        mixed,
        {
          tag: 'udp',
          protocol: 'dokodemo-door',
          settings: { address: '127.0.0.1', port: echo.port, network: 'udp' },
        },
      ],
    })
    const silent = await bench.client(proxy.port('in'))
    const half = await bench.client(proxy.port('in'))
    half.send('\x05\x01\x00\x05')
    await half.read(2)
    const control = await bench.client(proxy.port('in'))
    const client = await Association.open(control, await bench.udp())
    await client.send('127.0.0.1', echo.port, 'hello')
    await client.next()
    const forward = await bench.udp()
    await forward.send('hello', proxy.port('udp'))
    await forward.next()
    assert.equal(proxy.engine.flows, 4)
    await proxy.stop()
    for (const peer of [silent, half, control]) assert.equal(await peer.over, 'reset')
    const records = await proxy.endedAll(4)
    assert.deepEqual(records.map(({ reason, stage }) => `${reason} ${stage}`).sort(), [
      'stopped accepting',
      'stopped accepting',
      'stopped relaying',
      'stopped relaying',
    ])
  })
})

describe('a clock that jumps an hour ahead, and its wall clock a day back', () => {
  it('fires every timer once, and nothing goes round in circles', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const sink = await bench.udp()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({
      inbounds: [mixed],
      clock,
      policy: { halfCloseIdleMs: hourMs },
    })
    const idle: Pair[] = []
    while (idle.length < 50) idle.push(await pair(bench, proxy, origin))
    const half = await pair(bench, proxy, origin)
    half.near.end()
    await half.far.over
    const stalled = await pair(bench, proxy, origin)
    stalled.far.socket.pause()
    stalled.near.send(Buffer.alloc(48 * 1_048_576))
    const silent = await bench.client(proxy.port())
    const control = await bench.client(proxy.port())
    const association = await Association.open(control, await bench.udp())
    await association.send('127.0.0.1', sink.port, 'hello')
    await sink.next()
    assert.equal(proxy.engine.flows, 54)

    const wakes = clock.wakes
    clock.jump(hourMs, -24 * hourMs)
    const records = await proxy.endedAll(54)
    const count = (reason: string): number => records.filter(one => one.reason === reason).length
    assert.equal(count('handshake-timeout'), 1)
    assert.equal(count('half-close-idle'), 1)
    assert.equal(count('write-stall'), 1)
    assert.equal(count('idle'), 51)
    assert.ok(clock.wakes - wakes < 20, `woken ${String(clock.wakes - wakes)} times`)
    for (const record of records) assert.ok(record.durationMs >= hourMs - 60_000)
    for (const { near, far } of idle)
      assert.deepEqual([await near.over, await far.over], ['reset', 'reset'])
    assert.equal(await half.near.over, 'reset')
    assert.deepEqual([await silent.over, await control.over], ['reset', 'end'])

    const after = await pair(bench, proxy, origin)
    after.near.end('still works')
    assert.equal((await after.far.readAll()).toString(), 'still works')
    after.far.end()
    const record = await proxy.ended()
    expectRecord(record, { reason: 'clean', up: 11 })
    assert.ok(record.durationMs < 10_000)
    assert.ok(record.startedAt < Date.now() - 23 * hourMs)
    stalled.near.socket.destroy()
    await proxy.rests()
    await proxy.stop()
  })

  it('does not hold up a stop that is under way', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({ inbounds: [mixed], clock })
    const { near, far } = await pair(bench, proxy, origin)
    const stopped = proxy.engine.stop(hourMs)
    clock.jump(hourMs, -hourMs)
    assert.equal(await stopped, 0)
    assert.deepEqual([await near.over, await far.over], ['reset', 'reset'])
    expectRecord(await proxy.ended(), { side: 'local' })
    await proxy.stop()
  })
})

describe('a peer that is killed in mid transfer', () => {
  for (const deed of ['sends', 'stalls'] as const) {
    it(`ends its flow when it is an origin that ${deed}`, async () => {
      await using bench = new Bench()
      const child = bench.script(import.meta.resolve('../support/proxy-doomed.ts'), [deed])
      const { port } = await said<{ port: number }>(child, 'its port')
      const proxy = await bench.proxy({ inbounds: [mixed] })
      const client = await opened(bench, proxy, port)
      if (deed === 'stalls') client.send(Buffer.alloc(48 * 1_048_576))
      assert.ok(await becomes(() => moved(proxy) > 50_000), JSON.stringify(proxy.engine.ledger()))
      child.kill('SIGKILL')
      // What it had not read makes its kernel say reset; without that the kernel says end.
      assert.equal(await client.over, deed === 'stalls' ? 'reset' : 'end')
      client.end()
      const record = await proxy.ended()
      expectRecord(record, {
        stage: 'relaying',
        ...(deed === 'stalls' ? { reason: 'reset', side: 'far' } : {}),
      })
    })

    it(`ends its flow when it is a client that ${deed}`, async () => {
      await using bench = new Bench()
      const origin = await bench.origin()
      const proxy = await bench.proxy({ inbounds: [mixed] })
      const child = bench.script(import.meta.resolve('../support/proxy-doomed.ts'), [
        deed,
        ...[proxy.port(), origin.port].map(String),
      ])
      const far = await origin.accepted()
      await said(child, 'that it is ready')
      if (deed === 'stalls') far.send(Buffer.alloc(48 * 1_048_576))
      assert.ok(await becomes(() => moved(proxy) > 50_000), JSON.stringify(proxy.engine.ledger()))
      child.kill('SIGKILL')
      assert.equal(await far.over, deed === 'stalls' ? 'reset' : 'end')
      far.end()
      const record = await proxy.ended()
      expectRecord(record, {
        stage: 'relaying',
        ...(deed === 'stalls' ? { reason: 'reset', side: 'near' } : {}),
      })
    })
  }

  it('never lets a cut answer look whole to curl', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    await using bench = new Bench()
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const heads = ['Content-Length: 1000000', 'Transfer-Encoding: chunked', 'Connection: close']
    for (const head of heads) {
      const origin = await bench.origin(client => {
        void client.readUntil('\r\n\r\n').then(async () => {
          await client.sent(Buffer.from(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n5\r\nhello\r\n`))
          client.reset()
        })
      })
      for (const flags of [[], ['-p']]) {
        const url = `http://127.0.0.1:${String(origin.port)}/`
        const answer = await curl(['-x', `http://127.0.0.1:${String(proxy.port())}`, ...flags, url])
        assert.notEqual(answer.code, 0, `${head} ${flags.join()}`)
        expectRecord(await proxy.ended(), { reason: 'reset', side: 'far' })
      }
    }
  })
})
