import type { Bytes } from '../bytes/bytes.ts'
import { httpError } from './http-head.ts'

/** Limits of a chunked body: hex digits of a size, bytes of an extension, bytes of all trailers. */
export const chunkedLimits = {
  sizeDigitsMax: 16,
  extensionBytesMax: 1024,
  trailerBytesMax: 8192,
} as const

/** What `ChunkedBody.feed` found in the bytes it was shown. */
export interface ChunkedProgress {
  /** So many bytes from the front belong to the body; what follows is the next message. */
  readonly taken: number
  readonly ended: boolean
}

/** What the next byte may be: the grammar of RFC 9112 7.1, one state for each place in it. */
type Place =
  | 'size'
  | 'blank'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailer'
  | 'name'
  | 'value'
  | 'value-lf'
  | 'last-lf'
  | 'ended'

const lf = 0x0a
const cr = 0x0d
const colon = 0x3a
const semicolon = 0x3b

/**
 * Finds the end of a chunked body (RFC 9112 7.1) without decoding it: the bytes go on as they came.
 * Chunk payloads are skipped, not looked at. Keeps numbers only, never bytes.
 */
export class ChunkedBody {
  #place: Place = 'size'
  /** Of the chunk at hand: its size while that is read, then what is left of it. */
  #left = 0
  #digits = 0
  /** Bytes of this extension, or of the whole trailer section. */
  #count = 0

  get ended(): boolean {
    return this.#place === 'ended'
  }

  /**
   * Shows the next bytes; they may be cut anywhere. After the end it takes nothing. Throws
   * `http.bad-chunk-size`, `chunk-too-large` (over 16 digits, or over 2^53 - 1),
   * `extension-too-large`, `bad-chunk-end`, `trailer-too-large`, `bare-lf`, `bare-cr`,
   * `control-character`, and for a trailer field `folded-field`, `no-colon`, `empty-name`,
   * `space-before-colon`, `bad-name`; then the body is lost and feeding it again is a mistake.
   */
  feed(bytes: Bytes): ChunkedProgress {
    let at = 0
    while (at < bytes.length && this.#place !== 'ended') {
      if (this.#place === 'data') {
        const skip = Math.min(this.#left, bytes.length - at)
        this.#left -= skip
        at += skip
        if (this.#left === 0) this.#place = 'data-cr'
      } else {
        this.#place = this.#step(this.#place, bytes[at] ?? 0)
        at += 1
      }
    }
    return { taken: at, ended: this.ended }
  }

  #step(place: Exclude<Place, 'data' | 'ended'>, byte: number): Place {
    switch (place) {
      case 'size':
        return this.#size(byte)
      case 'blank':
        return this.#blank(byte)
      case 'extension':
        return this.#extension(byte)
      case 'size-lf':
        mustBeLf(byte)
        return this.#begin()
      case 'data-cr':
        if (byte !== cr) throw httpError('bad-chunk-end')
        return 'data-lf'
      case 'data-lf':
        if (byte !== lf) throw httpError('bad-chunk-end')
        this.#digits = 0
        return 'size'
      case 'trailer':
      case 'name':
      case 'value':
        return this.#trailer(place, byte)
      case 'value-lf':
        mustBeLf(byte)
        this.#countTrailer()
        return 'trailer'
      case 'last-lf':
        mustBeLf(byte)
        return 'ended'
      default:
        return place satisfies never
    }
  }

  #size(byte: number): Place {
    const digit = hexDigit(byte)
    if (digit >= 0) {
      this.#left = this.#digits === 0 ? digit : this.#left * 16 + digit
      this.#digits += 1
      if (this.#digits > chunkedLimits.sizeDigitsMax || !Number.isSafeInteger(this.#left)) {
        throw httpError('chunk-too-large')
      }
      return 'size'
    }
    if (byte === lf) throw httpError('bare-lf')
    if (this.#digits === 0) throw httpError('bad-chunk-size')
    this.#count = 0
    return byte === cr ? 'size-lf' : this.#blank(byte)
  }

  /**
   * After a size: white space counts as part of the extension that must follow it (RFC 9112 7.1.1).
   */
  #blank(byte: number): Place {
    const isBlank = byte === 0x20 || byte === 0x09
    if (!isBlank && byte !== semicolon) throw httpError('bad-chunk-size')
    this.#extension(byte)
    return isBlank ? 'blank' : 'extension'
  }

  #extension(byte: number): Place {
    if (byte === cr) return 'size-lf'
    mustBeText(byte)
    this.#count += 1
    if (this.#count > chunkedLimits.extensionBytesMax) throw httpError('extension-too-large')
    return 'extension'
  }

  #begin(): Place {
    this.#count = 0
    return this.#left === 0 ? 'trailer' : 'data'
  }

  #countTrailer(): void {
    this.#count += 1
    if (this.#count > chunkedLimits.trailerBytesMax) throw httpError('trailer-too-large')
  }

  /** One byte at the start of a trailer line, in a field name, or in a value (RFC 9112 7.1.2). */
  #trailer(place: 'trailer' | 'name' | 'value', byte: number): Place {
    if (byte === cr && place === 'trailer') return 'last-lf'
    this.#countTrailer()
    if (byte === cr && place === 'value') return 'value-lf'
    if (byte === cr) throw httpError('no-colon')
    mustBeText(byte)
    if (place === 'value') return 'value'
    const isBlank = byte === 0x20 || byte === 0x09
    if (place === 'trailer') {
      if (isBlank) throw httpError('folded-field')
      if (byte === colon) throw httpError('empty-name')
    }
    if (byte === colon) return 'value'
    if (isBlank) throw httpError('space-before-colon')
    if (!/[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(byte))) throw httpError('bad-name')
    return 'name'
  }
}

function mustBeLf(byte: number): void {
  if (byte !== lf) throw httpError('bare-cr')
}

function mustBeText(byte: number): void {
  if (byte === lf) throw httpError('bare-lf')
  if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f) throw httpError('control-character')
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1
}
