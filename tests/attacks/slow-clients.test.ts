import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { Bench } from '../support/proxy-bench.ts'
import type { Client } from '../support/proxy-client.ts'
import { JumpingClock } from '../support/proxy-clock.ts'
import { type Expected, expectRecord } from '../support/proxy-expect.ts'
import { unusedPort } from '../support/proxy-targets.ts'

const handshakeMs = 300
const intervalMs = 20
const accounts = [{ user: 'ann', pass: 'pass' }]
const password = { settings: { auth: 'password', accounts } }
const acceptProxyProtocol = { streamSettings: { sockopt: { acceptProxyProtocol: true } } }

interface Slow {
  readonly what: string
  readonly inbound: Readonly<Record<string, unknown>>
  /** Sent at once. */
  readonly first?: string
  /** Sent a byte at a time, over and over; nothing if left out. */
  readonly drip?: string
  /** What the proxy has answered by then. */
  readonly answer?: string
}

const socks = { protocol: 'socks' }
const http = { protocol: 'http' }
const mixed = { protocol: 'mixed' }
const endlessHttp = 'GET http://localhost/ HTTP/1.1\r\nX: '

const clients: readonly Slow[] = [
  { what: 'silent on socks', inbound: socks },
  { what: 'silent on http', inbound: http },
  { what: 'silent on mixed', inbound: mixed },
  { what: 'silent where a PROXY header must come', inbound: { ...mixed, ...acceptProxyProtocol } },
  {
    what: 'silent after the greeting of socks',
    inbound: socks,
    first: '\x05\x01\x00',
    answer: '\x05\x00',
  },
  {
    what: 'silent where socks wants a password',
    inbound: { ...socks, ...password },
    first: '\x05\x01\x02',
    answer: '\x05\x02',
  },
  {
    what: 'silent after authentication to socks',
    inbound: { ...socks, ...password },
    first: '\x05\x01\x02\x01\x03ann\x04pass',
    answer: '\x05\x02\x01\x00',
  },
  {
    what: 'silent within a request of socks',
    inbound: mixed,
    first: '\x05\x01\x00\x05\x01\x00\x03\xff',
    answer: '\x05\x00',
  },
  {
    what: 'silent within a head of http',
    inbound: http,
    first: 'GET http://localhost/ HTTP/1.1\r\n',
  },
  { what: 'dripping methods into socks', inbound: socks, first: '\x05\xff', drip: '\x02' },
  {
    what: 'dripping a user into SOCKS4',
    inbound: socks,
    first: '\x04\x01\x00\x50\x7f\x00\x00\x01',
    drip: 'u',
  },
  {
    what: 'dripping a password into socks',
    inbound: { ...mixed, ...password },
    first: '\x05\x01\x02\x01\xff',
    drip: 'p',
    answer: '\x05\x02',
  },
  {
    what: 'dripping a domain into socks',
    inbound: mixed,
    first: '\x05\x01\x00\x05\x01\x00\x03\xff',
    drip: 'd',
    answer: '\x05\x00',
  },
  { what: 'dripping a head into http', inbound: http, drip: endlessHttp },
  { what: 'dripping a head into mixed', inbound: mixed, drip: endlessHttp },
  {
    what: 'dripping fields into http',
    inbound: http,
    first: 'CONNECT a:1 HTTP/1.1\r\n',
    drip: 'X: y\r\n',
  },
  {
    what: 'dripping a PROXY line',
    inbound: {
      protocol: 'dokodemo-door',
      settings: { address: '127.0.0.1', port: 9 },
      ...acceptProxyProtocol,
    },
    drip: 'PROXY UNKNOWN and so on, for as long as it takes',
  },
]

describe('a client that does not come to the point', { concurrency: true }, () => {
  // All at once, on one bench: each of these takes as long as the deadline.
  const bench = new Bench()
  after(() => bench[Symbol.asyncDispose]())
  for (const { what, inbound, first, drip, answer } of clients) {
    it(`is closed by the deadline of the handshake and not before when ${what}`, async () => {
      const proxy = await bench.proxy({
        inbounds: [{ tag: 'in', ...inbound }],
        policy: { handshakeMs },
      })
      const startedMs = performance.now()
      const client = await bench.client(proxy.port())
      client.socket.setNoDelay(true)
      if (first !== undefined) client.send(first)
      const dripping = drip === undefined ? null : dripInto(client, drip)
      await client.over
      const tookMs = performance.now() - startedMs
      clearInterval(dripping ?? undefined)
      assert.ok(tookMs >= handshakeMs && tookMs < handshakeMs * 10, `${String(tookMs)} ms`)
      assert.equal((await client.readAll()).toString('latin1'), answer ?? '')
      const record = await proxy.ended()
      expectRecord(record, {
        inbound: 'in',
        source: `127.0.0.1:${String(client.port)}`,
        target: null,
        outbound: null,
        stage: 'accepting',
        reason: 'handshake-timeout',
        side: 'near',
        code: 'flow.handshake-timeout',
        up: 0,
        down: 0,
      })
      assert.ok(record.durationMs >= handshakeMs, String(record.durationMs))
    })
  }
})

describe('a client that stays after a refusal', { concurrency: true }, () => {
  const bench = new Bench()
  after(() => bench[Symbol.asyncDispose]())
  const request = (port: number): string =>
    `GET http://127.0.0.1:${String(port)}/ HTTP/1.1\r\nHost: x\r\n\r\n`
  const refusals: readonly (readonly [
    what: string,
    inbound: Readonly<Record<string, unknown>>,
    say: (port: number) => string,
    expected: Expected,
  ])[] = [
    [
      'of its password by socks',
      { ...socks, ...password },
      () => '\x05\x01\x02\x01\x03ann\x04nope',
      { stage: 'accepting', code: 'socks.not-authenticated' },
    ],
    [
      'of its password by http',
      { ...mixed, ...password },
      request,
      { stage: 'accepting', code: 'http.not-authenticated' },
    ],
    ['of its target by socks', mixed, socksTo, { stage: 'dialing', code: 'net.refused' }],
    ['of its target by http', http, request, { stage: 'dialing', code: 'net.refused' }],
  ]
  for (const [what, inbound, say, expected] of refusals) {
    it(`${what} is reset a second later`, async () => {
      const port = await unusedPort()
      const proxy = await bench.proxy({ inbounds: [{ tag: 'in', ...inbound }] })
      const client = await bench.client(proxy.port())
      client.send(say(port))
      assert.ok((await client.readAll()).length > 0)
      const record = await proxy.ended()
      expectRecord(record, { ...expected, reason: 'refused' })
      assert.ok(record.durationMs >= 1_000 && record.durationMs < 10_000, String(record.durationMs))
    })
  }

  it('keeps the reason of the refusal beyond the deadline', async () => {
    const clock = new JumpingClock()
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', ...socks, ...password }],
      policy: { handshakeMs: 500 },
      clock,
    })
    const client = await bench.client(proxy.port())
    client.send('\x05\x01\x00')
    assert.equal((await client.readAll()).toString('hex'), '05ff')
    clock.jump(500, 0)
    expectRecord(await proxy.ended(), { reason: 'refused', code: 'socks.not-authenticated' })
  })
})

function socksTo(port: number): string {
  return `\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01${String.fromCharCode(port >> 8, port & 255)}`
}

describe('five hundred slow clients', () => {
  it('keep nobody else from being served at once', async () => {
    await using bench = new Bench()
    const origin = await bench.echo()
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', ...mixed }],
      policy: { handshakeMs },
    })
    const slow = await Promise.all(
      Array.from({ length: 500 }, async (_, at) => {
        const client = await bench.client(proxy.port())
        client.send(['', '\x05', 'G', '\x05\x01\x00\x05'][at % 4] ?? '')
        return client
      }),
    )
    const quick = await bench.client(proxy.port())
    quick.send(`${socksTo(origin.port)}hello`)
    assert.equal((await quick.read(17)).subarray(12).toString(), 'hello')
    quick.end()
    assert.equal(await quick.over, 'end')
    await Promise.all(slow.map(client => client.over))
    const reasons = (await proxy.endedAll(501)).map(({ reason }) => reason).sort()
    assert.deepEqual(reasons, ['clean', ...Array.from({ length: 500 }, () => 'handshake-timeout')])
  })
})

describe('a port forward', () => {
  it('has no handshake that a silent client could miss', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const proxy = await bench.proxy({
      inbounds: [
        {
          tag: 'in',
          protocol: 'dokodemo-door',
          settings: { address: '127.0.0.1', port: origin.port },
        },
      ],
      policy: { handshakeMs: 50, connIdleMs: 400 },
    })
    const client = await bench.client(proxy.port())
    const far = await origin.accepted()
    // The idle timer is the event that says: long after the deadline it was still there.
    assert.equal(await client.over, 'reset')
    assert.equal(await far.over, 'reset')
    const record = await proxy.ended()
    expectRecord(record, { stage: 'relaying', reason: 'idle', side: 'local', up: 0, down: 0 })
    assert.ok(record.durationMs >= 400, String(record.durationMs))
  })
})

function dripInto(client: Client, text: string): NodeJS.Timeout {
  let at = 0
  return setInterval(() => {
    if (client.socket.writable) client.send(text[at % text.length] ?? '')
    at += 1
  }, intervalMs)
}
