import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { netError } from '../../src/net/errors.ts'
import { Bench, type Origin, type Proxy } from '../support/proxy-bench.ts'
import type { Client } from '../support/proxy-client.ts'
import { expectRecord } from '../support/proxy-expect.ts'
import { unusedPort } from '../support/proxy-targets.ts'
import { socksAddress } from '../support/proxy-udp.ts'
import { sha256 } from '../support/proxy-web.ts'

const accounts = [{ user: 'ann', pass: 'pass' }]
const hello = hex('050100')
const rightUser = bytesOf(hex('0103'), 'ann', hex('04'), 'pass')
const wrongUser = bytesOf(hex('0103'), 'ann', hex('04'), 'nope')
const granted = '05000001000000000000'

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex')
}
function bytesOf(...parts: readonly (Buffer | string)[]): Buffer {
  return Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part) : part)))
}
function connectTo(host: string, port: number): Buffer {
  return bytesOf(hex('050100'), socksAddress(host, port))
}

interface SetUp {
  readonly origin: Origin
  readonly proxy: Proxy
  readonly client: Client
}

async function setUp(bench: Bench, settings: object = {}): Promise<SetUp> {
  const origin = await bench.origin()
  const proxy = await bench.proxy({
    inbounds: [{ tag: 'in', protocol: 'mixed', settings: { udp: true, ...settings } }],
    // No name has an address here, at once: a test must not ask the network.
    resolver: () => ({
      resolve: () => Promise.reject(netError('no-address', { call: 'resolve' })),
    }),
  })
  return { origin, proxy, client: await bench.client(proxy.port()) }
}

const password = { auth: 'password', accounts }

interface Refused {
  readonly what: string
  readonly sent: Buffer
  /** Everything the client gets, in hexadecimal. */
  readonly answer: string
  readonly code: string
  readonly settings?: object
}

const every255 = Buffer.from(Array.from({ length: 255 }, (_, method) => method))
const anyAddress = '01000000000000'

const refused: readonly Refused[] = [
  { what: 'a greeting with 0 methods', sent: hex('0500'), answer: '', code: 'socks.no-methods' },
  {
    what: 'a greeting without the method that is wanted',
    sent: hex('050102'),
    answer: '05ff',
    code: 'socks.not-authenticated',
  },
  {
    what: 'a greeting of 255 methods, none of them right',
    sent: bytesOf(hex('05ff'), Buffer.alloc(255, 0x80)),
    answer: '05ff',
    code: 'socks.not-authenticated',
  },
  {
    what: 'a client without a password that asks all the same',
    sent: bytesOf(hello, connectTo('127.0.0.1', 1)),
    answer: '05ff',
    code: 'socks.not-authenticated',
    settings: password,
  },
  {
    what: 'a request in place of the password',
    sent: bytesOf(hex('050102'), connectTo('127.0.0.1', 1)),
    answer: '0502',
    code: 'socks.bad-version',
    settings: password,
  },
  {
    what: 'the wrong password with the request behind it',
    sent: bytesOf(hex('050102'), wrongUser, connectTo('127.0.0.1', 1)),
    answer: '05020101',
    code: 'socks.not-authenticated',
    settings: password,
  },
  {
    what: 'the wrong password with the right one behind it',
    sent: bytesOf(hex('050102'), wrongUser, rightUser, connectTo('127.0.0.1', 1)),
    answer: '05020101',
    code: 'socks.not-authenticated',
    settings: password,
  },
  {
    what: 'an empty user and password',
    sent: bytesOf(hex('050102'), hex('010000')),
    answer: '05020101',
    code: 'socks.not-authenticated',
    settings: password,
  },
  {
    what: 'a password that begins with the right one',
    sent: bytesOf(hex('050102'), hex('0103'), 'ann', hex('06'), 'pass', hex('0000')),
    answer: '05020101',
    code: 'socks.not-authenticated',
    settings: password,
  },
  {
    what: 'a user that is not UTF-8',
    sent: bytesOf(hex('050102'), hex('0102ff80'), hex('0170')),
    answer: '0502',
    code: 'socks.bad-credentials',
    settings: password,
  },
  {
    what: 'a second authentication after the first',
    sent: bytesOf(hex('050102'), rightUser, rightUser, connectTo('127.0.0.1', 1)),
    answer: '05020100',
    code: 'socks.bad-version',
    settings: password,
  },
  {
    what: 'a second greeting after authentication',
    sent: bytesOf(hex('050102'), rightUser, hello, connectTo('127.0.0.1', 1)),
    answer: '05020100' + '05080001000000000000',
    code: 'address.bad-type',
    settings: password,
  },
  {
    what: 'BIND',
    sent: bytesOf(hello, hex(`050200${anyAddress}`)),
    answer: '050005070001000000000000',
    code: 'socks.command-refused',
  },
  {
    what: 'an unknown command',
    sent: bytesOf(hello, hex(`050900${anyAddress}`)),
    answer: '050005070001000000000000',
    code: 'socks.bad-command',
  },
  {
    what: 'an unknown type of address',
    sent: bytesOf(hello, hex('05010002')),
    answer: '050005080001000000000000',
    code: 'address.bad-type',
  },
  {
    what: 'a reserved byte',
    sent: bytesOf(hello, hex('050101')),
    answer: '0500',
    code: 'socks.bad-reserved',
  },
  {
    what: 'a domain of 0 bytes',
    sent: bytesOf(hello, hex('0501000300'), hex('0050')),
    answer: '050005010001000000000000',
    code: 'address.bad-domain',
  },
  {
    what: 'a domain with a NUL',
    sent: bytesOf(hello, connectTo('local\0host', 80)),
    answer: '050005010001000000000000',
    code: 'address.bad-domain',
  },
  {
    what: 'a domain with a path',
    sent: bytesOf(hello, connectTo('/run/socket', 80)),
    answer: '050005010001000000000000',
    code: 'address.bad-domain',
  },
  {
    what: 'a domain that is an abstract socket',
    sent: bytesOf(hello, connectTo('@socket', 80)),
    answer: '050005010001000000000000',
    code: 'address.bad-domain',
  },
  {
    what: 'a domain that is an address in disguise',
    sent: bytesOf(hello, connectTo('0x7f000001', 80)),
    answer: '050005010001000000000000',
    code: 'address.bad-domain',
  },
  {
    what: 'a domain with line ends',
    sent: bytesOf(hello, connectTo('a\r\nb', 80)),
    answer: '050005010001000000000000',
    code: 'address.bad-domain',
  },
  {
    what: 'BIND of SOCKS4',
    sent: hex('040200500a00000100'),
    answer: '005b000000000000',
    code: 'socks.command-refused',
  },
  {
    what: 'an unknown command of SOCKS4',
    sent: hex('040900500a00000100'),
    answer: '',
    code: 'socks.bad-command',
  },
  {
    what: 'SOCKS4 where a password is wanted',
    sent: bytesOf(hex('040100507f000001'), 'ann', hex('00')),
    answer: '005b000000000000',
    code: 'socks.not-authenticated',
    settings: password,
  },
  {
    what: 'an endless user of SOCKS4',
    sent: bytesOf(hex('040100507f000001'), 'u'.repeat(300)),
    answer: '',
    code: 'socks.user-too-long',
  },
  {
    what: 'an endless domain of SOCKS4a',
    sent: bytesOf(hex('0401005000000001'), hex('00'), 'd'.repeat(300)),
    answer: '',
    code: 'socks.domain-too-long',
  },
  {
    what: 'an empty domain of SOCKS4a',
    sent: hex('04010050000000010000'),
    answer: '',
    code: 'address.bad-domain',
  },
]

describe('SOCKS refuses', () => {
  for (const { what, sent, answer, code, settings } of refused) {
    it(`${what}, and nothing is dialled`, async () => {
      await using bench = new Bench()
      const { origin, proxy, client } = await setUp(bench, settings)
      client.send(sent)
      assert.equal((await client.readAll()).toString('hex'), answer)
      client.end()
      expectRecord(await proxy.ended(), {
        user: null,
        target: null,
        outbound: null,
        stage: 'accepting',
        side: 'near',
        code: code as `${string}.${string}`,
        up: 0,
        down: 0,
      })
      assert.equal(origin.clients.length, 0)
    })
  }

  it('a client that stops at any byte, without a trace', async () => {
    await using bench = new Bench()
    const { origin, proxy } = await setUp(bench, password)
    const whole = bytesOf(hex('050102'), rightUser, connectTo('127.0.0.1', origin.port))
    const old = bytesOf(hex('0401005000000001'), 'user', hex('00'), 'domain', hex('00'))
    for (const message of [whole, old]) {
      for (let size = 0; size < message.length; size++) {
        const client = await bench.client(proxy.port())
        client.send(message.subarray(0, size))
        if (size % 2 === 0) client.end()
        else client.reset()
        await client.over
        const record = await proxy.ended()
        expectRecord(record, { stage: 'accepting', outbound: null, side: 'near' })
      }
    }
    assert.equal(origin.clients.length, 0)
    assert.equal(proxy.records.length, whole.length + old.length)
  })
})

describe('SOCKS serves', () => {
  it('a client that offers 255 methods, the right one among them', async () => {
    await using bench = new Bench()
    const { origin, proxy, client } = await setUp(bench)
    client.send(bytesOf(hex('05ff'), every255, connectTo('127.0.0.1', origin.port)))
    assert.equal((await client.read(12)).toString('hex'), `0500${granted}`)
    client.end()
    ;(await origin.accepted()).end()
    expectRecord(await proxy.ended(), { reason: 'clean', user: null })
  })

  it('a client that says everything at once, in the order of the protocol', async () => {
    await using bench = new Bench()
    const { origin, proxy, client } = await setUp(bench, password)
    const request = connectTo('127.0.0.1', origin.port)
    client.send(bytesOf(hex('050102'), rightUser, request, 'early', request))
    assert.equal((await client.read(14)).toString('hex'), `05020100${granted}`)
    const far = await origin.accepted()
    // A second request is the target's business: it is no request any more.
    assert.deepEqual(await far.read(5 + request.length), bytesOf('early', request))
    far.send('answer')
    far.end()
    assert.equal((await client.readAll()).toString(), 'answer')
    client.end()
    expectRecord(await proxy.ended(), { user: 'ann', reason: 'clean', up: 15, down: 6 })
    assert.equal(origin.clients.length, 1)
  })

  for (const version of [4, 5] as const) {
    it(`data sent before the answer of SOCKS${String(version)}, every byte of it, after the answer`, async () => {
      await using bench = new Bench()
      const { origin, proxy, client } = await setUp(bench)
      const early = randomBytes(300_000)
      const port = Buffer.from([origin.port >> 8, origin.port & 255])
      const opening =
        version === 5
          ? bytesOf(hello, connectTo('127.0.0.1', origin.port))
          : bytesOf(hex('0401'), port, hex('7f000001'), 'user', hex('00'))
      client.send(bytesOf(opening, early))
      client.end()
      const far = await origin.accepted()
      far.socket.pipe(far.socket)
      const all = await client.readAll()
      const answer = version === 5 ? `0500${granted}` : '005a000000000000'
      assert.equal(all.subarray(0, answer.length / 2).toString('hex'), answer)
      assert.equal(sha256(all.subarray(answer.length / 2)), sha256(early))
      expectRecord(await proxy.ended(), { reason: 'clean', up: early.length, down: early.length })
    })
  }

  it('a refusal to a client that has sent data early, which hears it before the end', async () => {
    await using bench = new Bench()
    const { proxy, client } = await setUp(bench)
    const closedPort = await unusedPort()
    client.send(bytesOf(hello, connectTo('127.0.0.1', closedPort), randomBytes(30_000)))
    assert.equal((await client.readAll()).toString('hex'), '050005050001000000000000')
    assert.equal(await client.over, 'end')
    client.end()
    expectRecord(await proxy.ended(), { reason: 'refused', side: 'far', stage: 'dialing' })
  })

  it('a domain of 255 bytes, which has no address, and port 0, where nobody listens', async () => {
    await using bench = new Bench()
    const { proxy, client } = await setUp(bench)
    const label = 'a'.repeat(63)
    const name = `${label}.${label}.${label}.${label}`
    assert.equal(name.length, 255)
    client.send(bytesOf(hello, connectTo(name, 80)))
    assert.equal((await client.readAll()).toString('hex'), '050005040001000000000000')
    client.end()
    expectRecord(await proxy.ended(), {
      target: `${name}:80`,
      stage: 'dialing',
      call: 'resolve',
      code: 'net.no-address',
    })
    const other = await bench.client(proxy.port())
    other.send(bytesOf(hello, connectTo('127.0.0.1', 0)))
    assert.equal((await other.readAll()).toString('hex'), '050005050001000000000000')
    other.end()
    expectRecord(await proxy.ended(), { target: '127.0.0.1:0', reason: 'refused', call: 'connect' })
  })

  it('a client whose name server refuses with "host unreachable", not "connection refused"', async () => {
    await using bench = new Bench()
    const refusedByDns = netError('resolve', { call: 'resolve', system: 'ECONNREFUSED' })
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'socks' }],
      resolver: () => ({ resolve: () => Promise.reject(refusedByDns) }),
    })
    const client = await bench.client(proxy.port())
    client.send(bytesOf(hello, connectTo('host.test', 80)))
    assert.equal((await client.readAll()).toString('hex'), '050005040001000000000000')
    client.end()
    expectRecord(await proxy.ended(), {
      stage: 'dialing',
      side: 'far',
      call: 'resolve',
      code: 'net.resolve',
    })
  })

  it('a name server that refuses by a record that says error', async () => {
    await using bench = new Bench()
    const refusedByDns = netError('resolve', { call: 'resolve', system: 'ECONNREFUSED' })
    const proxy = await bench.proxy({
      inbounds: [{ tag: 'in', protocol: 'socks' }],
      resolver: () => ({ resolve: () => Promise.reject(refusedByDns) }),
    })
    const client = await bench.client(proxy.port())
    client.send(bytesOf(hello, connectTo('host.test', 80)))
    await client.readAll()
    client.end()
    expectRecord(await proxy.ended(), { reason: 'error', call: 'resolve' })
  })
})
