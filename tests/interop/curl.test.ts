import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { FlowRecord } from '../../src/index.ts'
import { SystemResolver } from '../../src/dns/system.ts'
import { Bench } from '../support/proxy-bench.ts'
import { selfSigned } from '../support/proxy-certificate.ts'
import { type Expected, expectRecord } from '../support/proxy-expect.ts'
import { curl, hasIpv6, hasPeer } from '../support/proxy-peers.ts'
import { nameServer, silentPort, unusedPort } from '../support/proxy-targets.ts'
import { bigBytes, bigSha, type Seen, seenIn, sha256, webOrigin } from '../support/proxy-web.ts'

/** How curl is told to use a proxy, and the host it then names to it. */
interface Way {
  readonly name: string
  readonly proxy: string
  readonly args: readonly string[]
  readonly host: '127.0.0.1' | 'localhost'
  readonly isSecure: boolean
}

const plain = { args: [], isSecure: false } as const
const ways: readonly Way[] = [
  { ...plain, name: 'SOCKS4', proxy: 'socks4', host: '127.0.0.1' },
  { ...plain, name: 'SOCKS4a', proxy: 'socks4a', host: 'localhost' },
  { ...plain, name: 'SOCKS5', proxy: 'socks5', host: '127.0.0.1' },
  { ...plain, name: 'SOCKS5 with names', proxy: 'socks5h', host: 'localhost' },
  { ...plain, name: 'HTTP in absolute form', proxy: 'http', host: 'localhost' },
  { ...plain, name: 'HTTP CONNECT', proxy: 'http', host: 'localhost', args: ['-p'] },
  { name: 'HTTPS', proxy: 'http', host: 'localhost', args: ['-k'], isSecure: true },
]
const [socks4, , socks5, socks5h, http, connect] = ways as readonly [Way, Way, Way, Way, Way, Way]

const mixed = { tag: 'in', protocol: 'mixed', settings: {} }
const accounts = [{ user: 'ann', pass: 'p:ss wörd' }]
const guarded = { tag: 'in', protocol: 'mixed', settings: { auth: 'password', accounts } }
const right = 'ann:p:ss wörd'

/** What curl prints in place of the body: the status of the answer, and of CONNECT. */
const printCodes = ['-o', '/dev/null', '-w', '%{http_code} %{http_connect}']

function through(way: Way, port: number, user = ''): readonly string[] {
  const proxy = `${way.proxy}://127.0.0.1:${String(port)}`
  return ['-x', proxy, ...way.args, ...(user === '' ? [] : ['--proxy-user', user])]
}

/** The inbound that speaks only what this way needs. */
function inboundOf(way: Way): string {
  return way.proxy === 'http' ? 'http' : 'socks'
}

function targetOf(way: Way, port: number): string {
  return `${way.host}:${String(port)}`
}

describe('curl', () => {
  for (const way of ways) {
    const { name, host, isSecure } = way
    it(`moves 16 MB each way unharmed over ${name}`, async t => {
      if (!(await hasPeer(t, 'curl'))) return
      await using bench = new Bench()
      const origin = webOrigin('one')
      const port = isSecure ? await bench.secureWeb(origin, selfSigned()) : await bench.web(origin)
      const proxy = await bench.proxy({ inbounds: [{ tag: 'in', protocol: inboundOf(way) }] })
      const file = join(await bench.folder(), 'body')
      await writeFile(file, bigBytes)
      const base = `${isSecure ? 'https' : 'http'}://${host}:${String(port)}`
      const use = through(way, proxy.port())

      const down = await curl([...use, `${base}/big`])
      assert.equal(down.code, 0, down.log)
      assert.equal(sha256(down.body), bigSha)
      const expected: Expected = {
        inbound: 'in',
        user: null,
        network: 'tcp',
        target: targetOf(way, port),
        outbound: 'direct',
        stage: 'relaying',
      }
      // A TLS client that closes with an alert unread resets the connection by that, after all was said.
      const endsWell = ({ reason, side }: FlowRecord): boolean =>
        reason === 'clean' || (isSecure && reason === 'reset' && side === 'near')
      const downRecord = await proxy.ended()
      expectRecord(downRecord, expected)
      assert(endsWell(downRecord), JSON.stringify(downRecord))
      assertAbout(downRecord.down.written, bigBytes.length)
      assertAbout(downRecord.up.written, 0)

      const up = await curl([...use, '-T', file, `${base}/up`])
      assert.equal(up.code, 0, up.log)
      const { sha, bytes, method } = seenIn(up.body)
      assert.deepEqual(
        { sha, bytes, method },
        { sha: bigSha, bytes: bigBytes.length, method: 'PUT' },
      )
      const upRecord = await proxy.ended()
      expectRecord(upRecord, expected)
      assert(endsWell(upRecord), JSON.stringify(upRecord))
      assertAbout(upRecord.up.written, bigBytes.length)
      assertAbout(upRecord.down.written, 0)
    })
  }

  it('reaches an IPv6 address through every protocol that can name one', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    if (!hasIpv6()) {
      t.skip('no IPv6 here')
      return
    }
    await using bench = new Bench()
    const port = await bench.web(webOrigin('six'), '::1')
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const url = `http://[::1]:${String(port)}/`
    for (const way of [socks5, socks5h, http, connect]) {
      const answer = await curl(['-g', ...through(way, proxy.port()), url])
      assert.equal(answer.code, 0, answer.log)
      assert.equal(seenIn(answer.body).headers['host'], `[::1]:${String(port)}`)
      expectRecord(await proxy.ended(), { target: `[::1]:${String(port)}`, reason: 'clean' })
    }
  })

  it('gets forty answers at once, each its own', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    await using bench = new Bench()
    const port = await bench.web(webOrigin('one'))
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const kinds = ways.filter(way => !way.isSecure)
    const urls = Array.from({ length: 40 }, (_, at) => `/file-${String(at)}`)
    const answers = await Promise.all(
      urls.map((url, at) => {
        const way = kinds[at % kinds.length] ?? socks5h
        return curl([...through(way, proxy.port()), `http://${targetOf(way, port)}${url}`])
      }),
    )
    assert.deepEqual(
      answers.map(({ code, body }) => `${String(code)} ${seenIn(body).url}`),
      urls.map(url => `0 ${url}`),
    )
    for (const record of await proxy.endedAll(40)) {
      expectRecord(record, { outbound: 'direct', stage: 'relaying', reason: 'clean' })
    }
  })
})

describe('curl with user and password', () => {
  for (const way of [socks5h, http, connect]) {
    it(`is let in over ${way.name} with the right ones, which the record names`, async t => {
      if (!(await hasPeer(t, 'curl'))) return
      await using bench = new Bench()
      const port = await bench.web(webOrigin('one'))
      const proxy = await bench.proxy({ inbounds: [guarded] })
      const answer = await curl([
        ...through(way, proxy.port(), right),
        `http://localhost:${String(port)}/`,
      ])
      assert.equal(answer.code, 0, answer.log)
      assert.equal(seenIn(answer.body).headers['proxy-authorization'], undefined)
      expectRecord(await proxy.ended(), {
        user: 'ann',
        target: `localhost:${String(port)}`,
        outbound: 'direct',
        stage: 'relaying',
        reason: 'clean',
      })
    })

    for (const [what, user] of [
      ['the wrong password', 'ann:wrong'],
      ['an unknown user', 'bob:p:ss wörd'],
      ['none', ''],
    ] as const) {
      it(`is refused over ${way.name} with ${what}, before anything is dialled`, async t => {
        if (!(await hasPeer(t, 'curl'))) return
        await using bench = new Bench()
        const origin = await bench.origin()
        const proxy = await bench.proxy({ inbounds: [guarded] })
        const answer = await curl([
          ...through(way, proxy.port(), user),
          ...printCodes,
          `http://localhost:${String(origin.port)}/`,
        ])
        const found = `${String(answer.code)} ${answer.body.toString()}`
        if (way === socks5h) assert.equal(found, '97 000 000')
        if (way === http) assert.equal(found, '0 407 000')
        if (way === connect) assert.equal(found, '56 000 407')
        const code = way === socks5h ? 'socks.not-authenticated' : 'http.not-authenticated'
        expectRecord(await proxy.ended(), {
          user: null,
          target: null,
          outbound: null,
          stage: 'accepting',
          reason: 'refused',
          side: 'near',
          code,
          up: 0,
          down: 0,
        })
        assert.equal(origin.clients.length, 0)
      })
    }
  }
})

describe('curl speaking HTTP', () => {
  for (const way of [http, connect]) {
    it(`posts with a length and in chunks over ${way.name}`, async t => {
      if (!(await hasPeer(t, 'curl'))) return
      await using bench = new Bench()
      const port = await bench.web(webOrigin('one'))
      const proxy = await bench.proxy({ inbounds: [mixed] })
      const body = bigBytes.subarray(0, 300_000)
      const url = `http://localhost:${String(port)}/post`
      for (const framing of ['length', 'chunked'] as const) {
        const answer = await curl(
          [
            ...through(way, proxy.port()),
            '-X',
            'POST',
            '--data-binary',
            '@-',
            ...(framing === 'chunked' ? ['-H', 'Transfer-Encoding: chunked'] : []),
            url,
          ],
          body,
        )
        assert.equal(answer.code, 0, answer.log)
        const seen = seenIn(answer.body)
        assert.equal(seen.sha, sha256(body))
        assert.equal(seen.headers['content-length'], framing === 'length' ? '300000' : undefined)
        assert.equal(
          seen.headers['transfer-encoding'],
          framing === 'chunked' ? 'chunked' : undefined,
        )
        expectRecord(await proxy.ended(), { reason: 'clean', target: `localhost:${String(port)}` })
      }
    })

    it(`sends HEAD, waits for "100 Continue" and speaks HTTP/1.0 over ${way.name}`, async t => {
      if (!(await hasPeer(t, 'curl'))) return
      await using bench = new Bench()
      const seen: Seen[] = []
      const port = await bench.web(webOrigin('one', one => seen.push(one)))
      const proxy = await bench.proxy({ inbounds: [mixed] })
      const use = through(way, proxy.port())
      const url = `http://localhost:${String(port)}/x`

      const head = await curl([...use, '-I', url])
      assert.equal(head.code, 0, head.log)
      assert.match(head.body.toString(), /HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/)

      const awaited = await curl([...use, '-v', '-H', 'Expect: 100-continue', '-d', 'body', url])
      assert.equal(awaited.code, 0, awaited.log)
      assert.match(awaited.log, /< HTTP\/1\.1 100 Continue/)
      assert.match(awaited.log, /< HTTP\/1\.1 200 OK/)
      assert.equal(seenIn(awaited.body).sha, sha256(Buffer.from('body')))

      const old = await curl([...use, '-0', url])
      assert.equal(old.code, 0, old.log)
      assert.equal(seenIn(old.body).version, '1.0')
      assert.deepEqual(
        seen.map(({ method, version }) => `${method} ${version}`),
        ['HEAD 1.1', 'POST 1.1', 'GET 1.0'],
      )
      for (const record of await proxy.endedAll(3)) expectRecord(record, { reason: 'clean' })
    })
  }

  it('reaches the right origin each time when one run asks for two hosts in turn', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    await using bench = new Bench()
    const one = await bench.web(webOrigin('one'))
    const two = await bench.web(webOrigin('two'))
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const [first, second] = [`http://localhost:${String(one)}/`, `http://127.0.0.1:${String(two)}/`]
    const answer = await curl([
      ...through(http, proxy.port()),
      '-w',
      '\n',
      `${first}a`,
      `${second}b`,
      `${first}c`,
      `${second}d`,
    ])
    assert.equal(answer.code, 0, answer.log)
    const lines = answer.body.toString().trim().split('\n')
    assert.deepEqual(
      lines.map(line => seenIn(Buffer.from(line))).map(({ origin, url }) => `${origin} ${url}`),
      ['one /a', 'two /b', 'one /c', 'two /d'],
    )
    const records = await proxy.endedAll(4)
    assert.deepEqual(
      records.map(({ target }) => target?.port),
      [one, two, one, two],
    )
    for (const record of records) expectRecord(record, { reason: 'clean' })
  })
})

/** How curl tells each refusal, by the way it came. */
interface Refusal {
  readonly socks4?: string
  readonly socks5?: number
  readonly http: number
}

function tellsRefusal(
  way: Way,
  answer: { code: number; body: Buffer; log: string },
  refusal: Refusal,
): void {
  const found = `${String(answer.code)} ${answer.body.toString()}`
  if (way.proxy === 'socks4')
    assert.match(answer.log, new RegExp(`\\(${String(refusal.socks4)}\\)`))
  else if (way.proxy.startsWith('socks5')) {
    assert.match(answer.log, new RegExp(`\\(${String(refusal.socks5)}\\)`))
  } else if (way === connect) assert.equal(found, `56 000 ${String(refusal.http)}`)
  else assert.equal(found, `0 ${String(refusal.http)} 000`)
  if (way.proxy.startsWith('socks')) assert.equal(found, '97 000 000')
}

describe('curl learns', () => {
  it('by the own word of each protocol that nobody listens there', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    await using bench = new Bench()
    const proxy = await bench.proxy({ inbounds: [mixed] })
    const port = await unusedPort()
    for (const way of ways.filter(({ isSecure }) => !isSecure)) {
      const url = `http://${targetOf(way, port)}/`
      const answer = await curl([...through(way, proxy.port()), ...printCodes, url])
      const asSocks4 = way.proxy === 'socks4a' ? socks4 : way
      tellsRefusal(asSocks4, answer, { socks4: '91', socks5: 5, http: 502 })
      expectRecord(await proxy.ended(), {
        target: targetOf(way, port),
        outbound: 'direct',
        stage: 'dialing',
        reason: 'refused',
        side: 'far',
        call: 'connect',
        code: 'net.refused',
        up: 0,
        down: 0,
      })
    }
  })

  it('that a name has no address', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    await using bench = new Bench()
    const names = await nameServer(bench)
    const proxy = await bench.proxy({
      inbounds: [mixed],
      resolver: scope => new SystemResolver(scope, { servers: [names] }),
    })
    for (const way of [socks5h, http, connect]) {
      const answer = await curl([
        ...through(way, proxy.port()),
        ...printCodes,
        'http://nowhere.test:8080/',
      ])
      tellsRefusal(way, answer, { socks5: 4, http: 502 })
      expectRecord(await proxy.ended(), {
        target: 'nowhere.test:8080',
        outbound: 'direct',
        stage: 'dialing',
        reason: 'error',
        side: 'far',
        call: 'resolve',
        code: 'net.no-address',
      })
    }
  })

  it('that a target does not answer', async t => {
    if (!(await hasPeer(t, 'curl'))) return
    await using bench = new Bench()
    const port = await silentPort(bench)
    const proxy = await bench.proxy({ inbounds: [mixed], connectTimeoutMs: 200 })
    const records: FlowRecord[] = []
    for (const way of [socks4, socks5, http, connect]) {
      const url = `http://127.0.0.1:${String(port)}/`
      const answer = await curl([...through(way, proxy.port()), ...printCodes, url])
      tellsRefusal(way, answer, { socks4: '91', socks5: 4, http: 504 })
      records.push(await proxy.ended())
    }
    for (const record of records) {
      expectRecord(record, {
        target: `127.0.0.1:${String(port)}`,
        stage: 'dialing',
        reason: 'connect-timeout',
        side: 'far',
        call: 'connect',
        code: 'net.connect-timeout',
      })
      assert.ok(record.durationMs >= 200 && record.durationMs < 2_000, String(record.durationMs))
    }
  })

  for (const response of ['none', 'http'] as const) {
    it(`that a blackhole takes it, which answers with ${response}`, async t => {
      if (!(await hasPeer(t, 'curl'))) return
      await using bench = new Bench()
      const proxy = await bench.proxy({
        inbounds: [mixed],
        outbounds: [
          { tag: 'hole', protocol: 'blackhole', settings: { response: { type: response } } },
        ],
      })
      const kinds = response === 'none' ? [socks4, socks5, http, connect] : [http]
      for (const way of kinds) {
        const answer = await curl([
          ...through(way, proxy.port()),
          ...printCodes,
          'http://127.0.0.1:9/',
        ])
        tellsRefusal(way, answer, { socks4: '91', socks5: 2, http: 403 })
        expectRecord(await proxy.ended(), {
          target: '127.0.0.1:9',
          outbound: 'hole',
          ...(response === 'none'
            ? { stage: 'dialing', reason: 'refused', side: 'far', code: 'blackhole.blocked' }
            : { stage: 'relaying', reason: 'clean', code: null }),
        })
      }
      if (response === 'none') return
      for (const way of [socks4, socks5, connect]) {
        const answer = await curl([
          ...through(way, proxy.port()),
          ...printCodes,
          'http://127.0.0.1:9/',
        ])
        assert.equal(answer.code, 0, answer.log)
        assert.match(answer.body.toString(), way === connect ? /^403 200$/ : /^403 000$/)
        expectRecord(await proxy.ended(), { outbound: 'hole', stage: 'relaying', reason: 'clean' })
      }
    })
  }
})

function assertAbout(bytes: number, body: number): void {
  assert.ok(bytes >= body && bytes < body + body / 50 + 8_000, `${String(bytes)} bytes`)
}
