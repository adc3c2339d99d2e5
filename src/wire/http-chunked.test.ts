import { deepStrictEqual, strictEqual, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Bytes, type Decoded, done, latin1Bytes, need } from '../bytes/bytes.ts'
import { asError } from '../core/errors.ts'
import { damaged, splitsAlike, survivesNoise } from '../testing/codec.ts'
import { ChunkedBody, chunkedLimits } from './http-chunked.ts'

/** One look at the whole, as a decoder would. */
const delimit = (bytes: Bytes): Decoded<true> => {
  const { taken, ended } = new ChunkedBody().feed(bytes)
  return ended ? done(true, taken) : need(1)
}

/** Feeds one body in pieces that end at `cuts`; what it took in all, and how it went. */
function inPieces(bytes: Bytes, cuts: readonly number[]): readonly [taken: number, how: string] {
  const ends = [...cuts.map(cut => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  const body = new ChunkedBody()
  let taken = 0
  let at = 0
  try {
    for (const end of ends) {
      taken += body.feed(bytes.subarray(at, end)).taken
      at = end
    }
  } catch (thrown) {
    return [0, asError(thrown).code]
  }
  return [taken, body.ended ? 'ended' : 'open']
}

const example = '4\r\nWiki\r\n7;a=b;c="d e"\r\npedia i\r\nB\t;x\r\nn \r\nchunks.\r\n0\r\n\r\n'

describe('the end of a chunked body', () => {
  test('is found, and what follows is left', () => {
    const body = new ChunkedBody()
    deepStrictEqual(body.feed(latin1Bytes(`${example}GET /`)), {
      taken: example.length,
      ended: true,
    })
    strictEqual(body.ended, true)
    deepStrictEqual(body.feed(latin1Bytes('more')), { taken: 0, ended: true })
  })

  test('is found after trailer fields', () => {
    const text = '00;last\r\nA: b\r\nC:\r\n\r\n'
    deepStrictEqual(delimit(latin1Bytes(`${text}\r\n`)), {
      kind: 'done',
      value: true,
      size: text.length,
    })
  })

  test('payload is not looked at', () => {
    const text = '8\r\n\n\r\0\n\r\n0\r\r\n0\r\n\r\n'
    deepStrictEqual(delimit(latin1Bytes(text)), { kind: 'done', value: true, size: text.length })
  })

  test('the largest chunk is 2^53 - 1 bytes, and only counted', () => {
    const body = new ChunkedBody()
    strictEqual(body.feed(latin1Bytes('001fffffffffffff\r\nabc')).ended, false)
  })

  test('empty input changes nothing', () => {
    deepStrictEqual(new ChunkedBody().feed(new Uint8Array(0)), { taken: 0, ended: false })
  })

  const wrong: Record<string, readonly [code: string, text: string]> = {
    'a size of 2^53': ['chunk-too-large', '20000000000000\r\n'],
    'a size of 17 digits': ['chunk-too-large', '00000000000000001'],
    'a size of 16 digits over 2^53': ['chunk-too-large', 'ffffffffffffffff\r\n'],
    'no size': ['bad-chunk-size', '\r\n'],
    'an extension without size': ['bad-chunk-size', ';a\r\n'],
    'a negative size': ['bad-chunk-size', '-1\r\n'],
    'a prefix': ['bad-chunk-size', '0x5\r\n'],
    'space before the size': ['bad-chunk-size', ' 5\r\n'],
    'space behind the size': ['bad-chunk-size', '5 \r\n'],
    'an underscore': ['bad-chunk-size', '1_0\r\n'],
    'LF after the size': ['bare-lf', '5\n'],
    'LF in an extension': ['bare-lf', '5;a\n'],
    'CR in an extension': ['bare-cr', '5;a\rb'],
    'CR after the size': ['bare-cr', '5\rb'],
    'NUL in an extension': ['control-character', '5;\0'],
    'a chunk longer than its size': ['bad-chunk-end', '1\r\nabc'],
    'LF after a chunk': ['bad-chunk-end', '1\r\na\n'],
    'CR alone after a chunk': ['bad-chunk-end', '1\r\na\r0'],
    'LF after the last chunk': ['bare-lf', '0\r\n\n'],
    'CR alone at the end': ['bare-cr', '0\r\n\rA'],
    'LF in a trailer': ['bare-lf', '0\r\nA: b\n'],
    'LF in a trailer name': ['bare-lf', '0\r\nA\n'],
    'CR in a trailer': ['bare-cr', '0\r\nA: b\rC'],
    'NUL in a trailer': ['control-character', '0\r\nA: \0'],
    'a folded trailer': ['folded-field', '0\r\nA: b\r\n c\r\n\r\n'],
    'a trailer without colon': ['no-colon', '0\r\nA\r\n\r\n'],
    'a trailer without name': ['empty-name', '0\r\n: a\r\n\r\n'],
    'a trailer with space before the colon': ['space-before-colon', '0\r\nA : a\r\n\r\n'],
    'a trailer name that is no token': ['bad-name', '0\r\nA@: a\r\n\r\n'],
  }
  for (const [name, [code, text]] of Object.entries(wrong)) {
    test(`refused: ${name}`, () => {
      throws(() => delimit(latin1Bytes(text)), { code: `http.${code}`, blame: 'peer' })
      splitsAlike(delimit, latin1Bytes(text))
    })
  }

  test('an extension of 1 KiB is taken, one byte more is not', () => {
    const chunk = (size: number): Bytes => latin1Bytes(`0;${'a'.repeat(size - 1)}\r\n\r\n`)
    strictEqual(delimit(chunk(chunkedLimits.extensionBytesMax)).kind, 'done')
    const code = 'http.extension-too-large'
    throws(() => delimit(chunk(chunkedLimits.extensionBytesMax + 1)), { code })
    throws(() => delimit(latin1Bytes(`0${' '.repeat(1025)}`)), { code })
  })

  test('8 KiB of trailers are taken, one byte more is not', () => {
    const last = (size: number): Bytes => {
      const first = `A: ${'b'.repeat(4091)}\r\n`
      return latin1Bytes(`0\r\n${first}C: ${'d'.repeat(size - first.length - 5)}\r\n\r\n`)
    }
    strictEqual(delimit(last(chunkedLimits.trailerBytesMax)).kind, 'done')
    throws(() => delimit(last(chunkedLimits.trailerBytesMax + 1)), {
      code: 'http.trailer-too-large',
    })
  })
})

describe('any split', () => {
  test('of a body of any chunks ends at its last byte', () => {
    const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 5 })
    fc.assert(
      fc.property(chunks, fc.array(fc.nat()), (list, cuts) => {
        const parts = list.map(chunk => {
          const payload = String.fromCharCode(...chunk)
          return `${chunk.length.toString(16)}\r\n${payload}\r\n`
        })
        const text = `${parts.join('')}0\r\n\r\n`
        deepStrictEqual(inPieces(latin1Bytes(`${text}next`), cuts), [text.length, 'ended'])
      }),
    )
  })

  test('of noise is judged alike, and only the peer is blamed', () => {
    const pieces = fc
      .array(
        fc.constantFrom('\r\n', '\r', '\n', '0', '2', 'a', ';', ' ', ':', '\0', '0\r\n', 'ab\r\n'),
      )
      .map(parts => latin1Bytes(parts.join('')))
    const hits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 })
    const noise = fc.oneof(
      pieces,
      hits.map(at => damaged(latin1Bytes(example), at)),
    )
    fc.assert(
      fc.property(noise, fc.array(fc.nat()), (bytes, cuts) => {
        survivesNoise(delimit, bytes)
        splitsAlike(delimit, bytes)
        deepStrictEqual(inPieces(bytes, cuts), inPieces(bytes, []))
      }),
      { numRuns: 500 },
    )
  })
})
