import { type Bytes, concat, copyOf } from '../../bytes/bytes.ts'
import type { SluiceError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { Moved, type Now, type Sink, type Source } from '../../core/link.ts'
import { ChunkedBody } from '../../wire/http-chunked.ts'
import {
  type BodyKind,
  decodeResponseHead,
  encodeResponseHead,
  type Field,
  httpError,
  httpLimits,
  type RequestHead,
  type ResponseHead,
} from '../../wire/http-head.ts'

/** RFC 9110 section 7.6.1: fields that speak of one connection only, beside those `Connection` names. */
const hopFields = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'upgrade',
]

function withoutHopFields(fields: readonly Field[]): Field[] {
  const named = fields
    .filter(([name]) => name.toLowerCase() === 'connection')
    .flatMap(([, value]) => value.split(',').map(word => word.trim().toLowerCase()))
  const dropped = new Set([...hopFields, ...named])
  return fields.filter(([name]) => !dropped.has(name.toLowerCase()))
}

/** The request as the origin gets it: origin-form, the right Host, one request on this connection. */
export function forwardedHead(head: RequestHead, path: string, authority: string): RequestHead {
  const fields = withoutHopFields(head.fields).filter(([name]) => name.toLowerCase() !== 'host')
  return {
    method: head.method,
    target: path,
    version: head.version,
    fields: [['Host', authority], ...fields, ['Connection', 'close']],
  }
}

/**
 * The body of one request, and nothing after it. What a client sends behind its request is never
 * forwarded: it would reach the wrong server. It is dropped within a bound; the end still comes through.
 */
export class RequestBody implements Source {
  #below: Source
  /** Bytes of the body still to come, or the delimiter of a chunked one. */
  #left: number | ChunkedBody
  #dropped = 0

  constructor(below: Source, kind: BodyKind) {
    this.#below = below
    this.#left =
      kind.kind === 'chunked' ? new ChunkedBody() : kind.kind === 'length' ? kind.bytes : 0
  }

  read(): Now<Bytes | null | Moved<Source>> {
    for (;;) {
      const got = this.#below.read()
      if (got instanceof Promise) return this.#wait(got)
      const ready = this.#cut(got)
      if (ready !== undefined) return ready
    }
  }

  async #wait(first: Promise<Bytes | null | Moved<Source>>): Promise<Bytes | null> {
    for (let got = await first; ; got = await this.#below.read()) {
      const ready = this.#cut(got)
      if (ready !== undefined) return ready
    }
  }

  /** The part of what was read that belongs to the body; undefined: read on. */
  #cut(got: Bytes | null | Moved<Source>): Bytes | null | undefined {
    if (got === null) return null
    if (got instanceof Moved) {
      this.#below = got.to
      if (got.leftover.length === 0) return undefined
      return this.#cut(concat(got.leftover))
    }
    const taken = this.#take(got)
    this.#drop(got.length - taken)
    return taken === 0 ? undefined : got.subarray(0, taken)
  }

  #take(bytes: Bytes): number {
    if (typeof this.#left !== 'number') return this.#left.feed(bytes).taken
    const taken = Math.min(this.#left, bytes.length)
    this.#left -= taken
    return taken
  }

  #drop(size: number): void {
    this.#dropped += size
    if (this.#dropped > limits.cancelDropBytes) {
      throw httpError('second-request', { detail: { dropped: this.#dropped } })
    }
  }

  cancel(why: SluiceError): void {
    this.#below.cancel(why)
  }
}

/**
 * Says `Connection: close` in the head of the response, then falls away. A head that cannot be read
 * is passed on as it came: the connection ends after this response either way.
 */
export class ResponseHeads implements Sink {
  #below: Sink
  #held: Bytes = new Uint8Array(0)
  /** Bytes of it that hold no whole head. */
  #seen = 0

  constructor(below: Sink) {
    this.#below = below
  }

  async write(bytes: Bytes | readonly Bytes[]): Promise<undefined | Moved<Sink>> {
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes
    this.#held = concat([this.#held, ...parts.map(copyOf)])
    for (;;) {
      const ready = this.#ready()
      if (ready === null) return undefined
      this.#held = ready.rest
      this.#seen = 0
      await this.#toBelow(ready.bytes)
      if (!ready.isLast) continue
      if (ready.rest.length > 0) await this.#toBelow(ready.rest)
      return new Moved(this.#below)
    }
  }

  async #toBelow(bytes: Bytes): Promise<void> {
    const moved = await this.#below.write(bytes)
    if (moved instanceof Moved) this.#below = moved.to
  }

  /** Null: the head is not complete. `isLast` is false after an interim response (RFC 9110 15.2). */
  #ready(): { bytes: Bytes; rest: Bytes; isLast: boolean } | null {
    try {
      const decoded = decodeResponseHead(this.#held, this.#seen)
      if (decoded.kind === 'need') {
        this.#seen = this.#held.length
        return this.#seen < httpLimits.headBytesMax ? null : this.#asItCame()
      }
      const { status } = decoded.value
      return {
        bytes: encodeResponseHead(closing(decoded.value)),
        rest: this.#held.subarray(decoded.size),
        isLast: status >= 200 || status === 101,
      }
    } catch {
      // Not HTTP as we know it, which is between the origin and the client.
      return this.#asItCame()
    }
  }

  #asItCame(): { bytes: Bytes; rest: Bytes; isLast: boolean } {
    return { bytes: this.#held, rest: new Uint8Array(0), isLast: true }
  }

  flush(): Now<undefined> {
    return this.#below.flush()
  }
  async closeWrite(): Promise<undefined> {
    if (this.#held.length > 0) await this.#toBelow(this.#held)
    this.#held = new Uint8Array(0)
    await this.#below.closeWrite()
    return undefined
  }
  reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    this.#below.reset(why, after)
  }
  get ends(): Sink['ends'] {
    return this.#below.ends
  }
  get resets(): Sink['resets'] {
    return this.#below.resets
  }
  get waitingBytes(): number {
    return this.#below.waitingBytes
  }
}

function closing(head: ResponseHead): ResponseHead {
  if (head.status < 200) return head
  return { ...head, fields: [...withoutHopFields(head.fields), ['Connection', 'close']] }
}
