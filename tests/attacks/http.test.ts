import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { Bench, type Origin, type Proxy } from '../support/proxy-bench.ts'
import type { Client } from '../support/proxy-client.ts'
import { expectRecord } from '../support/proxy-expect.ts'
import { sha256 } from '../support/proxy-web.ts'

/** In requests below: the origin, as `127.0.0.1:port`. */
const at = 'ORIGIN'
const get = `GET http://${at}/ HTTP/1.1\r\nHost: ${at}\r\n`
const post = `POST http://${at}/ HTTP/1.1\r\nHost: ${at}\r\n`
const second = `GET http://${at}/second HTTP/1.1\r\nHost: ${at}\r\n\r\n`

interface Hostile {
  readonly what: string
  readonly request: string
  /** The code in the record, without its area. */
  readonly code: string
  readonly status?: 400 | 431
}

const refused: readonly Hostile[] = [
  {
    what: 'a length beside chunks',
    request: `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${second}`,
    code: 'length-and-coding',
  },
  {
    what: 'chunks beside a length',
    request: `${post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${second}`,
    code: 'length-and-coding',
  },
  {
    what: 'two equal lengths',
    request: `${post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    code: 'several-lengths',
  },
  {
    what: 'a list of lengths',
    request: `${post}Content-Length: 3, 3\r\n\r\nabc`,
    code: 'several-lengths',
  },
  { what: 'a signed length', request: `${post}Content-Length: +3\r\n\r\nabc`, code: 'bad-length' },
  {
    what: 'a hexadecimal length',
    request: `${post}Content-Length: 0x3\r\n\r\nabc`,
    code: 'bad-length',
  },
  { what: 'an empty length', request: `${post}Content-Length:\r\n\r\n`, code: 'bad-length' },
  {
    what: 'a length of 2^63',
    request: `${post}Content-Length: 9223372036854775808\r\n\r\n`,
    code: 'length-too-large',
  },
  { what: 'another coding', request: `${post}Transfer-Encoding: gzip\r\n\r\n`, code: 'bad-coding' },
  {
    what: 'two codings',
    request: `${post}Transfer-Encoding: chunked, identity\r\n\r\n`,
    code: 'bad-coding',
  },
  {
    what: 'chunked twice',
    request: `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    code: 'bad-coding',
  },
  {
    what: 'a coding that looks like chunked',
    request: `${post}Transfer-Encoding: \x0bchunked\r\n\r\n`,
    code: 'control-character',
  },
  {
    what: 'chunks in HTTP/1.0',
    request: `POST http://${at}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    code: 'old-coding',
  },
  { what: 'a folded field', request: `${get}X: a\r\n b\r\n\r\n`, code: 'folded-field' },
  {
    what: 'a folded first field',
    request: `GET http://${at}/ HTTP/1.1\r\n Host: ${at}\r\n\r\n`,
    code: 'folded-field',
  },
  { what: 'LF alone', request: `GET http://${at}/ HTTP/1.1\nHost: ${at}\n\n`, code: 'bare-lf' },
  {
    what: 'LF alone after one field',
    request: `${get}X: a\nTransfer-Encoding: chunked\r\n\r\n`,
    code: 'bare-lf',
  },
  { what: 'CR alone', request: `${get}X: a\rY: b\r\n\r\n`, code: 'bare-cr' },
  { what: 'a NUL', request: `${get}X: a\0b\r\n\r\n`, code: 'control-character' },
  {
    what: 'a space before a colon',
    request: `${post}Content-Length : 3\r\n\r\nabc`,
    code: 'space-before-colon',
  },
  { what: 'a field without a colon', request: `${get}nonsense\r\n\r\n`, code: 'no-colon' },
  { what: 'a field without a name', request: `${get}: x\r\n\r\n`, code: 'empty-name' },
  { what: 'several Hosts', request: `${get}Host: other\r\n\r\n`, code: 'several-hosts' },
  { what: 'no Host', request: `GET http://${at}/ HTTP/1.1\r\n\r\n`, code: 'no-host' },
  {
    what: 'a list for a Host',
    request: `GET http://${at}/ HTTP/1.1\r\nHost: a, b\r\n\r\n`,
    code: 'bad-host',
  },
  {
    what: 'a Host with a path',
    request: `GET http://${at}/ HTTP/1.1\r\nHost: a/b\r\n\r\n`,
    code: 'bad-host',
  },
  {
    what: 'another version',
    request: `GET http://${at}/ HTTP/2.0\r\nHost: a\r\n\r\n`,
    code: 'bad-version',
  },
  {
    what: 'a version that goes on',
    request: `GET http://${at}/ HTTP/1.1.1\r\nHost: a\r\n\r\n`,
    code: 'bad-version',
  },
  { what: 'no version', request: `GET http://${at}/\r\n\r\n`, code: 'bad-request-line' },
  {
    what: 'two spaces',
    request: `GET  http://${at}/ HTTP/1.1\r\nHost: a\r\n\r\n`,
    code: 'bad-request-line',
  },
  {
    what: 'a method that is no token',
    request: `G(T http://${at}/ HTTP/1.1\r\nHost: a\r\n\r\n`,
    code: 'bad-method',
  },
  { what: 'origin-form', request: `GET / HTTP/1.1\r\nHost: ${at}\r\n\r\n`, code: 'bad-target' },
  {
    what: 'another scheme',
    request: `GET ftp://${at}/ HTTP/1.1\r\nHost: ${at}\r\n\r\n`,
    code: 'bad-target',
  },
  {
    what: 'a user in the target',
    request: `GET http://a@${at}/ HTTP/1.1\r\nHost: ${at}\r\n\r\n`,
    code: 'bad-target',
  },
  {
    what: 'a fragment',
    request: `GET http://${at}/#x HTTP/1.1\r\nHost: ${at}\r\n\r\n`,
    code: 'bad-target',
  },
  {
    what: 'port 0',
    request: 'GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: a\r\n\r\n',
    code: 'bad-target',
  },
  {
    what: 'port 65536',
    request: 'CONNECT 127.0.0.1:65536 HTTP/1.1\r\nHost: a\r\n\r\n',
    code: 'bad-target',
  },
  {
    what: 'CONNECT without a port',
    request: 'CONNECT 127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n',
    code: 'bad-target',
  },
  {
    what: 'CONNECT to a path',
    request: 'CONNECT /etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n',
    code: 'bad-target',
  },
  {
    what: 'an address in disguise',
    request: 'CONNECT 0x7f.1:80 HTTP/1.1\r\nHost: a\r\n\r\n',
    code: 'bad-target',
  },
  {
    what: 'a TLS hello',
    request: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    code: 'control-character',
  },
  {
    what: 'a line of 16 KiB',
    request: `${get}X: ${'x'.repeat(16_384)}\r\n\r\n`,
    code: 'head-too-large',
    status: 431,
  },
  {
    what: '129 fields',
    request: `${get}${'X: y\r\n'.repeat(128)}\r\n`,
    code: 'head-too-large',
    status: 431,
  },
]

describe('an HTTP proxy refuses', () => {
  for (const { what, request, code, status = 400 } of refused) {
    it(`${what}, and the origin never hears of it`, async () => {
      await using bench = new Bench()
      const { origin, client, proxy, send } = await setUp(bench)
      send(request)
      const answer = (await client.readAll()).toString('latin1')
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${String(status)} `))
      assert.match(answer, /\r\nConnection: close\r\n/)
      client.end()
      expectRecord(await proxy.ended(), {
        target: null,
        outbound: null,
        stage: 'accepting',
        side: 'near',
        code: `http.${code}`,
        up: 0,
        down: 0,
      })
      assert.equal(origin.clients.length, 0)
    })
  }

  for (const [what, piece] of [
    ['one endless line', 'x'.repeat(4_096)],
    ['64 k short lines', 'a: b\r\n'.repeat(64)],
    ['endless empty-valued lines', 'a:\r\n'.repeat(128)],
  ] as const) {
    it(`${what} within 64 KiB`, async () => {
      await using bench = new Bench()
      const { origin, client, proxy, send } = await setUp(bench)
      send(get)
      let sentBytes = 0
      // As much as it takes; the bound is far over what a head and the drop after it may be.
      while (sentBytes < 16 * 1_048_576 && !client.socket.destroyed) {
        await client.sent(Buffer.from(piece, 'latin1'))
        sentBytes += piece.length
      }
      await client.over
      const record = await proxy.ended()
      expectRecord(record, { stage: 'accepting', side: 'near', outbound: null, up: 0, down: 0 })
      assert.match(String(record.code), /^(?:http\.head-too-large|head\.too-large)$/)
      assert.equal(origin.clients.length, 0)
    })
  }
})

/** What is forwarded of a request to `/`, and nothing else. */
const forwardedGet = `GET / HTTP/1.1\r\nHost: ${at}\r\nConnection: close\r\n\r\n`
const forwardedPost = (field: string): string =>
  `POST / HTTP/1.1\r\nHost: ${at}\r\n${field}\r\nConnection: close\r\n\r\n`

interface Forwarded {
  readonly what: string
  readonly request: string
  /** Every byte that the origin gets. */
  readonly seen: string
}

const forwarded: readonly Forwarded[] = [
  {
    what: 'with the Host of its target in place of another one',
    request: `GET http://${at}/ HTTP/1.1\r\nHost: evil.example\r\n\r\n`,
    seen: forwardedGet,
  },
  {
    what: 'with a Host where HTTP/1.0 has none',
    request: `GET http://${at}/ HTTP/1.0\r\n\r\n`,
    seen: forwardedGet.replace('1.1', '1.0'),
  },
  { what: 'without a second one behind it', request: `${get}\r\n${second}`, seen: forwardedGet },
  {
    what: 'without ten more behind it',
    request: `${get}\r\n${second.repeat(10)}`,
    seen: forwardedGet,
  },
  {
    what: 'without what follows a body with a length',
    request: `${post}Content-Length: 4\r\n\r\nbody${second}`,
    seen: `${forwardedPost('Content-Length: 4')}body`,
  },
  {
    what: 'without what follows a body of no bytes',
    request: `${post}Content-Length: 0\r\n\r\n${second}`,
    seen: forwardedPost('Content-Length: 0'),
  },
  {
    what: 'without what follows chunks',
    request: `${post}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n${second}`,
    seen: `${forwardedPost('Transfer-Encoding: chunked')}4\r\nbody\r\n0\r\n\r\n`,
  },
  {
    what: 'with a request that is its body',
    request: `${post}Content-Length: 36\r\n\r\nGET /second HTTP/1.1\r\nHost: host\r\n\r\n`,
    seen: `${forwardedPost('Content-Length: 36')}GET /second HTTP/1.1\r\nHost: host\r\n\r\n`,
  },
  {
    what: 'without the fields of one connection only',
    request:
      `${get}Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n` +
      'Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\n' +
      'Proxy-Authorization: Basic YTpi\r\nX-End: 1\r\n\r\n',
    seen: forwardedGet.replace('Connection', 'X-End: 1\r\nConnection'),
  },
  {
    what: 'with its path and query untouched',
    request: `GET http://${at}/a/../b?c=%0d%0aX:y&d=//e HTTP/1.1\r\nHost: ${at}\r\n\r\n`,
    seen: forwardedGet.replace(' / ', ' /a/../b?c=%0d%0aX:y&d=//e '),
  },
]

const answerOnce = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const answered = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'

describe('an HTTP proxy forwards a request once', () => {
  for (const { what, request, seen } of forwarded) {
    for (const cut of ['at once', 'in single bytes'] as const) {
      it(`${what}, sent ${cut}`, async () => {
        await using bench = new Bench()
        const { origin, client, proxy, send } = await setUp(bench)
        client.socket.setNoDelay(true)
        if (cut === 'at once') send(request)
        else for (const byte of bytesOf(request, origin)) await client.sent(Buffer.from([byte]))
        const far = await origin.accepted()
        const expected = bytesOf(seen, origin)
        assert.equal(
          (await far.read(expected.length)).toString('latin1'),
          expected.toString('latin1'),
        )
        far.send(answerOnce)
        far.end()
        assert.equal((await client.readAll()).toString(), answered)
        // What comes after the answer is no request either.
        send(second)
        client.end()
        assert.equal((await far.readAll()).toString('latin1'), '')
        assert.equal(origin.clients.length, 1)
        expectRecord(await proxy.ended(), {
          stage: 'relaying',
          reason: 'clean',
          up: expected.length,
        })
      })
    }
  }

  it('and ends a client that goes on and on behind it', async () => {
    await using bench = new Bench()
    const { origin, client, proxy, send } = await setUp(bench)
    send(`${get}\r\n`)
    const far = await origin.accepted()
    const expected = bytesOf(forwardedGet, origin)
    await far.read(expected.length)
    let sentBytes = 0
    while (sentBytes < 16 * 1_048_576 && !client.socket.destroyed) {
      await client.sent(bytesOf(second.repeat(64), origin))
      sentBytes += second.length * 64
    }
    assert.equal(await far.over, 'reset')
    assert.equal(far.receivedBytes, expected.length)
    assert.equal(await client.over, 'reset')
    expectRecord(await proxy.ended(), {
      stage: 'relaying',
      reason: 'error',
      side: 'near',
      code: 'http.second-request',
      up: expected.length,
    })
  })

  const broken: readonly (readonly [what: string, chunk: string, code: string])[] = [
    ['a chunk of 2^63 bytes', '8000000000000000\r\n', 'chunk-too-large'],
    ['a chunk size of 17 digits', '00000000000000001\r\n', 'chunk-too-large'],
    ['a chunk size with a sign', '+4\r\nbody\r\n', 'bad-chunk-size'],
    ['a chunk size with a prefix', '0x4\r\nbody\r\n', 'bad-chunk-size'],
    ['a chunk size that ends in LF', '4\nbody\r\n', 'bare-lf'],
    ['a chunk that is longer than it says', '3\r\nbody\r\n', 'bad-chunk-end'],
    ['an endless extension', `4;${'x'.repeat(2_000)}`, 'extension-too-large'],
    ['an extension with LF', `4;a\n0\r\n\r\n`, 'bare-lf'],
    ['endless trailers', `0\r\n${'a: b\r\n'.repeat(2_000)}`, 'trailer-too-large'],
    ['a folded trailer', '0\r\nA: b\r\n c\r\n\r\n', 'folded-field'],
  ]
  for (const [what, chunk, code] of broken) {
    it(`and resets the origin after ${what}`, async () => {
      await using bench = new Bench()
      const { origin, client, proxy, send } = await setUp(bench)
      send(`${post}Transfer-Encoding: chunked\r\n\r\n`)
      const far = await origin.accepted()
      const expected = bytesOf(forwardedPost('Transfer-Encoding: chunked'), origin)
      await far.read(expected.length)
      send(`${chunk}${second}`)
      assert.equal(await far.over, 'reset')
      assert.equal(await client.over, 'reset')
      assert.equal(origin.clients.length, 1)
      expectRecord(await proxy.ended(), {
        stage: 'relaying',
        reason: 'error',
        side: 'near',
        code: `http.${code}`,
        up: expected.length,
      })
    })
  }

  it('with a chunk of 4 GiB as it comes, in which a request is only body', async () => {
    await using bench = new Bench()
    const { origin, client, proxy, send } = await setUp(bench)
    const body = `100000000\r\n${second}`
    send(`${post}Transfer-Encoding: chunked\r\n\r\n${body}`)
    const far = await origin.accepted()
    const expected = bytesOf(`${forwardedPost('Transfer-Encoding: chunked')}${body}`, origin)
    assert.equal((await far.read(expected.length)).toString(), expected.toString())
    client.end()
    assert.equal((await far.readAll()).length, 0)
    far.send('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')
    far.end()
    assert.match((await client.readAll()).toString(), /^HTTP\/1\.1 400 /)
    expectRecord(await proxy.ended(), { reason: 'clean', up: expected.length })
    assert.equal(origin.clients.length, 1)
  })

  it('to each of two origins, never to the first one again', async () => {
    await using bench = new Bench()
    const one = await bench.origin()
    const two = await bench.origin()
    const proxy = await bench.proxy({ inbounds: [{ tag: 'in', protocol: 'http' }] })
    const client = await bench.client(proxy.port())
    client.send(bytesOf(`${get}\r\n`, one))
    client.send(bytesOf(`${get}\r\n`, two))
    const far = await one.accepted()
    await far.readUntil('\r\n\r\n')
    far.send(answerOnce)
    far.end()
    assert.equal((await client.readAll()).toString(), answered)
    client.end()
    assert.equal((await far.readAll()).length, 0)
    assert.equal(two.clients.length, 0)
    expectRecord(await proxy.ended(), { target: `127.0.0.1:${String(one.port)}`, reason: 'clean' })
  })
})

describe('an HTTP proxy passes on what an origin says', () => {
  const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'
  const long = `HTTP/1.1 200 OK\r\n${`X: ${'x'.repeat(1_000)}\r\n`.repeat(100)}\r\nbody`
  const asItComes: readonly (readonly [what: string, said: string])[] = [
    ['what is not HTTP at all', 'SSH-2.0-x\r\n\r\n'],
    ['lines that end in LF alone', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    ['a head of 100 KB', long],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-'],
    [
      'contradicting lengths',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok',
    ],
    ['nothing', ''],
  ]
  const changed: readonly (readonly [what: string, said: string, heard: string])[] = [
    [
      'a connection that would be kept',
      'HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok',
      answered,
    ],
    [
      'a hundred interim answers',
      `${hints.repeat(100)}${answerOnce}`,
      `${hints.repeat(100)}${answered}`,
    ],
    ['a second answer', `${answerOnce}${answerOnce}`, `${answered}${answerOnce}`],
  ]
  const all = [...asItComes.map(([what, said]) => [what, said, said] as const), ...changed]
  for (const [what, said, heard] of all) {
    for (const cut of ['at once', 'in single bytes'] as const) {
      if (said === long && cut !== 'at once') continue
      it(`${what}, sent ${cut}`, async () => {
        await using bench = new Bench()
        const { origin, client, proxy, send } = await setUp(bench)
        send(`${get}\r\n`)
        const far = await origin.accepted()
        await far.readUntil('\r\n\r\n')
        far.socket.setNoDelay(true)
        if (cut === 'at once') far.send(said)
        else for (const byte of Buffer.from(said)) await far.sent(Buffer.from([byte]))
        far.end()
        assert.equal((await client.readAll()).toString(), heard)
        assert.equal(await client.over, 'end')
        client.end()
        expectRecord(await proxy.ended(), { reason: 'clean', stage: 'relaying' })
      })
    }
  }
})

describe('an HTTP CONNECT', () => {
  it('delivers data sent before its answer, after the answer', async () => {
    await using bench = new Bench()
    const origin = await bench.echo()
    const proxy = await bench.proxy({ inbounds: [{ tag: 'in', protocol: 'mixed' }] })
    const client = await bench.client(proxy.port())
    const early = randomBytes(300_000)
    const head = bytesOf(
      `CONNECT ${at} HTTP/1.1\r\nHost: ${at}\r\nContent-Length: 5\r\n\r\n`,
      origin,
    )
    client.send(Buffer.concat([head, early]))
    client.end()
    assert.match(await client.readUntil('\r\n\r\n'), /^HTTP\/1\.1 200 [^\r\n]*\r\n\r\n$/)
    assert.equal(sha256(await client.readAll()), sha256(early))
    expectRecord(await proxy.ended(), { reason: 'clean', up: early.length, down: early.length })
  })
})

describe('an HTTP proxy that asks for users', () => {
  const accounts = [{ user: 'ann', pass: 'pass' }]
  const field = (value: string): string => `Proxy-Authorization: ${value}\r\n`
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const wrong: readonly (readonly [what: string, fields: string])[] = [
    ['nothing', ''],
    ['an empty field', field('')],
    ['another scheme', field(`Bearer ${base64('ann:pass')}`)],
    ['credentials without a colon', field(`Basic ${base64('annpass')}`)],
    ['an empty password', field(`Basic ${base64('ann:')}`)],
    ['base64 that is not whole', field(`Basic ${base64('ann:pass').slice(0, -2)}`)],
    ['a user of 9,000 bytes', field(`Basic ${base64(`${'a'.repeat(9_000)}:pass`)}`)],
    [
      'the wrong ones first',
      field(`Basic ${base64('ann:no')}`) + field(`Basic ${base64('ann:pass')}`),
    ],
  ]
  for (const [what, fields] of wrong) {
    it(`says 407 to ${what}, and the request behind it is dropped`, async () => {
      await using bench = new Bench()
      const origin = await bench.origin()
      const proxy = await bench.proxy({
        inbounds: [{ tag: 'in', protocol: 'http', settings: { accounts } }],
      })
      const client = await bench.client(proxy.port())
      const good = `${get}${field(`Basic ${base64('ann:pass')}`)}\r\n`
      client.send(bytesOf(`${get}${fields}\r\n${good}`, origin))
      const answer = (await client.readAll()).toString()
      assert.match(answer, /^HTTP\/1\.1 407 .*\r\nProxy-Authenticate: Basic realm=/)
      client.end()
      expectRecord(await proxy.ended(), {
        user: null,
        target: null,
        stage: 'accepting',
        reason: 'refused',
        code: 'http.not-authenticated',
      })
      assert.equal(origin.clients.length, 0)
    })
  }
})

async function setUp(bench: Bench): Promise<{
  readonly origin: Origin
  readonly proxy: Proxy
  readonly client: Client
  readonly send: (text: string) => void
}> {
  const origin = await bench.origin()
  const proxy = await bench.proxy({ inbounds: [{ tag: 'in', protocol: 'http' }] })
  const client = await bench.client(proxy.port())
  const send = (text: string): void => {
    client.send(bytesOf(text, origin))
  }
  return { origin, proxy, client, send }
}

function bytesOf(text: string, origin: Origin): Buffer {
  return Buffer.from(text.replaceAll(at, `127.0.0.1:${String(origin.port)}`), 'latin1')
}
