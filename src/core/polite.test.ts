import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Bytes } from '../bytes/bytes.ts'
import { FakeClock, settle } from '../testing/index.ts'
import { type Endpoint, parsePort } from './endpoint.ts'
import { SluiceError } from './errors.ts'
import { Link, Moved, type Now, type Sink, type Source } from './link.ts'
import { refuseWith, say, write } from './polite.ts'
import { failed, Program, Scope } from './scope.ts'

const why = new SluiceError('test.why', 'refused', 'not here')
const fault = new SluiceError('test.fault', 'network', 'the line is dead')
const nowhere: Endpoint = { host: '192.0.2.1', port: parsePort(1) }

/** A transport whose calls are noted; a write is done when the test says so, and may move. */
class Slow implements Source, Sink {
  readonly calls: string[] = []
  readonly ends = 'half'
  readonly resets = 'plain'
  readonly waitingBytes = 0
  readonly writes: PromiseWithResolvers<undefined | Moved<Sink>>[] = []
  readonly #name: string
  closing: () => Now<undefined> = () => undefined
  constructor(name: string, calls: string[] = []) {
    this.#name = name
    this.calls = calls
  }
  read(): null {
    return null
  }
  cancel(reason: SluiceError): void {
    this.calls.push(`${this.#name} cancel ${reason.code}`)
  }
  write(bytes: Bytes | readonly Bytes[]): Promise<undefined | Moved<Sink>> {
    this.calls.push(`${this.#name} write ${String(bytes.length)}`)
    const done = Promise.withResolvers<undefined | Moved<Sink>>()
    this.writes.push(done)
    return done.promise
  }
  flush(): undefined {
    this.calls.push(`${this.#name} flush`)
  }
  closeWrite(): Now<undefined> {
    this.calls.push(`${this.#name} closeWrite`)
    return this.closing()
  }
  reset(): void {
    this.calls.push(`${this.#name} reset`)
  }
}

function linkOver(below: Slow): Link {
  const root = Scope.root(new Program(new FakeClock()), 'test')
  const scope = root.child('leg', 'leg')
  return new Link(
    { path: { remote: nowhere, local: nowhere }, scope, onGone: () => undefined },
    below,
    below,
  )
}

describe('a polite refusal', () => {
  it('is the answer, then the end, then nothing more is wanted: one after the other', async () => {
    const below = new Slow('a')
    const closing = Promise.withResolvers<undefined>()
    below.closing = () => closing.promise
    const halves = linkOver(below).takeApart()
    const refused = refuseWith(halves, new Uint8Array(9), why)
    await settle()
    assert.deepEqual(below.calls, ['a write 9'])
    below.writes[0]?.resolve(undefined)
    await settle()
    assert.deepEqual(below.calls, ['a write 9', 'a closeWrite'])
    closing.resolve(undefined)
    await refused
    assert.deepEqual(below.calls, ['a write 9', 'a closeWrite', 'a cancel test.why'])
    assert.equal(halves.scope.isOpen, true, 'the link ends by itself soon after')
  })

  it('ends where the sink has moved to', async () => {
    const below = new Slow('a')
    const raw = new Slow('raw', below.calls)
    const halves = linkOver(below).takeApart()
    const refused = refuseWith(halves, new Uint8Array(9), why)
    below.writes[0]?.resolve(new Moved(raw))
    await refused
    assert.deepEqual(below.calls, ['a write 9', 'raw closeWrite', 'a cancel test.why'])
  })

  it('ends the link with the failure when the answer cannot be sent, and does not throw', async () => {
    for (const part of ['write', 'end'] as const) {
      const below = new Slow('a')
      if (part === 'end') below.closing = () => Promise.reject(fault)
      const halves = linkOver(below).takeApart()
      const refused = refuseWith(halves, new Uint8Array(9), why)
      if (part === 'write') below.writes[0]?.reject(fault)
      else below.writes[0]?.resolve(undefined)
      await refused
      assert.deepEqual(halves.scope.ending, failed(fault))
      assert(!below.calls.includes('a cancel test.why'))
    }
  })
})

describe('a message of a handshake', () => {
  it('is written where the sink is, and the halves follow when it moves', async () => {
    const below = new Slow('a')
    const raw = new Slow('raw', below.calls)
    const halves = linkOver(below).takeApart()
    const first = write(halves, new Uint8Array(1))
    below.writes[0]?.resolve(new Moved(raw))
    await first
    assert.equal(halves.sink, raw)
    const second = write(halves, new Uint8Array(2))
    raw.writes[0]?.resolve(undefined)
    await second
    assert.equal(halves.sink, raw)
    assert.deepEqual(below.calls, ['a write 1', 'raw write 2'])
  })

  it('gives the link back when it was the last one, without the layer that is left', async () => {
    const below = new Slow('a')
    const raw = new Slow('raw', below.calls)
    const link = linkOver(below)
    const said = say(link, new Uint8Array(4))
    assert.equal(link.isSpent, true, 'nobody else writes meanwhile')
    below.writes[0]?.resolve(new Moved(raw))
    const after = await said
    const written = after.sink.write(new Uint8Array(5))
    raw.writes[0]?.resolve(undefined)
    await written
    assert.deepEqual(below.calls, ['a write 4', 'raw write 5'])
  })

  it('throws what the write throws', async () => {
    const below = new Slow('a')
    const said = say(linkOver(below), new Uint8Array(4))
    below.writes[0]?.reject(fault)
    await assert.rejects(said, fault)
  })
})
