import type { Bytes } from './bytes.ts'

/**
 * Reads numbers in network order from the front of `bytes`. The caller asks `has(n)` first; reading
 * past the end is a programming error and throws `RangeError`.
 */
export class Cursor {
  readonly #bytes: Bytes
  #at = 0
  constructor(bytes: Bytes) {
    this.#bytes = bytes
  }
  /** Bytes consumed so far. */
  get at(): number {
    return this.#at
  }
  get left(): number {
    return this.#bytes.length - this.#at
  }
  has(count: number): boolean {
    return this.left >= count
  }
  u8(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw new RangeError(`read past the end at ${String(this.#at)}`)
    this.#at += 1
    return byte
  }
  u16(): number {
    return this.u8() * 256 + this.u8()
  }
  u32(): number {
    return this.u16() * 65_536 + this.u16()
  }
  /** A view of the next `count` bytes, not a copy. */
  take(count: number): Bytes {
    if (!this.has(count)) throw new RangeError(`read past the end at ${String(this.#at)}`)
    const view = this.#bytes.subarray(this.#at, this.#at + count)
    this.#at += count
    return view
  }
}

/** Builds a message in network order; grows as needed. */
export class Builder {
  #bytes = new Uint8Array(64)
  #size = 0
  #room(count: number): void {
    if (this.#size + count <= this.#bytes.length) return
    const bigger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#size + count))
    bigger.set(this.#bytes.subarray(0, this.#size))
    this.#bytes = bigger
  }
  u8(value: number): this {
    this.#room(1)
    this.#bytes[this.#size] = value
    this.#size += 1
    return this
  }
  u16(value: number): this {
    return this.u8(value >>> 8).u8(value & 0xff)
  }
  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff)
  }
  put(bytes: Bytes): this {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#size)
    this.#size += bytes.length
    return this
  }
  /** What was built, as one array of its own. */
  bytes(): Bytes {
    return this.#bytes.slice(0, this.#size)
  }
}
