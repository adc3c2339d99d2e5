import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Bytes, latin1Bytes, latin1Text } from '../bytes/bytes.ts'
import { damaged, splitsAlike, survivesNoise } from '../testing/codec.ts'
import {
  absoluteTarget,
  basicCredentials,
  bodyKind,
  connectTarget,
  decodeRequestHead,
  decodeResponseHead,
  encodeRequestHead,
  encodeResponseHead,
  field,
  fieldAll,
  httpLimits,
  type RequestHead,
  type ResponseHead,
  responseBodyKind,
} from './http-head.ts'

const refuses = (run: () => unknown, code: string, blame = 'peer'): void => {
  throws(run, { name: 'SluiceError', code, blame })
}
function requestOf(text: string): RequestHead {
  const decoded = decodeRequestHead(latin1Bytes(text), 0)
  ok(decoded.kind === 'done', 'the head is whole')
  return decoded.value
}
function responseOf(text: string): ResponseHead {
  const decoded = decodeResponseHead(latin1Bytes(text), 0)
  ok(decoded.kind === 'done', 'the head is whole')
  return decoded.value
}
const lines = (...all: readonly string[]): string => `${all.join('\r\n')}\r\n\r\n`

const get = lines('GET /a?b HTTP/1.1', 'Host: example.com', 'X-Empty:', 'X-Wide: \t a \xa0\t')

describe('request head', () => {
  test('method, target, version and fields, and nothing of what follows', () => {
    const value = {
      method: 'GET',
      target: '/a?b',
      version: '1.1',
      fields: [
        ['Host', 'example.com'],
        ['X-Empty', ''],
        ['X-Wide', 'a \xa0'],
      ],
    }
    deepStrictEqual(decodeRequestHead(latin1Bytes(`${get}body\n\0`), 0), {
      kind: 'done',
      value,
      size: get.length,
    })
    splitsAlike(decodeRequestHead, latin1Bytes(`${get}body\n\0`))
  })

  test('HTTP/1.0 may come without fields', () => {
    deepStrictEqual(requestOf('GET / HTTP/1.0\r\n\r\n').fields, [])
  })

  test('one empty line in front is skipped, and counts in the size', () => {
    const decoded = decodeRequestHead(latin1Bytes(`\r\n${get}`), 0)
    strictEqual(decoded.kind === 'done' && decoded.size, get.length + 2)
    splitsAlike(decodeRequestHead, latin1Bytes(`\r\n${get}`))
  })

  const host = 'Host: a'
  const wrong: Record<string, readonly [code: string, text: string]> = {
    'two empty lines in front': ['bad-request-line', `\r\n\r\n${get}`],
    'LF alone': ['bare-lf', `GET / HTTP/1.1\n`],
    'LF alone at the end': ['bare-lf', `GET / HTTP/1.1\r\n${host}\r\n\n`],
    'CR alone': ['bare-cr', `GET / HTTP/1.1\r${host}`],
    'CR CR LF': ['bare-cr', `GET / HTTP/1.1\r\r\n`],
    'obsolete folding': ['folded-field', lines('GET / HTTP/1.1', host, 'A: b', '  c')],
    'folding of the first field': ['folded-field', lines('GET / HTTP/1.1', '\tHost: a')],
    'NUL in a value': ['control-character', `GET / HTTP/1.1\r\nHost: a\0`],
    'DEL in a value': ['control-character', `GET / HTTP/1.1\r\nHost: a\x7f`],
    'ESC in a name': ['control-character', `GET / HTTP/1.1\r\n\x1b`],
    'a TLS record': ['control-character', '\x16\x03\x01\x02\0\x01'],
    'space before the colon': ['space-before-colon', lines('GET / HTTP/1.1', 'Host : a')],
    'tab before the colon': ['space-before-colon', lines('GET / HTTP/1.1', 'Host\t: a')],
    'an empty name': ['empty-name', lines('GET / HTTP/1.1', ': a')],
    'no colon': ['no-colon', lines('GET / HTTP/1.1', 'Host')],
    'a name with a space': ['bad-name', lines('GET / HTTP/1.1', 'Ho st: a')],
    'a name above ASCII': ['bad-name', lines('GET / HTTP/1.1', 'H\xf6st: a')],
    'a method that is no token': ['bad-method', lines('G@T / HTTP/1.1', host)],
    'an empty method': ['bad-method', lines(' / HTTP/1.1', host)],
    'two words': ['bad-request-line', lines('GET /', host)],
    'four words': ['bad-request-line', lines('GET / b HTTP/1.1', host)],
    'two spaces': ['bad-request-line', lines('GET  / HTTP/1.1', host)],
    'a target above ASCII': ['bad-target', lines('GET /\xe4 HTTP/1.1', host)],
    'an empty target': ['bad-request-line', lines('GET  HTTP/1.1 ', host)],
    'a tab in the request line': ['bad-target', lines('GET /\t HTTP/1.1', host)],
    'HTTP/2': ['bad-version', lines('PRI * HTTP/2.0')],
    'HTTP/1.2': ['bad-version', lines('GET / HTTP/1.2', host)],
    'HTTP/0.9': ['bad-version', lines('GET / HTTP/0.9', host)],
    'lower case version': ['bad-version', lines('GET / http/1.1', host)],
    'no Host': ['no-host', lines('GET / HTTP/1.1', 'A: b')],
    'two Hosts': ['several-hosts', lines('GET / HTTP/1.1', host, 'hOST: a')],
    'two Hosts in 1.0': ['several-hosts', lines('GET / HTTP/1.0', host, host)],
    'a list of Hosts': ['bad-host', lines('GET / HTTP/1.1', 'Host: a, b')],
    'a Host with user': ['bad-host', lines('GET / HTTP/1.1', 'Host: a@b')],
    'a Host with a path': ['bad-host', lines('GET / HTTP/1.1', 'Host: a/b')],
  }
  for (const [name, [code, text]] of Object.entries(wrong)) {
    test(`refused: ${name}`, () => {
      refuses(() => decodeRequestHead(latin1Bytes(text), 0), `http.${code}`)
      splitsAlike(decodeRequestHead, latin1Bytes(text))
    })
  }

  const framing: Record<string, readonly [code: string, ...fields: readonly string[]]> = {
    'length and coding': ['length-and-coding', 'Content-Length: 5', 'Transfer-Encoding: chunked'],
    'coding and length': ['length-and-coding', 'transfer-encoding: chunked', 'content-length: 0'],
    'differing lengths': ['several-lengths', 'Content-Length: 5', 'Content-Length: 6'],
    'equal lengths': ['several-lengths', 'Content-Length: 5', 'Content-Length: 5'],
    'a list of lengths': ['several-lengths', 'Content-Length: 5, 5'],
    'a signed length': ['bad-length', 'Content-Length: +5'],
    'a negative length': ['bad-length', 'Content-Length: -5'],
    'a hexadecimal length': ['bad-length', 'Content-Length: 0x5'],
    'an empty length': ['bad-length', 'Content-Length:'],
    'a length with a space': ['bad-length', 'Content-Length: 5 5'],
    'a length of 2^53': ['length-too-large', 'Content-Length: 9007199254740992'],
    'a length of 400 digits': ['length-too-large', `Content-Length: ${'9'.repeat(400)}`],
    'gzip, chunked': ['bad-coding', 'Transfer-Encoding: gzip, chunked'],
    'chunked twice': ['bad-coding', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    'chunked with a parameter': ['bad-coding', 'Transfer-Encoding: chunked;a=b'],
    identity: ['bad-coding', 'Transfer-Encoding: identity'],
    'an empty coding': ['bad-coding', 'Transfer-Encoding:'],
    'chunked with vertical tab': ['control-character', 'Transfer-Encoding: \vchunked'],
    'chunked behind a no-break space': ['bad-coding', 'Transfer-Encoding: \xa0chunked'],
  }
  for (const [name, [code, ...fields]] of Object.entries(framing)) {
    test(`refused in requests and responses: ${name}`, () => {
      refuses(() => requestOf(lines('POST / HTTP/1.1', host, ...fields)), `http.${code}`)
      refuses(() => responseOf(lines('HTTP/1.1 200 OK', ...fields)), `http.${code}`)
    })
  }

  test('refused: coding in HTTP/1.0', () => {
    const coding = 'Transfer-Encoding: chunked'
    refuses(() => requestOf(lines('POST / HTTP/1.0', coding)), 'http.old-coding')
    refuses(() => responseOf(lines('HTTP/1.0 200 OK', coding)), 'http.old-coding')
  })

  test('every form of Host that RFC 9110 has', () => {
    for (const value of [
      '',
      'a:',
      'a:8080',
      '[2001:db8::1]:80',
      '10.0.0.1',
      "a_b-c!$&'()*+;=%41~",
    ]) {
      strictEqual(field(requestOf(lines('GET / HTTP/1.1', `Host: ${value}`)), 'host'), value)
    }
  })
})

describe('limits of a head', () => {
  const start = 'GET / HTTP/1.1\r\nHost: a\r\n'
  const tooLarge = 'http.head-too-large'

  test('128 fields are taken, 129 are not', () => {
    const rest = (count: number): string => lines(...Array<string>(count).fill('A: b'))
    strictEqual(requestOf(start + rest(httpLimits.fieldsMax - 1)).fields.length, 128)
    refuses(() => requestOf(start + rest(httpLimits.fieldsMax)), tooLarge)
  })

  test('a line of 16,384 bytes is taken, one of 16,385 is not', () => {
    const line = (size: number): string => `${start}A: ${'b'.repeat(size - 3)}\r\n\r\n`
    strictEqual(field(requestOf(line(httpLimits.lineBytesMax)), 'a')?.length, 16_381)
    refuses(() => requestOf(line(httpLimits.lineBytesMax + 1)), tooLarge)
    const target = '/'.repeat(httpLimits.lineBytesMax)
    refuses(() => requestOf(`GET ${target} HTTP/1.0\r\n\r\n`), tooLarge)
  })

  test('a head of 65,536 bytes is taken, one of 65,537 is not', () => {
    const line = `A: ${'b'.repeat(13_000)}\r\n`
    const body = start + line.repeat(5)
    const head = (size: number): string => `${body}C: ${'d'.repeat(size - body.length - 7)}\r\n\r\n`
    strictEqual(head(65_536).length, httpLimits.headBytesMax)
    strictEqual(requestOf(head(65_536)).fields.length, 7)
    refuses(() => requestOf(head(65_537)), tooLarge)
    refuses(() => responseOf(head(65_537)), tooLarge)
  })

  test('an endless line is refused at 65,536 bytes, not before they are there', () => {
    const endless = new Uint8Array(httpLimits.headBytesMax).fill(0x41)
    strictEqual(decodeRequestHead(endless.subarray(1), 0).kind, 'need')
    refuses(() => decodeRequestHead(endless, 0), tooLarge)
  })

  test('each byte is looked at once, so a byte at a time costs no more than all at once', () => {
    const wire = latin1Bytes(`${start}A: ${'b'.repeat(16_000)}\r\n\r\n`)
    let reads = 0
    const counted = (bytes: Bytes): Bytes =>
      new Proxy(bytes, {
        get(target, key) {
          if (typeof key === 'string' && /^\d+$/.test(key)) reads += 1
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    let isDone = false
    for (let end = 1; end <= wire.length; end++) {
      isDone = decodeRequestHead(counted(wire.subarray(0, end)), end - 1).kind === 'done'
    }
    ok(isDone)
    ok(reads < 8 * wire.length, `${String(reads)} reads`)
  })

  test('white space without end costs linear time', () => {
    const text = `${start}A: b${' '.repeat(16_000)}c${'\t'.repeat(300)}\r\n\r\n`
    strictEqual(field(requestOf(text), 'A')?.length, 16_002)
  })
})

describe('response head', () => {
  test('version, status, reason and fields', () => {
    const text = lines('HTTP/1.1 404 Not  Found \xe4', 'A: b')
    deepStrictEqual(decodeResponseHead(latin1Bytes(`${text}x`), 0), {
      kind: 'done',
      value: { version: '1.1', status: 404, reason: 'Not  Found \xe4', fields: [['A', 'b']] },
      size: text.length,
    })
    splitsAlike(decodeResponseHead, latin1Bytes(`${text}x`))
  })

  test('an empty reason, with and without its space', () => {
    strictEqual(responseOf(lines('HTTP/1.0 200 ')).reason, '')
    strictEqual(responseOf(lines('HTTP/1.0 200')).reason, '')
  })

  const wrong: Record<string, readonly [code: string, text: string]> = {
    'an empty line in front': ['bad-status-line', `\r\n${lines('HTTP/1.1 200 OK')}`],
    'nothing but line ends': ['bad-status-line', '\r\n\r\n'],
    'two digits': ['bad-status-line', lines('HTTP/1.1 20 OK')],
    'four digits': ['bad-status-line', lines('HTTP/1.1 2000 OK')],
    'status 099': ['bad-status-line', lines('HTTP/1.1 099 OK')],
    'two spaces': ['bad-status-line', lines('HTTP/1.1  200 OK')],
    'another protocol': ['bad-version', lines('ICY 200 OK')],
    'HTTP/2': ['bad-version', lines('HTTP/2 200')],
    folding: ['folded-field', lines('HTTP/1.1 200 OK', 'A: b', ' c')],
    'LF alone': ['bare-lf', 'HTTP/1.1 200 OK\n'],
  }
  for (const [name, [code, text]] of Object.entries(wrong)) {
    test(`refused: ${name}`, () => {
      refuses(() => decodeResponseHead(latin1Bytes(text), 0), `http.${code}`)
      splitsAlike(decodeResponseHead, latin1Bytes(text))
    })
  }
})

describe('where the body ends', () => {
  const request = (method: string, ...fields: readonly string[]): RequestHead =>
    requestOf(lines(`${method} / HTTP/1.1`, 'Host: a', ...fields))
  const response = (status: number, ...fields: readonly string[]): ResponseHead =>
    responseOf(lines(`HTTP/1.1 ${String(status)} x`, ...fields))

  test('requests', () => {
    deepStrictEqual(bodyKind(request('GET')), { kind: 'none' })
    deepStrictEqual(bodyKind(request('POST', 'Content-Length: 0')), { kind: 'length', bytes: 0 })
    deepStrictEqual(bodyKind(request('POST', 'content-length:  007 ')), {
      kind: 'length',
      bytes: 7,
    })
    deepStrictEqual(bodyKind(request('GET', 'Content-Length: 9007199254740991')), {
      kind: 'length',
      bytes: 9_007_199_254_740_991,
    })
    deepStrictEqual(bodyKind(request('POST', 'Transfer-Encoding: CHUNKED')), { kind: 'chunked' })
    deepStrictEqual(bodyKind(request('CONNECT', 'Content-Length: 5')), { kind: 'none' })
  })

  test('responses', () => {
    const length = 'Content-Length: 5'
    const chunked = 'Transfer-Encoding: chunked'
    deepStrictEqual(responseBodyKind(response(200), 'GET'), { kind: 'until-close' })
    deepStrictEqual(responseBodyKind(response(200, length), 'GET'), { kind: 'length', bytes: 5 })
    deepStrictEqual(responseBodyKind(response(404, chunked), 'GET'), { kind: 'chunked' })
    for (const status of [100, 101, 103, 204, 304]) {
      deepStrictEqual(responseBodyKind(response(status, length), 'GET'), { kind: 'none' })
    }
    deepStrictEqual(responseBodyKind(response(200, length), 'HEAD'), { kind: 'none' })
    deepStrictEqual(responseBodyKind(response(200, chunked), 'CONNECT'), { kind: 'none' })
    deepStrictEqual(responseBodyKind(response(407, length), 'CONNECT'), {
      kind: 'length',
      bytes: 5,
    })
  })
})

describe('fields', () => {
  test('are found in any case, the first one or all', () => {
    const head = requestOf(lines('GET / HTTP/1.0', 'A: 1', 'a: 2', 'B: 3'))
    strictEqual(field(head, 'a'), '1')
    deepStrictEqual(fieldAll(head, 'A'), ['1', '2'])
    strictEqual(field(head, 'c'), null)
  })
})

describe('encoding', () => {
  const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}$/)
  const text = fc.stringMatching(/^[\x21-\x7e\xa0-\xff]([\t\x20-\x7e\xa0-\xff]{0,8}[\x21-\x7e])?$/)
  const safeToken = token.filter(name => !/^(?:host|content-length|transfer-encoding)$/i.test(name))
  const fields = fc.array(fc.tuple(safeToken, fc.oneof(text, fc.constant(''))), { maxLength: 5 })

  test('a request comes back as it was', () => {
    const target = fc.stringMatching(/^[\x21-\x7e]{1,10}$/)
    fc.assert(
      fc.property(token, target, fields, fc.array(fc.nat()), (method, path, list, cuts) => {
        const value: RequestHead = {
          method,
          target: path,
          version: '1.1',
          fields: [['Host', 'a'], ...list],
        }
        const wire = encodeRequestHead(value)
        deepStrictEqual(decodeRequestHead(wire, 0), { kind: 'done', value, size: wire.length })
        splitsAlike(decodeRequestHead, wire, cuts)
      }),
    )
  })

  test('a response comes back as it was', () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 999 }), text, fields, (status, reason, list) => {
        const value: ResponseHead = { version: '1.0', status, reason, fields: list }
        const wire = encodeResponseHead(value)
        deepStrictEqual(decodeResponseHead(wire, 0), { kind: 'done', value, size: wire.length })
      }),
    )
  })

  test('the bytes are those of RFC 9112', () => {
    const request = encodeRequestHead({
      method: 'CONNECT',
      target: 'a:1',
      version: '1.1',
      fields: [['Host', 'a:1']],
    })
    strictEqual(latin1Text(request), 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n')
    const response = encodeResponseHead({ version: '1.1', status: 200, reason: '', fields: [] })
    strictEqual(latin1Text(response), 'HTTP/1.1 200 \r\n\r\n')
  })

  test('no text can make a line of its own', () => {
    const head: RequestHead = { method: 'GET', target: '/', version: '1.1', fields: [] }
    const wrong: readonly RequestHead[] = [
      { ...head, method: 'GET /' },
      { ...head, target: '/ HTTP/1.1\r\nA:' },
      { ...head, target: '' },
      { ...head, fields: [['A', 'b\r\nC: d']] },
      { ...head, fields: [['A', 'b\u010d\u010aC: d']] },
      { ...head, fields: [['A', ' b']] },
      { ...head, fields: [['A:', 'b']] },
      { ...head, fields: [['', 'b']] },
    ]
    for (const each of wrong) refuses(() => encodeRequestHead(each), 'http.unencodable', 'bug')
    const response: ResponseHead = { version: '1.1', status: 200, reason: 'a\nb', fields: [] }
    refuses(() => encodeResponseHead(response), 'http.unencodable', 'bug')
    refuses(
      () => encodeResponseHead({ ...response, reason: '', status: 1000 }),
      'http.unencodable',
      'bug',
    )
  })
})

describe('targets', () => {
  test('authority-form', () => {
    deepStrictEqual(connectTarget('Example.com:443'), { host: 'example.com', port: 443 })
    deepStrictEqual(connectTarget('[2001:DB8::1]:1'), { host: '2001:db8::1', port: 1 })
    const wrong = [
      'a',
      'a:',
      'a:0',
      'a:65536',
      ':1',
      '::1:1',
      'u@a:1',
      'http://a:1',
      'a:1/',
      '[::1%e]:1',
    ]
    for (const target of wrong) refuses(() => connectTarget(target), 'http.bad-target')
  })

  test('absolute-form', () => {
    const get = (target: string): unknown => absoluteTarget(target, 'GET')
    const end = { host: 'a', port: 80 }
    deepStrictEqual(get('http://A/b?c'), { target: end, path: '/b?c', authority: 'a' })
    deepStrictEqual(get('HTTP://a'), { target: end, path: '/', authority: 'a' })
    deepStrictEqual(get('http://a:80/'), { target: end, path: '/', authority: 'a' })
    deepStrictEqual(get('http://a:/'), { target: end, path: '/', authority: 'a' })
    deepStrictEqual(get('http://a?q/@x'), { target: end, path: '/?q/@x', authority: 'a' })
    deepStrictEqual(get('http://[::1]:8080//x'), {
      target: { host: '::1', port: 8080 },
      path: '//x',
      authority: '[::1]:8080',
    })
    deepStrictEqual(get('http://[::1]/'), {
      target: { host: '::1', port: 80 },
      path: '/',
      authority: '[::1]',
    })
    strictEqual(absoluteTarget('http://a', 'OPTIONS').path, '*')
    strictEqual(absoluteTarget('http://a/', 'OPTIONS').path, '/')
    const wrong = [
      'https://a/',
      'ftp://a/',
      '/a',
      '*',
      'http:/a',
      'http://',
      'http:///b',
      'http://u:p@a/',
      'http://a/#b',
      'http://a:0/',
      'http://a:99999/',
      'http://a b/',
      'http://a\\b/',
      'http://%61/',
      'http://127.1/',
    ]
    for (const target of wrong) refuses(() => get(target), 'http.bad-target')
  })

  test('the error never repeats what was asked for', () => {
    throws(
      () => connectTarget('secret.example:x'),
      (thrown: Error) => !thrown.message.includes('secret'),
    )
  })
})

describe('Basic credentials', () => {
  test('the examples of RFC 7617', () => {
    deepStrictEqual(basicCredentials('Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=='), {
      user: 'Aladdin',
      pass: 'open sesame',
    })
    deepStrictEqual(basicCredentials('basic   dGVzdDoxMjPCow=='), {
      user: 'test',
      pass: '123\u00a3',
    })
  })

  test('the password may hold colons, and both may be empty', () => {
    deepStrictEqual(basicCredentials(`Basic ${btoa('a:b:c')}`), { user: 'a', pass: 'b:c' })
    deepStrictEqual(basicCredentials(`Basic ${btoa(':')}`), { user: '', pass: '' })
  })

  const wrong = {
    'another scheme': 'Bearer QTpi',
    'no scheme': 'QTpi',
    'nothing after it': 'Basic ',
    'missing padding': 'Basic QTpiYg',
    'too much padding': 'Basic QTpi==',
    'bits that are left over': 'Basic QTpiYh==',
    'white space inside': 'Basic QT pi',
    'white space behind': 'Basic QTpi ',
    'the alphabet of URLs': 'Basic QTpi-_==',
    'no colon': `Basic ${btoa('abc')}`,
    'not UTF-8': `Basic ${btoa('a:\xff')}`,
    'a control character': `Basic ${btoa('a:\0')}`,
  }
  for (const [name, value] of Object.entries(wrong)) {
    test(`none: ${name}`, () => {
      strictEqual(basicCredentials(value), null)
    })
  }
})

describe('noise', () => {
  const hits = fc.array(
    fc.tuple(fc.nat(), fc.constantFrom(0, 9, 10, 13, 32, 44, 48, 58, 65, 255)),
    {
      maxLength: 3,
    },
  )
  const pieces = fc
    .array(
      fc.constantFrom(
        '\r\n',
        '\r',
        '\n',
        ' ',
        '\t',
        ':',
        'A',
        'Host: a',
        'Content-Length: 1',
        ',',
        'GET / HTTP/1.1',
        'HTTP/1.1 200 OK',
        'Transfer-Encoding: chunked',
        '\0',
        '\xff',
      ),
      { maxLength: 12 },
    )
    .map(parts => latin1Bytes(parts.join('')))
  const valid = lines('POST / HTTP/1.1', 'Host: a', 'Content-Length: 12', 'B: c')
  const noise: fc.Arbitrary<Bytes> = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    pieces,
    hits.map(at => damaged(latin1Bytes(valid), at)),
    hits.map(at => damaged(latin1Bytes(lines('HTTP/1.1 200 OK', 'Content-Length: 12')), at)),
  )
  test('any split decodes alike, and noise only ever blames the peer', () => {
    fc.assert(
      fc.property(noise, fc.array(fc.nat()), (wire, cuts) => {
        for (const decode of [decodeRequestHead, decodeResponseHead]) {
          survivesNoise<RequestHead | ResponseHead>(decode, wire)
          splitsAlike<RequestHead | ResponseHead>(decode, wire, cuts)
          splitsAlike<RequestHead | ResponseHead>(decode, wire)
        }
      }),
      { numRuns: 500 },
    )
  })
})
