import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Bench, type Proxy } from '../support/proxy-bench.ts'
import type { Client } from '../support/proxy-client.ts'
import { JumpingClock } from '../support/proxy-clock.ts'
import { expectRecord } from '../support/proxy-expect.ts'
import { hasPeer } from '../support/proxy-peers.ts'
import { becomes } from '../support/proxy-wait.ts'
import { seenIn, webOrigin } from '../support/proxy-web.ts'

const sockopt = { streamSettings: { sockopt: { acceptProxyProtocol: true } } }
const socksHello = Buffer.from('050100', 'hex')

/** `[signature][2 and command][family and transport][size][block]` of version 2, written by hand. */
function version2(command: number, family: number, block: string): Buffer {
  const body = Buffer.from(block, 'hex')
  const head = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
  return Buffer.concat([head, Buffer.from([0x20 | command, family, 0, body.length]), body])
}

function socksConnect(port: number): Buffer {
  return Buffer.concat([socksHello, Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255])])
}

const six = (last: string): string => `20010db8${'00'.repeat(11)}${last}`

describe('an inbound that accepts the PROXY protocol', () => {
  const named: readonly (readonly [what: string, header: Buffer, source: string | null])[] = [
    [
      'line for IPv4',
      Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n'),
      '192.0.2.1:5000',
    ],
    [
      'line for IPv6',
      Buffer.from('PROXY TCP6 2001:db8::1 2001:db8::2 7 443\r\n'),
      '[2001:db8::1]:7',
    ],
    ['line that does not know', Buffer.from('PROXY UNKNOWN whatever it says\r\n'), null],
    ['binary header for IPv4', version2(1, 0x11, 'c0000201c6336402138801bb'), '192.0.2.1:5000'],
    [
      'binary header for IPv6 with more values',
      version2(1, 0x21, `${six('01')}${six('02')}000701bb040003616263`),
      '[2001:db8::1]:7',
    ],
    ['binary header of a health check', version2(0, 0x11, 'c0000201c6336402138801bb'), null],
    ['binary header without addresses', version2(1, 0x00, ''), null],
  ]
  for (const [what, header, source] of named) {
    for (const cut of ['whole', 'in single bytes'] as const) {
      it(`takes the source from a ${what}, sent ${cut}`, async () => {
        await using bench = new Bench()
        const origin = await bench.echo()
        const proxy = await bench.proxy({
          inbounds: [{ tag: 'in', protocol: 'mixed', ...sockopt }],
        })
        const client = await bench.client(proxy.port())
        const own = `127.0.0.1:${String(client.port)}`
        const bytes = Buffer.concat([header, socksConnect(origin.port), Buffer.from('early')])
        client.socket.setNoDelay(true)
        if (cut === 'whole') client.send(bytes)
        else for (const byte of bytes) await client.sent(Buffer.from([byte]))
        client.end()
        const answer = await client.readAll()
        assert.deepEqual([...answer.subarray(0, 12)], [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        assert.equal(answer.subarray(12).toString(), 'early')
        expectRecord(await proxy.ended(), {
          source: source ?? own,
          target: `127.0.0.1:${String(origin.port)}`,
          reason: 'clean',
          up: 5,
          down: 5,
        })
      })
    }
  }

  const wrong: readonly (readonly [what: string, bytes: Buffer, code: string])[] = [
    ['no header', socksHello, 'absent'],
    ['a line with LF alone', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n'), 'bad-line'],
    ['a line of another family', Buffer.from('PROXY TCP4 ::1 ::1 1 2\r\n'), 'bad-line'],
    ['a port over 65535', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n'), 'bad-line'],
    ['an endless line', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`), 'line-too-long'],
    ['version 3', Buffer.from('0d0a0d0a000d0a515549540a31110000', 'hex'), 'bad-version'],
    ['an unknown command', version2(2, 0x11, 'c0000201c6336402138801bb'), 'bad-command'],
    ['a block that is too short', version2(1, 0x11, 'c0000201'), 'bad-address'],
    ['a value that is too long', version2(1, 0x11, 'c0000201c6336402138801bb04ffff00'), 'bad-tlv'],
    [
      'a wrong checksum',
      version2(1, 0x11, 'c0000201c6336402138801bb03000400000000'),
      'bad-checksum',
    ],
  ]
  for (const [what, bytes, code] of wrong) {
    it(`resets a connection with ${what}, and nothing is dialled`, async () => {
      await using bench = new Bench()
      const origin = await bench.origin()
      const proxy = await bench.proxy({
        inbounds: [
          {
            tag: 'in',
            protocol: 'dokodemo-door',
            settings: { address: '127.0.0.1', port: origin.port },
            ...sockopt,
          },
        ],
      })
      const client = await bench.client(proxy.port())
      const source = `127.0.0.1:${String(client.port)}`
      client.send(bytes)
      assert.equal(await client.over, 'reset')
      expectRecord(await proxy.ended(), {
        source,
        target: null,
        outbound: null,
        stage: 'accepting',
        reason: 'error',
        side: 'near',
        code: `proxy-protocol.${code}`,
      })
      assert.equal(origin.clients.length, 0)
    })
  }

  it('names the source of a client that is refused, too', async () => {
    await using bench = new Bench()
    const accounts = [{ user: 'ann', pass: 'pass' }]
    const proxy = await bench.proxy({
      inbounds: [
        { tag: 'in', protocol: 'mixed', settings: { auth: 'password', accounts }, ...sockopt },
      ],
    })
    const client = await bench.client(proxy.port())
    client.send(
      'PROXY TCP4 192.0.2.1 192.0.2.2 5000 1\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    )
    assert.match((await client.readAll()).toString(), /^HTTP\/1\.1 407 /)
    client.end()
    expectRecord(await proxy.ended(), {
      source: '192.0.2.1:5000',
      stage: 'accepting',
      reason: 'refused',
      code: 'http.not-authenticated',
    })
  })

  it('resets a connection whose header is cut off by an end or by the deadline', async () => {
    await using bench = new Bench()
    const clock = new JumpingClock()
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'socks', ...sockopt }],
      clock,
    })
    const ended = await bench.client(proxy.port())
    ended.send('PROXY TCP4 1.2')
    ended.end()
    assert.equal(await ended.over, 'reset')
    expectRecord(await proxy.ended(), { reason: 'error', code: 'head.cut', stage: 'accepting' })
    const silent = await bench.client(proxy.port())
    silent.send('PROXY TCP4 1.2')
    assert.ok(await becomes(() => proxy.engine.flows === 1))
    clock.jump(10_000, 0)
    assert.equal(await silent.over, 'reset')
    expectRecord(await proxy.ended(), { reason: 'handshake-timeout', stage: 'accepting' })
  })
})

describe('freedom with proxyProtocol', () => {
  it('sends the line of version 1 before the first byte', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const { client, proxy } = await forwarded(bench, origin.port, 1)
    client.send('payload')
    const seen = await origin.accepted()
    const expected = `PROXY TCP4 127.0.0.1 127.0.0.1 ${String(client.port)} ${String(origin.port)}\r\n`
    assert.equal((await seen.read(expected.length + 7)).toString(), `${expected}payload`)
    client.end()
    seen.end()
    expectRecord(await proxy.ended(), { reason: 'clean', up: 7 })
  })

  it('sends the binary header of version 2 before the first byte', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const { client, proxy } = await forwarded(bench, origin.port, 2)
    const seen = await origin.accepted()
    const ports = [client.port >> 8, client.port & 255, origin.port >> 8, origin.port & 255]
    const block = `7f0000017f000001${Buffer.from(ports).toString('hex')}`
    assert.deepEqual(await seen.read(28), version2(1, 0x11, block))
    seen.send('the origin may speak first')
    assert.equal((await client.read(26)).toString(), 'the origin may speak first')
    client.end()
    seen.end()
    expectRecord(await proxy.ended(), { reason: 'clean', up: 0, down: 26 })
  })

  it('passes on the source that came in a header', async () => {
    await using bench = new Bench()
    const origin = await bench.origin()
    const { client } = await forwarded(bench, origin.port, 1, sockopt)
    client.send('PROXY TCP6 2001:db8::1 2001:db8::2 7 443\r\nhello')
    const seen = await origin.accepted()
    const ports = `7 ${String(origin.port)}`
    assert.equal(await seen.readUntil('\r\n'), `PROXY TCP6 2001:db8::1 ::ffff:7f00:1 ${ports}\r\n`)
    assert.equal((await seen.read(5)).toString(), 'hello')
  })
})

async function forwarded(
  bench: Bench,
  port: number,
  proxyProtocol: number,
  more: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly client: Client; readonly proxy: Proxy }> {
  const proxy = await bench.proxy({
    inbounds: [
      { tag: 'in', protocol: 'dokodemo-door', settings: { address: '127.0.0.1', port }, ...more },
    ],
    outbounds: [{ tag: 'direct', protocol: 'freedom', settings: { proxyProtocol } }],
  })
  return { client: await bench.client(proxy.port()), proxy }
}

describe('HAProxy', () => {
  for (const send of ['send-proxy', 'send-proxy-v2', 'send-proxy-v2 proxy-v2-options crc32c']) {
    it(`tells with ${send} for whom it connects`, async t => {
      if (!(await hasPeer(t, 'haproxy', '-v'))) return
      await using bench = new Bench()
      const origin = await bench.echo()
      const proxy = await bench.proxy({
        inbounds: [
          {
            tag: 'in',
            protocol: 'dokodemo-door',
            settings: { address: '127.0.0.1', port: origin.port },
            ...sockopt,
          },
        ],
      })
      const front = await haproxy(bench, '', [
        'mode tcp',
        `server sluice 127.0.0.1:${String(proxy.port())} ${send}`,
      ])
      const client = await bench.client(front, { from: '127.0.0.77' })
      client.send('hello through both')
      assert.equal((await client.read(18)).toString(), 'hello through both')
      const source = `127.0.0.77:${String(client.port)}`
      client.end()
      assert.equal(await client.over, 'end')
      expectRecord(await proxy.ended(), { source, reason: 'clean', up: 18, down: 18 })
    })
  }

  for (const version of [1, 2] as const) {
    it(`believes the header of version ${String(version)} that Sluice sends`, async t => {
      if (!(await hasPeer(t, 'haproxy', '-v'))) return
      await using bench = new Bench()
      const web = await bench.web(webOrigin('behind'))
      const back = await haproxy(bench, 'accept-proxy', [
        'mode http',
        'http-request set-header X-Source %[src]:%[src_port]',
        'http-request set-header X-Target %[dst]:%[dst_port]',
        `server origin 127.0.0.1:${String(web)}`,
      ])
      const { client, proxy } = await forwarded(bench, back, version)
      client.send('GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
      const answer = (await client.readAll()).toString()
      const seen = seenIn(Buffer.from(/\{.*\}/.exec(answer)?.[0] ?? ''))
      assert.equal(seen.headers['x-source'], `127.0.0.1:${String(client.port)}`)
      assert.equal(seen.headers['x-target'], `127.0.0.1:${String(back)}`)
      client.end()
      expectRecord(await proxy.ended(), { stage: 'relaying', reason: 'clean' })
    })
  }
})

/** Runs HAProxy with one proxy of these lines; gives the port it listens on, which takes connections now. */
async function haproxy(bench: Bench, bind: string, lines: readonly string[]): Promise<number> {
  const file = join(await bench.folder(), 'haproxy.cfg')
  const text = [
    'defaults',
    '  timeout connect 5s',
    '  timeout client 30s',
    '  timeout server 30s',
    'listen one',
    `  bind fd@3 ${bind}`,
    ...lines.map(line => `  ${line}`),
    '',
  ].join('\n')
  await writeFile(file, text)
  return bench.listeningProgram('haproxy', ['-db', '-f', file])
}
