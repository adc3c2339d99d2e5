import { deepStrictEqual, strictEqual, throws } from 'node:assert/strict'
import { isIPv4, isIPv6 } from 'node:net'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Bytes, concat, latin1Bytes } from '../bytes/bytes.ts'
import { parsePort } from '../core/endpoint.ts'
import { damaged, splitsAlike, survivesNoise } from '../testing/codec.ts'
import {
  asIpv6,
  canonicalIp,
  decodeSocksAddress,
  domainBytes,
  encodeSocksAddress,
  hostOf,
  hostOfIp,
  ipBytes,
  ipText,
  isIp,
  parseEndpoint,
  readEndpoint,
} from './address.ts'

const bytes = (hex: string): Bytes => Uint8Array.fromHex(hex.replaceAll(' ', ''))
const refuses = (run: () => unknown, code: string, blame = 'peer'): void => {
  throws(run, { name: 'SluiceError', code, blame })
}

describe('IP addresses', () => {
  test('text and bytes of the forms of RFC 4291 and RFC 5952', () => {
    const vectors: readonly (readonly [text: string, hex: string, canonical: string])[] = [
      ['192.0.2.1', 'c0000201', '192.0.2.1'],
      ['::', '00000000000000000000000000000000', '::'],
      [
        '2001:DB8:0:0:8:800:200C:417A',
        '20010db80000000000080800200c417a',
        '2001:db8::8:800:200c:417a',
      ],
      ['2001:db8:0:0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
      ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
      ['::13.1.68.3', '0000000000000000000000000d014403', '::d01:4403'],
      ['1:2:3:4:5:6:7::', '00010002000300040005000600070000', '1:2:3:4:5:6:7:0'],
    ]
    for (const [text, hex, canonical] of vectors) {
      deepStrictEqual(ipBytes(text), bytes(hex), text)
      strictEqual(ipText(bytes(hex)), canonical)
      strictEqual(canonicalIp(text), canonical)
    }
  })

  test('isIp agrees with the system on anything like an address', () => {
    const nearly = fc
      .array(fc.constantFrom('0', '1', '255', 'ab', 'F', '12345', ':', '::', '.', '%', 'x'), {
        maxLength: 17,
      })
      .map(parts => parts.join(''))
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), nearly), text => {
        if (text.includes('%')) return
        strictEqual(isIp(text), isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0, text)
      }),
      { numRuns: 2000 },
    )
  })

  test('canonical text comes back as the same bytes', () => {
    const size = fc.constantFrom(4, 16)
    fc.assert(
      fc.property(
        size.chain(n => fc.uint8Array({ minLength: n, maxLength: n })),
        ip => {
          deepStrictEqual(ipBytes(ipText(ip)), new Uint8Array(ip))
        },
      ),
    )
  })

  test('an IPv4-mapped address is the IPv4 address, in both directions', () => {
    const mapped = bytes('00000000000000000000ffff7f000001')
    strictEqual(hostOfIp(mapped), '127.0.0.1')
    strictEqual(canonicalIp('::FFFF:127.0.0.1'), '127.0.0.1')
    strictEqual(canonicalIp('::ffff:7f00:1'), '127.0.0.1')
    deepStrictEqual(asIpv6(bytes('7f000001')), mapped)
    strictEqual(hostOfIp(bytes('00000000000000000001ffff7f000001')), '::1:ffff:7f00:1')
  })

  test('a zone is kept in our own text and has no bytes', () => {
    strictEqual(isIp('fe80::1%eth0'), 6)
    strictEqual(canonicalIp('FE80::1%eth0'), 'fe80::1%eth0')
    strictEqual(ipBytes('fe80::1%eth0')?.length, 16)
    for (const text of ['fe80::1%', '1.2.3.4%eth0', 'fe80::1%a%b', 'fe80::1%a b', '%eth0']) {
      strictEqual(isIp(text), 0, text)
    }
  })

  test('another number of bytes is a mistake of ours', () => {
    refuses(() => ipText(new Uint8Array(5)), 'address.unencodable', 'bug')
  })
})

describe('a host that a peer names', () => {
  test('domains come in lower case without the trailing dot', () => {
    strictEqual(hostOf('Example.COM.'), 'example.com')
    strictEqual(hostOf('xn--bcher-kva.example'), 'xn--bcher-kva.example')
    strictEqual(hostOf('_dmarc.a-b.example'), '_dmarc.a-b.example')
    strictEqual(hostOf('localhost'), 'localhost')
    strictEqual(hostOf('a'.repeat(255)).length, 255)
  })

  test('addresses come in canonical text', () => {
    strictEqual(hostOf('2001:DB8::0'), '2001:db8::')
    strictEqual(hostOf('::ffff:10.0.0.1'), '10.0.0.1')
    strictEqual(hostOf('10.0.0.1'), '10.0.0.1')
  })

  const wrong = {
    empty: '',
    'over 255 bytes': 'a'.repeat(256),
    'only a dot': '.',
    'an empty label': 'a..b',
    'a leading dot': '.a',
    NUL: 'a\0.example',
    'a control character': 'a\r\n.example',
    'a space': 'a b',
    DEL: 'a\x7f',
    'a path, which would be a UNIX socket': '/run/docker.sock',
    'an abstract UNIX socket': '@x',
    brackets: '[::1]',
    'a port': 'a:80',
    'a zone': 'fe80::1%eth0',
    'other scripts': 'b\u00fccher.example',
    'a dot of another script, which resolvers map': '127\u30020\u30020\u30021',
    'short IPv4': '127.1',
    'one number': '2130706433',
    'octal IPv4': '0177.0.0.01',
    'hexadecimal IPv4': '0x7f.0.0.0x1',
    'hexadecimal without digits': '1.0x',
    'IPv4 with a dot behind': '127.0.0.1.',
  }
  for (const [name, text] of Object.entries(wrong)) {
    test(`refused: ${name}`, () => {
      refuses(() => hostOf(text), 'address.bad-domain')
    })
  }
})

describe('host:port in text', () => {
  test('domains, IPv4, IPv6 in brackets, and the default port', () => {
    deepStrictEqual(parseEndpoint('Example.com:443'), { host: 'example.com', port: 443 })
    deepStrictEqual(parseEndpoint('1.2.3.4:0'), { host: '1.2.3.4', port: 0 })
    deepStrictEqual(parseEndpoint('[2001:DB8::1]:65535'), { host: '2001:db8::1', port: 65_535 })
    deepStrictEqual(parseEndpoint('[::1]', parsePort(53)), { host: '::1', port: 53 })
    deepStrictEqual(parseEndpoint('a', parsePort(53)), { host: 'a', port: 53 })
    deepStrictEqual(parseEndpoint('[fe80::1%eth0]:1'), { host: 'fe80::1%eth0', port: 1 })
  })

  test('what is wrong is said', () => {
    const wrong: readonly (readonly [text: string, why: RegExp])[] = [
      ['', /empty/],
      ['example.com', /port is missing/],
      ['[::1]', /port is missing/],
      ['::1:53', /needs brackets/],
      ['[::1:53', /not closed/],
      ['[a]:53', /no IPv6 address/],
      ['[1.2.3.4]:53', /no IPv6 address/],
      ['[::1]53', /after the bracket/],
      ['a:65536', /not a number from 0/],
      ['a:-1', /not a number from 0/],
      ['a:', /not a number from 0/],
      ['a:0x50', /not a number from 0/],
      ['a b:1', /character/],
      [':53', /empty/],
    ]
    for (const [text, why] of wrong) {
      throws(() => parseEndpoint(text), {
        code: 'address.bad-endpoint',
        blame: 'config',
        message: why,
      })
    }
  })

  test('a peer may not name a zone', () => {
    strictEqual(readEndpoint('[fe80::1%eth0]:1'), 'the host is wrong: it has a zone')
  })
})

describe('the address of SOCKS', () => {
  const vectors: readonly (readonly [hex: string, host: string, port: number])[] = [
    ['01 c0000201 0050', '192.0.2.1', 80],
    ['04 20010db8000000000000000000000001 01bb', '2001:db8::1', 443],
    ['03 0b 6578616d706c652e636f6d ffff', 'example.com', 65_535],
  ]
  for (const [hex, host, port] of vectors) {
    test(`${host} both ways, followed by other bytes`, () => {
      const wire = bytes(hex)
      const value = { host, port: parsePort(port) }
      const whole = concat([wire, bytes('0505')])
      deepStrictEqual(decodeSocksAddress(whole), { kind: 'done', value, size: wire.length })
      deepStrictEqual(encodeSocksAddress(value), wire)
      splitsAlike(decodeSocksAddress, whole)
    })
  }

  test('an address in the place of a domain becomes an address', () => {
    const wire = concat([bytes('03 09'), latin1Bytes('127.0.0.1'), bytes('0050')])
    const decoded = decodeSocksAddress(wire)
    strictEqual(decoded.kind === 'done' && decoded.value.host, '127.0.0.1')
  })

  test('a domain of 255 bytes is taken', () => {
    const host = 'a'.repeat(255)
    const wire = encodeSocksAddress({ host, port: parsePort(1) })
    strictEqual(wire.length, 1 + 1 + 255 + 2)
    splitsAlike(decodeSocksAddress, wire)
    deepStrictEqual(decodeSocksAddress(wire), { kind: 'done', value: { host, port: 1 }, size: 259 })
  })

  test('refused: unknown type', () => {
    refuses(() => decodeSocksAddress(bytes('02')), 'address.bad-type')
  })
  test('refused: domain of 0 bytes', () => {
    refuses(() => decodeSocksAddress(bytes('0300')), 'address.bad-domain')
  })
  test('refused: NUL in a domain', () => {
    refuses(() => decodeSocksAddress(bytes('03 03 610061 0050')), 'address.bad-domain')
  })

  test('a UNIX socket, or a host that breaks its contract, has no form', () => {
    for (const host of ['/run/x', '@x', '', 'a b', 'a'.repeat(256)]) {
      refuses(() => encodeSocksAddress({ host, port: parsePort(0) }), 'address.unencodable', 'bug')
    }
    refuses(() => domainBytes('1.2.3.4'), 'address.unencodable', 'bug')
  })

  test('round trip of any endpoint', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()).map(text => hostOf(text))
    fc.assert(
      fc.property(host, fc.nat({ max: 65_535 }), (name, port) => {
        const value = { host: name, port: parsePort(port) }
        const wire = encodeSocksAddress(value)
        deepStrictEqual(decodeSocksAddress(wire), { kind: 'done', value, size: wire.length })
      }),
    )
  })

  const hits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 })
  test('any split decodes alike, and noise only ever blames the peer', () => {
    const valid = fc.tuple(fc.constantFrom(...vectors.map(([hex]) => bytes(hex))), hits)
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      valid.map(([wire, at]) => damaged(wire, at)),
    )
    fc.assert(
      fc.property(noise, fc.array(fc.nat()), (wire, cuts) => {
        survivesNoise(decodeSocksAddress, wire)
        splitsAlike(decodeSocksAddress, wire, cuts)
        splitsAlike(decodeSocksAddress, wire)
      }),
      { numRuns: 500 },
    )
  })
})
