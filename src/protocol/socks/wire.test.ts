import { deepStrictEqual, strictEqual, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Bytes, concat, type Decoder, latin1Bytes, utf8Bytes } from '../../bytes/bytes.ts'
import { type Endpoint, parsePort } from '../../core/endpoint.ts'
import { type Blame, type ErrorCode, type ErrorContext, SluiceError } from '../../core/errors.ts'
import { damaged, splitsAlike, survivesNoise } from '../../testing/codec.ts'
import { hostOf } from '../../wire/address.ts'
import {
  decodeCredentials,
  decodeCredentialsReply,
  decodeGreeting5,
  decodeMethodChoice,
  decodeOpening,
  decodeReply4,
  decodeReply5,
  decodeRequest4,
  decodeRequest5,
  decodeUdpHeader,
  encodeCredentials,
  encodeCredentialsReply,
  encodeGreeting5,
  encodeMethodChoice,
  encodeReply4,
  encodeReply5,
  encodeRequest4,
  encodeRequest5,
  encodeUdpHeader,
  Socks4Reply,
  Socks5Reply,
  SocksCommand,
  SocksMethod,
  socks5ReplyFor,
  socksError,
} from './wire.ts'

const bytes = (hex: string): Bytes => Uint8Array.fromHex(hex.replaceAll(' ', ''))
const end = (host: string, port: number): Endpoint => ({ host, port: parsePort(port) })
const refuses = (run: () => unknown, code: string, blame = 'peer'): void => {
  throws(run, { name: 'SluiceError', code, blame })
}
/** `wire`, followed by early data, decodes to `value` in any split. */
function decodes<T>(decode: Decoder<T>, wire: Bytes, value: T): void {
  const whole = concat([wire, bytes('05010016')])
  deepStrictEqual(decode(whole, 0), { kind: 'done', value, size: wire.length })
  splitsAlike(decode, whole)
}
const c = latin1Bytes

describe('greeting of SOCKS5', () => {
  test('one method and 255 methods, both ways', () => {
    for (const methods of [bytes('00'), new Uint8Array(255).fill(0x80)]) {
      const wire = encodeGreeting5(methods)
      decodes(decodeGreeting5, wire, { version: 5, methods })
      decodes(decodeOpening, wire, { version: 5, methods })
    }
    deepStrictEqual(encodeGreeting5(bytes('0002')), bytes('05 02 0002'))
  })

  test('the methods do not live in the memory that was shown', () => {
    const wire = bytes('05 01 02')
    const decoded = decodeGreeting5(wire)
    wire.fill(0)
    deepStrictEqual(decoded.kind === 'done' && decoded.value.methods, bytes('02'))
  })

  test('refused: 0 methods', () => {
    refuses(() => decodeOpening(bytes('0500')), 'socks.no-methods')
  })
  test('refused: another version', () => {
    for (const first of ['00', '03', '06', '16', '47']) {
      refuses(() => decodeOpening(bytes(first)), 'socks.bad-version')
    }
  })
  test('0 or 256 methods have no form', () => {
    for (const count of [0, 256]) {
      refuses(() => encodeGreeting5(new Uint8Array(count)), 'socks.unencodable', 'bug')
    }
  })

  test('the choice of the server, both ways', () => {
    decodes(decodeMethodChoice, encodeMethodChoice(SocksMethod.password), 2)
    deepStrictEqual(encodeMethodChoice(SocksMethod.none), bytes('05ff'))
    refuses(() => decodeMethodChoice(bytes('04')), 'socks.bad-version')
  })
})

describe('user and password', () => {
  test('both ways, in UTF-8', () => {
    const wire = bytes('01 04 75736572 02 c3bc')
    const value = { user: 'user', pass: '\u00fc' }
    deepStrictEqual(encodeCredentials(value), wire)
    decodes(decodeCredentials, wire, value)
  })

  test('255 bytes each, and none at all', () => {
    for (const size of [255, 0]) {
      const value = { user: 'u'.repeat(size), pass: 'p'.repeat(size) }
      decodes(decodeCredentials, encodeCredentials(value), value)
    }
  })

  test('refused: another version', () => {
    refuses(() => decodeCredentials(bytes('05')), 'socks.bad-version')
  })
  test('refused: bytes that are not UTF-8', () => {
    refuses(() => decodeCredentials(bytes('01 01 ff 00')), 'socks.bad-credentials')
  })
  test('256 bytes are a mistake of the configuration', () => {
    const long = 'a'.repeat(256)
    const code = 'socks.credentials-too-long'
    refuses(() => encodeCredentials({ user: long, pass: '' }), code, 'config')
    refuses(() => encodeCredentials({ user: '', pass: long }), code, 'config')
  })

  test('the answer, both ways', () => {
    decodes(decodeCredentialsReply, encodeCredentialsReply(true), 0)
    deepStrictEqual(encodeCredentialsReply(false), bytes('0101'))
    refuses(() => decodeCredentialsReply(bytes('0500')), 'socks.bad-version')
  })
})

describe('request and reply of SOCKS5', () => {
  test('CONNECT to a domain, both ways', () => {
    const wire = bytes('05 01 00 03 0b 6578616d706c652e636f6d 0050')
    const value = { command: SocksCommand.connect, target: end('example.com', 80) }
    decodes(decodeRequest5, wire, value)
    deepStrictEqual(encodeRequest5(value), wire)
  })

  test('BIND is decoded, for the inbound to refuse, and UDP ASSOCIATE to IPv6', () => {
    const bind = { command: SocksCommand.bind, target: end('192.0.2.1', 1) }
    decodes(decodeRequest5, bytes('05 02 00 01 c0000201 0001'), bind)
    const udp = { command: SocksCommand.udpAssociate, target: end('::', 0) }
    decodes(decodeRequest5, bytes(`05 03 00 04 ${'0'.repeat(32)} 0000`), udp)
  })

  test('a domain of 255 bytes', () => {
    const value = { command: SocksCommand.connect, target: end('a'.repeat(255), 80) }
    decodes(decodeRequest5, encodeRequest5(value), value)
  })

  const wrong: Record<string, readonly [code: string, hex: string]> = {
    'another version': ['socks.bad-version', '04'],
    'command 0': ['socks.bad-command', '0500'],
    'command 4': ['socks.bad-command', '0504'],
    'a reserved byte': ['socks.bad-reserved', '050101'],
    'address type 2': ['address.bad-type', '05010002'],
    'a domain of 0 bytes': ['address.bad-domain', '0501000300'],
    'NUL in the domain': ['address.bad-domain', '05010003 02 6100 0050'],
    'a path as domain': ['address.bad-domain', '05010003 02 2f61 0050'],
  }
  for (const [name, [code, hex]] of Object.entries(wrong)) {
    test(`refused: ${name}`, () => {
      refuses(() => decodeRequest5(bytes(hex)), code)
      splitsAlike(decodeRequest5, bytes(hex))
    })
  }

  test('the reply, both ways', () => {
    const wire = bytes('05 00 00 01 c0000201 1f90')
    decodes(decodeReply5, wire, { code: 0, bound: end('192.0.2.1', 8080) })
    deepStrictEqual(encodeReply5(Socks5Reply.succeeded, end('192.0.2.1', 8080)), wire)
  })

  test('a reply without address, or with a UNIX one, says 0.0.0.0:0', () => {
    const wire = bytes('05 05 00 01 00000000 0000')
    deepStrictEqual(encodeReply5(Socks5Reply.connectionRefused), wire)
    deepStrictEqual(encodeReply5(Socks5Reply.connectionRefused, end('/run/x', 0)), wire)
    deepStrictEqual(encodeReply5(Socks5Reply.connectionRefused, end('@x', 0)), wire)
  })

  test('a reply with an unknown code or rubbish in the reserved byte is taken', () => {
    decodes(decodeReply5, bytes('05 77 aa 01 00000000 0000'), {
      code: 0x77,
      bound: end('0.0.0.0', 0),
    })
  })
  test('refused: a reply of another version', () => {
    refuses(() => decodeReply5(bytes('00')), 'socks.bad-version')
  })
})

describe('SOCKS4 and 4a', () => {
  test('CONNECT to an address with a user id, both ways', () => {
    const wire = bytes('04 01 0050 42660763 46726564 00')
    const value = {
      version: 4,
      command: SocksCommand.connect,
      target: end('66.102.7.99', 80),
      user: 'Fred',
    } as const
    decodes(decodeRequest4, wire, value)
    decodes(decodeOpening, wire, value)
    deepStrictEqual(encodeRequest4(value), wire)
  })

  test('4a names a domain, both ways', () => {
    const wire = bytes('04 01 0050 00000001 00 6578616d706c652e636f6d 00')
    const value = {
      version: 4,
      command: SocksCommand.connect,
      target: end('example.com', 80),
      user: '',
    } as const
    decodes(decodeRequest4, wire, value)
    deepStrictEqual(encodeRequest4(value), wire)
  })

  test('0.0.0.0 is an address, not the sign of a domain', () => {
    const target = end('0.0.0.0', 80)
    const value = { version: 4, command: SocksCommand.bind, target, user: '\xff' } as const
    decodes(decodeRequest4, bytes('04 02 0050 00000000 ff 00'), value)
    deepStrictEqual(encodeRequest4(value), bytes('04 02 0050 00000000 ff 00'))
  })

  const head = bytes('04 01 0050 00000001')
  test('a user id and a domain of 255 bytes are taken', () => {
    const name = 'a'.repeat(255)
    const wire = concat([head, c(`${name}\0${name}\0`)])
    decodes(decodeRequest4, wire, {
      version: 4,
      command: SocksCommand.connect,
      target: end(name, 80),
      user: name,
    })
  })

  test('refused: a user id of 256 bytes, ended or not', () => {
    for (const rest of ['u'.repeat(256), `${'u'.repeat(256)}\0a\0`]) {
      const wire = concat([head, c(rest)])
      refuses(() => decodeRequest4(wire), 'socks.user-too-long')
      splitsAlike(decodeRequest4, wire)
    }
    strictEqual(decodeRequest4(concat([head, c('u'.repeat(255))])).kind, 'need')
  })

  test('refused: a domain of 256 bytes, ended or not', () => {
    for (const rest of ['a'.repeat(256), `${'a'.repeat(256)}\0`]) {
      const wire = concat([head, c(`\0${rest}`)])
      refuses(() => decodeRequest4(wire), 'socks.domain-too-long')
      splitsAlike(decodeRequest4, wire)
    }
  })

  test('refused: an empty or wrong domain', () => {
    refuses(() => decodeRequest4(concat([head, c('\0\0')])), 'address.bad-domain')
    refuses(() => decodeRequest4(concat([head, c('\0a b\0')])), 'address.bad-domain')
  })
  test('refused: another command, UDP ASSOCIATE too', () => {
    for (const command of ['00', '03', 'ff']) {
      refuses(() => decodeRequest4(bytes(`04 ${command}`)), 'socks.bad-command')
    }
  })
  test('refused: another version', () => {
    refuses(() => decodeRequest4(bytes('05')), 'socks.bad-version')
  })

  test('what the format cannot say is refused before it is sent', () => {
    const request = { command: SocksCommand.connect, target: end('192.0.2.1', 1), user: '' }
    const wrong: readonly (readonly [host: string, user: string, code: string, blame: string])[] = [
      ['2001:db8::1', '', 'socks.no-ipv6', 'refused'],
      ['0.0.0.9', '', 'socks.unencodable', 'bug'],
      ['192.0.2.1', 'a\0b', 'socks.unencodable', 'bug'],
      ['192.0.2.1', '\u0100', 'socks.unencodable', 'bug'],
      ['192.0.2.1', 'u'.repeat(256), 'socks.credentials-too-long', 'config'],
      ['/run/x', '', 'address.unencodable', 'bug'],
    ]
    for (const [host, user, code, blame] of wrong) {
      refuses(() => encodeRequest4({ ...request, target: end(host, 1), user }), code, blame)
    }
  })

  test('the reply, both ways', () => {
    const wire = bytes('00 5a 1f90 c0000201')
    decodes(decodeReply4, wire, { code: Socks4Reply.granted, bound: end('192.0.2.1', 8080) })
    deepStrictEqual(encodeReply4(Socks4Reply.granted, end('192.0.2.1', 8080)), wire)
    deepStrictEqual(encodeReply4(Socks4Reply.rejected), bytes('00 5b 0000 00000000'))
    deepStrictEqual(encodeReply4(Socks4Reply.granted, end('::1', 5)), bytes('00 5a 0000 00000000'))
    refuses(() => decodeReply4(bytes('04')), 'socks.bad-version')
  })
})

describe('the header of a UDP datagram', () => {
  test('both ways; the payload is what follows', () => {
    const wire = bytes('0000 00 01 08080808 0035')
    decodes(decodeUdpHeader, wire, { fragment: 0, peer: end('8.8.8.8', 53) })
    deepStrictEqual(encodeUdpHeader(end('8.8.8.8', 53)), wire)
  })
  test('a fragment is decoded and says so', () => {
    decodes(decodeUdpHeader, bytes('0000 81 01 08080808 0035'), {
      fragment: 0x81,
      peer: end('8.8.8.8', 53),
    })
  })
  test('a datagram that was cut needs more', () => {
    strictEqual(decodeUdpHeader(bytes('0000 00 01 0808')).kind, 'need')
    strictEqual(decodeUdpHeader(bytes('')).kind, 'need')
  })
  test('refused: a reserved byte', () => {
    refuses(() => decodeUdpHeader(bytes('0001')), 'socks.bad-reserved')
    refuses(() => decodeUdpHeader(bytes('01')), 'socks.bad-reserved')
  })
  test('refused: a wrong address', () => {
    refuses(() => decodeUdpHeader(bytes('0000 00 02')), 'address.bad-type')
    refuses(() => decodeUdpHeader(bytes('0000 00 03 00')), 'address.bad-domain')
  })
})

describe('the reply for an error', () => {
  const failed = (code: ErrorCode, blame: Blame, context: ErrorContext = {}): number =>
    socks5ReplyFor(new SluiceError(code, blame, 'x', context))

  test('what the system said', () => {
    const said = (system: string): number =>
      failed('net.connect-failed', 'network', { call: 'connect', system })
    strictEqual(said('ECONNREFUSED'), 5)
    strictEqual(said('EHOSTUNREACH'), 4)
    strictEqual(said('ENETUNREACH'), 3)
    strictEqual(said('ETIMEDOUT'), 4)
    strictEqual(said('ENOTFOUND'), 4)
    strictEqual(said('ECONNRESET'), 1)
  })
  test('a name that does not resolve, and timeouts of our own', () => {
    strictEqual(failed('dns.failed', 'network', { call: 'resolve', system: 'EAI_AGAIN' }), 4)
    strictEqual(failed('net.connect-timeout', 'network'), 4)
    strictEqual(failed('dns.no-answer', 'network'), 4)
    strictEqual(failed('dial.timeout', 'refused'), 4)
  })
  test('what the request asked for', () => {
    strictEqual(socks5ReplyFor(socksError('bad-command')), 7)
    strictEqual(socks5ReplyFor(socksError('command-refused')), 7)
    strictEqual(failed('address.bad-type', 'peer'), 8)
  })
  test('our policy, and everything else', () => {
    strictEqual(failed('route.blocked', 'refused'), 2)
    strictEqual(failed('dns.private-answer', 'refused', { call: 'resolve' }), 2)
    strictEqual(failed('core.bug', 'bug'), 1)
    strictEqual(failed('socks.bad-version', 'peer'), 1)
  })
})

describe('any message', () => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()).map(text => hostOf(text))
  const target = fc.tuple(host, fc.nat({ max: 65_535 })).map(([name, port]) => end(name, port))

  test('comes back as it was, in any split', () => {
    const command = fc.constantFrom(...Object.values(SocksCommand))
    fc.assert(
      fc.property(command, target, fc.array(fc.nat()), (asked, peer, cuts) => {
        const request = encodeRequest5({ command: asked, target: peer })
        decodes(decodeRequest5, request, { command: asked, target: peer })
        splitsAlike(decodeRequest5, request, cuts)
        decodes(decodeUdpHeader, encodeUdpHeader(peer), { fragment: 0, peer })
        decodes(decodeReply5, encodeReply5(0, peer), { code: 0, bound: peer })
      }),
    )
  })

  test('noise only ever blames the peer, and any split of it decodes alike', () => {
    const decoders: readonly Decoder<unknown>[] = [
      decodeOpening,
      decodeGreeting5,
      decodeRequest4,
      decodeCredentials,
      decodeRequest5,
      decodeMethodChoice,
      decodeCredentialsReply,
      decodeReply5,
      decodeReply4,
      decodeUdpHeader,
    ]
    const valid = fc.constantFrom(
      bytes('05 02 0002'),
      bytes('04 01 0050 00000001 41 00 6578 00'),
      encodeCredentials({ user: 'user', pass: 'pass' }),
      bytes('05 01 00 03 03 612e62 0050'),
      bytes('00 5a 0050 01020304'),
      concat([bytes('0000 00 01 08080808 0035'), utf8Bytes('x')]),
    )
    const hits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 })
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.tuple(valid, hits).map(([wire, at]) => damaged(wire, at)),
    )
    fc.assert(
      fc.property(noise, fc.array(fc.nat()), (wire, cuts) => {
        for (const decode of decoders) {
          survivesNoise(decode, wire)
          splitsAlike(decode, wire, cuts)
          splitsAlike(decode, wire)
        }
      }),
      { numRuns: 500 },
    )
  })
})
