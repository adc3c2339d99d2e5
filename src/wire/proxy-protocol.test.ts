import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Bytes, concat, type Decoder, latin1Bytes, latin1Text } from '../bytes/bytes.ts'
import { type Endpoint, parsePort } from '../core/endpoint.ts'
import { damaged, splitsAlike, survivesNoise } from '../testing/codec.ts'
import { hostOf } from './address.ts'
import {
  decodeProxy,
  decodeProxyV1,
  decodeProxyV2,
  encodeProxyV1,
  encodeProxyV2,
  type ProxyHeader,
  type ProxyTlv,
} from './proxy-protocol.ts'

const bytes = (hex: string): Bytes => Uint8Array.fromHex(hex.replaceAll(' ', ''))
const end = (host: string, port: number): Endpoint => ({ host, port: parsePort(port) })
const refuses = (run: () => unknown, what: string, blame = 'peer'): void => {
  throws(run, { name: 'SluiceError', code: `proxy-protocol.${what}`, blame })
}
function valueOf(decode: Decoder<ProxyHeader>, wire: Bytes): ProxyHeader {
  const decoded = decode(wire, 0)
  ok(decoded.kind === 'done', 'the header is whole')
  return decoded.value
}

const sign = '0d0a0d0a 000d0a51 5549540a '
const inet = 'c0000201 c6336402 3039 01bb'
const inetEnds = { source: end('192.0.2.1', 12_345), target: end('198.51.100.2', 443) }

describe('version 1', () => {
  const tcp4 = 'PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n'
  const common = { version: 1, local: false, transport: 'stream', tlvs: [] } as const

  test('TCP4, both ways, followed by other bytes', () => {
    const wire = latin1Bytes(`${tcp4}GET /\n`)
    const value = { ...common, ...inetEnds }
    deepStrictEqual(decodeProxy(wire, 0), { kind: 'done', value, size: tcp4.length })
    splitsAlike(decodeProxy, wire)
    strictEqual(latin1Text(encodeProxyV1(inetEnds)), tcp4)
  })

  test('TCP6 in its longest form, 104 bytes', () => {
    const ip = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'
    const line = `PROXY TCP6 ${ip} ${ip} 65535 65535\r\n`
    strictEqual(line.length, 104)
    const ends = { source: end(ip, 65_535), target: end(ip, 65_535) }
    deepStrictEqual(valueOf(decodeProxyV1, latin1Bytes(line)), { ...common, ...ends })
    strictEqual(latin1Text(encodeProxyV1(ends)), line)
  })

  test('an IPv4-mapped address is IPv4, in hex or with a dotted tail', () => {
    for (const text of ['::ffff:c000:201', '::FFFF:192.0.2.1']) {
      const line = `PROXY TCP6 ${text} 2001:DB8::1 0 1\r\n`
      deepStrictEqual(valueOf(decodeProxyV1, latin1Bytes(line)).source, end('192.0.2.1', 0))
    }
  })

  test('one IPv6 end makes the other IPv4-mapped', () => {
    const ends = { source: end('192.0.2.1', 1), target: end('fe80::1%eth0', 2) }
    const line = 'PROXY TCP6 ::ffff:c000:201 fe80::1 1 2\r\n'
    strictEqual(latin1Text(encodeProxyV1(ends)), line)
  })

  test('UNKNOWN, with whatever stands behind it', () => {
    const value = { ...common, source: null, target: null, transport: null }
    const worst = `PROXY UNKNOWN ${'f'.repeat(91)}\r\n`
    strictEqual(worst.length, 107)
    for (const line of ['PROXY UNKNOWN\r\n', 'PROXY UNKNOWN a b \0\xff\r\n', worst]) {
      const wire = latin1Bytes(`${line}x`)
      deepStrictEqual(decodeProxy(wire, 0), { kind: 'done', value, size: line.length })
      splitsAlike(decodeProxy, wire)
    }
  })

  test('ends that the line cannot say become UNKNOWN', () => {
    const some = end('192.0.2.1', 1)
    for (const other of [null, end('a.example', 1), end('/run/x', 0)]) {
      const line = 'PROXY UNKNOWN\r\n'
      strictEqual(latin1Text(encodeProxyV1({ source: some, target: other })), line)
      strictEqual(latin1Text(encodeProxyV1({ source: other, target: some })), line)
    }
  })

  const ips = '192.0.2.1 192.0.2.2'
  const wrong: Record<string, readonly [what: string, line: string]> = {
    'another protocol': ['absent', 'GET / HTTP/1.1\r\n'],
    'lower case': ['absent', 'proxy TCP4'],
    'no space': ['absent', 'PROXYTCP4'],
    'LF alone': ['bad-line', `PROXY TCP4 ${ips} 1 2\n`],
    'LF alone after UNKNOWN': ['bad-line', 'PROXY UNKNOWN\n'],
    'CR alone in UNKNOWN': ['bad-line', 'PROXY UNKNOWN a\rb\r\n'],
    'CR CR LF': ['bad-line', `PROXY TCP4 ${ips} 1 2\r\r\n`],
    'no CRLF in 107 bytes': ['line-too-long', `PROXY UNKNOWN ${'f'.repeat(92)}\r\n`],
    'another transport': ['bad-line', `PROXY UDP4 ${ips} 1 2\r\n`],
    'a word like UNKNOWN': ['bad-line', 'PROXY UNKNOWNS\r\n'],
    'two spaces': ['bad-line', `PROXY TCP4  ${ips} 1 2\r\n`],
    'a space at the end': ['bad-line', `PROXY TCP4 ${ips} 1 2 \r\n`],
    'a missing port': ['bad-line', `PROXY TCP4 ${ips} 1\r\n`],
    'a port over 65535': ['bad-line', `PROXY TCP4 ${ips} 1 65536\r\n`],
    'a port with a leading zero': ['bad-line', `PROXY TCP4 ${ips} 01 2\r\n`],
    'a signed port': ['bad-line', `PROXY TCP4 ${ips} +1 2\r\n`],
    'IPv6 as TCP4': ['bad-line', 'PROXY TCP4 ::1 ::1 1 2\r\n'],
    'IPv4 as TCP6': ['bad-line', `PROXY TCP6 ${ips} 1 2\r\n`],
    'octal IPv4': ['bad-line', 'PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n'],
    'short IPv4': ['bad-line', 'PROXY TCP4 127.1 192.0.2.2 1 2\r\n'],
    'a zone': ['bad-line', 'PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n'],
    'a domain': ['bad-line', 'PROXY TCP4 a.example 192.0.2.2 1 2\r\n'],
  }
  for (const [name, [what, line]] of Object.entries(wrong)) {
    test(`refused: ${name}`, () => {
      refuses(() => decodeProxy(latin1Bytes(line), 0), what)
      splitsAlike(decodeProxy, latin1Bytes(line))
    })
  }
})

describe('version 2', () => {
  const common = { version: 2, local: false, transport: 'stream', tlvs: [] } as const
  const unix = (source: string, target: string): string =>
    source.padEnd(216, '0') + target.padEnd(216, '0')

  test('TCP over IPv4, both ways, followed by other bytes', () => {
    const wire = bytes(`${sign} 21 11 000c ${inet}`)
    const value = { ...common, ...inetEnds }
    const whole = concat([wire, latin1Bytes('\0\r\n')])
    deepStrictEqual(decodeProxy(whole, 0), { kind: 'done', value, size: 28 })
    splitsAlike(decodeProxy, whole)
    deepStrictEqual(encodeProxyV2(value), wire)
  })

  test('UDP over IPv6, both ways', () => {
    const one = '20010db8000000000000000000000001'
    const wire = bytes(`${sign} 21 22 0024 ${one} ${'0'.repeat(32)} 0035 0000`)
    const ends = { source: end('2001:db8::1', 53), target: end('::', 0) }
    const value: ProxyHeader = { ...common, ...ends, transport: 'datagram' }
    deepStrictEqual(valueOf(decodeProxy, wire), value)
    deepStrictEqual(encodeProxyV2(value), wire)
  })

  test('IPv4 and IPv6 together go as IPv6 and come back as they were', () => {
    const ends = { source: end('192.0.2.1', 1), target: end('2001:db8::1', 2) }
    const value: ProxyHeader = { ...common, ...ends }
    const wire = encodeProxyV2(value)
    strictEqual(wire[13], 0x21)
    deepStrictEqual(valueOf(decodeProxy, wire), value)
  })

  test('UNIX sockets: paths, abstract names and none', () => {
    const wire = bytes(`${sign} 21 31 00d8 ${unix('2f72756e2f78', '00616263')}`)
    const value: ProxyHeader = { ...common, source: end('/run/x', 0), target: end('@abc', 0) }
    deepStrictEqual(valueOf(decodeProxy, wire), value)
    deepStrictEqual(encodeProxyV2(value), wire)
    splitsAlike(decodeProxy, wire)
    const unnamed: ProxyHeader = { ...value, source: null }
    deepStrictEqual(valueOf(decodeProxy, encodeProxyV2(unnamed)), unnamed)
    const full: ProxyHeader = { ...value, source: end(`/${'a'.repeat(107)}`, 0) }
    deepStrictEqual(valueOf(decodeProxy, encodeProxyV2(full)), full)
  })

  test('LOCAL skips its block unread, whatever family and values it claims', () => {
    const value: ProxyHeader = {
      ...common,
      source: null,
      target: null,
      transport: null,
      local: true,
    }
    const wire = bytes(`${sign} 20 ff 0003 ffffff`)
    deepStrictEqual(decodeProxy(wire, 0), { kind: 'done', value, size: 19 })
    splitsAlike(decodeProxy, wire)
    deepStrictEqual(encodeProxyV2(value, true), bytes(`${sign} 20 00 0000`))
    deepStrictEqual(encodeProxyV2({ ...value, ...inetEnds }), bytes(`${sign} 20 00 0000`))
  })

  test('an unspecified family or transport is accepted without ends', () => {
    const value = { ...common, source: null, target: null, transport: null }
    for (const kind of ['00', '01', '10', '20', '30']) {
      const wire = bytes(`${sign} 21 ${kind} 0002 abcd`)
      deepStrictEqual(decodeProxy(wire, 0), { kind: 'done', value, size: 18 })
    }
    const domain = { ...inetEnds, source: end('a.example', 1) }
    deepStrictEqual(encodeProxyV2({ ...value, ...domain }), bytes(`${sign} 21 00 0000`))
    deepStrictEqual(
      encodeProxyV2({ ...value, ...domain, transport: 'stream' }),
      bytes(`${sign} 21 00 0000`),
    )
  })

  test('values are kept raw, padding is not, and the checksum is checked', () => {
    // CRC-32C computed apart, by an implementation that gives e3069283 for "123456789".
    const wire = bytes(`${sign} 21 11 0018 ${inet} 02 0002 6869 03 0004 4fcb5b17`)
    const value: ProxyHeader = {
      ...common,
      ...inetEnds,
      tlvs: [{ type: 2, value: latin1Bytes('hi') }],
    }
    deepStrictEqual(valueOf(decodeProxy, wire), value)
    deepStrictEqual(encodeProxyV2(value, true), wire)
    splitsAlike(decodeProxy, wire)
    const padded = bytes(`${sign} 21 11 0014 ${inet} 04 0002 0000 ea 0000`)
    deepStrictEqual(valueOf(decodeProxy, padded).tlvs, [{ type: 0xea, value: new Uint8Array(0) }])
  })

  test('a value does not live in the memory that was shown', () => {
    const wire = bytes(`${sign} 21 11 0011 ${inet} 02 0002 6869`)
    const value = valueOf(decodeProxy, wire)
    wire.fill(0)
    deepStrictEqual(value.tlvs, [{ type: 2, value: latin1Bytes('hi') }])
  })

  test('the largest header, 65,551 bytes', () => {
    const tlvs: ProxyTlv[] = [{ type: 0xe0, value: new Uint8Array(65_535 - 12 - 3) }]
    const value: ProxyHeader = { ...common, ...inetEnds, tlvs }
    const wire = encodeProxyV2(value)
    strictEqual(wire.length, 16 + 65_535)
    deepStrictEqual(valueOf(decodeProxy, wire), value)
    refuses(() => encodeProxyV2(value, true), 'unencodable', 'bug')
  })

  const wrong: Record<string, readonly [what: string, hex: string]> = {
    'a broken signature': ['absent', '0d0a0d0a 000d0a51 5549540b'],
    'version 1 in binary': ['bad-version', `${sign} 11`],
    'version 3': ['bad-version', `${sign} 31`],
    'an unknown command': ['bad-command', `${sign} 22`],
    'an unknown family': ['bad-family', `${sign} 21 41`],
    'an unknown transport': ['bad-family', `${sign} 21 13`],
    'no room for IPv4': ['bad-address', `${sign} 21 11 000b`],
    'no room for IPv6': ['bad-address', `${sign} 21 21 0023`],
    'no room for UNIX': ['bad-address', `${sign} 21 31 00d7`],
    'a relative path': ['bad-address', `${sign} 21 31 00d8 ${unix('612e6578', '')}`],
    'a path that reads as abstract': ['bad-address', `${sign} 21 31 00d8 ${unix('4061', '')}`],
    'a path that is not UTF-8': ['bad-address', `${sign} 21 31 00d8 ${unix('2fff', '')}`],
    'a path with a line break': ['bad-address', `${sign} 21 31 00d8 ${unix('2f0a61', '')}`],
    'a cut value head': ['bad-tlv', `${sign} 21 11 000e ${inet} 0200`],
    'a value over the end': ['bad-tlv', `${sign} 21 11 000f ${inet} 020001`],
    'a checksum of 3 bytes': ['bad-tlv', `${sign} 21 11 0012 ${inet} 030003 000000`],
    'a wrong checksum': ['bad-checksum', `${sign} 21 11 0013 ${inet} 030004 00000000`],
    'two checksums': ['bad-tlv', `${sign} 21 11 001a ${inet} 030004 1d819838 030004 00000000`],
  }
  for (const [name, [what, hex]] of Object.entries(wrong)) {
    test(`refused: ${name}`, () => {
      refuses(() => decodeProxy(bytes(hex), 0), what)
      splitsAlike(decodeProxy, bytes(hex))
    })
  }

  test('one wrong bit anywhere after the signature fails the checksum', () => {
    const wire = encodeProxyV2({ ...common, ...inetEnds }, true)
    for (let at = 16; at < wire.length; at++) {
      const broken = damaged(wire, [[at, (wire[at] ?? 0) ^ 1]])
      if (at < 28 || at > 30) refuses(() => decodeProxy(broken, 0), 'bad-checksum')
    }
  })

  test('a path over 108 bytes has no form', () => {
    const source = end(`/${'a'.repeat(108)}`, 0)
    refuses(() => encodeProxyV2({ ...common, source, target: null }), 'unencodable', 'bug')
  })
})

test('a listener for one version refuses the other', () => {
  refuses(
    () =>
      decodeProxyV1(encodeProxyV2({ ...inetEnds, local: false, transport: 'stream', tlvs: [] }), 0),
    'absent',
  )
  refuses(() => decodeProxyV2(encodeProxyV1(inetEnds)), 'absent')
})

describe('any header', () => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6()).map(text => hostOf(text))
  const port = fc.nat({ max: 65_535 })
  const any = fc.tuple(host, port).map(([name, number]) => end(name, number))
  const ends = fc.tuple(any, any).map(([source, target]) => ({ source, target }))
  const type = fc.nat({ max: 255 }).filter(number => number !== 3 && number !== 4)
  const tlv = fc
    .tuple(type, fc.uint8Array({ maxLength: 9 }))
    .map(([number, value]) => ({ type: number, value: new Uint8Array(value) }))

  test('comes back as it was, with or without checksum, in any split', () => {
    const transport = fc.constantFrom('stream' as const, 'datagram' as const)
    const tlvs = fc.array(tlv, { maxLength: 3 })
    fc.assert(
      fc.property(
        ends,
        transport,
        tlvs,
        fc.boolean(),
        fc.array(fc.nat()),
        (two, kind, list, sum, cuts) => {
          const value: ProxyHeader = {
            ...two,
            version: 2,
            local: false,
            transport: kind,
            tlvs: list,
          }
          const wire = encodeProxyV2(value, sum)
          deepStrictEqual(decodeProxy(wire, 0), { kind: 'done', value, size: wire.length })
          splitsAlike(decodeProxy, wire, cuts)
          const line = encodeProxyV1(two)
          const { source, target } = valueOf(decodeProxy, line)
          deepStrictEqual({ source, target }, two)
          splitsAlike(decodeProxy, line, cuts)
        },
      ),
    )
  })

  test('noise only ever blames the peer, and any split of it decodes alike', () => {
    const hits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 })
    const valid = fc.constantFrom(
      bytes(`${sign} 21 11 0018 ${inet} 02 0002 6869 04 0004 00000000`),
      bytes(`${sign} 21 31 00d8 ${'2f61'.padEnd(432, '0')}`),
      encodeProxyV1(inetEnds),
    )
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.tuple(valid, hits).map(([wire, at]) => damaged(wire, at)),
    )
    fc.assert(
      fc.property(noise, fc.array(fc.nat()), (wire, cuts) => {
        survivesNoise(decodeProxy, wire)
        splitsAlike(decodeProxy, wire, cuts)
        splitsAlike(decodeProxy, wire)
      }),
      { numRuns: 500 },
    )
  })
})
