import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Bytes, concat, copyOf, type Decoded, done, need } from '../bytes/bytes.ts'
import { settle } from '../testing/index.ts'
import { SluiceError } from './errors.ts'
import { prefixed, ReadAhead, readHead } from './head.ts'
import { limits } from './limits.ts'
import { Moved, type Now, type Source } from './link.ts'

const fault = new SluiceError('test.reset', 'network', 'the peer has reset')

/** What a source gives, one item a read; `moved`: the handover, with what was read ahead. */
type Item =
  | { readonly kind: 'bytes'; readonly bytes: Bytes }
  | { readonly kind: 'moved'; readonly leftover: readonly Bytes[] }
  | { readonly kind: 'fault' }

/** Gives its items and then the end; lends memory that it spoils at the next read. */
class ListSource implements Source {
  readonly #items: Item[]
  readonly #isLate: () => boolean
  #lent: Uint8Array = new Uint8Array(0)
  #isSpent = false
  cancelled: SluiceError[] = []

  constructor(items: readonly Item[], isLate: () => boolean = () => false) {
    this.#items = [...items]
    this.#isLate = isLate
  }

  read(): Now<Bytes | null | Moved<Source>> {
    assert.equal(this.#isSpent, false, 'a half that has moved is not used again')
    this.#lent.fill(0xee)
    const answer = this.#next()
    return this.#isLate() ? settle().then(answer) : answer()
  }

  #next(): () => Bytes | null | Moved<Source> {
    const item = this.#items.shift()
    if (item === undefined) return () => null
    if (item.kind === 'bytes') {
      this.#lent = new Uint8Array(item.bytes)
      return () => this.#lent
    }
    if (item.kind === 'moved') {
      this.#isSpent = true
      return () => new Moved(new ListSource(this.#items, this.#isLate), item.leftover)
    }
    return () => {
      throw fault
    }
  }

  cancel(why: SluiceError): void {
    this.cancelled.push(why)
  }
}

/** All that a source still has, to its end. */
async function rest(source: Source): Promise<Bytes> {
  const parts: Bytes[] = []
  let at = source
  for (;;) {
    const read = await at.read()
    if (read === null) return concat(parts)
    if (read instanceof Moved) {
      at = read.to
      parts.push(...read.leftover.map(copyOf))
    } else parts.push(copyOf(read))
  }
}

/** `[size u8][payload]`. */
function decode(bytes: Bytes): Decoded<Bytes> {
  const [size] = bytes
  if (size === undefined) return need(1)
  if (bytes.length < 1 + size) return need(1 + size - bytes.length)
  return done(bytes.subarray(1, 1 + size), 1 + size)
}

const items = (...parts: readonly (readonly number[])[]): Item[] =>
  parts.map(part => ({ kind: 'bytes', bytes: new Uint8Array(part) }))

describe('reading a head', () => {
  it('gives the value and a source that begins right behind it, however it is split', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 40 }),
        fc.uint8Array({ maxLength: 40 }),
        fc.array(fc.record({ size: fc.nat({ max: 12 }), how: fc.nat({ max: 3 }) }), {
          maxLength: 100,
        }),
        fc.infiniteStream(fc.boolean()),
        async (payload, behind, cuts, late) => {
          const wire = concat([new Uint8Array([payload.length]), payload, behind])
          const list = cut(wire, cuts)
          const isLate = (): boolean => late.next().value === true
          const head = await readHead(new ListSource(list, isLate), decode)
          const tail = await rest(head.source)
          assert.deepEqual(copyOf(head.value), copyOf(payload), 'also after more was read')
          assert.deepEqual(copyOf(tail), copyOf(behind))
        },
      ),
      { numRuns: 500 },
    )
  })

  it('decodes each byte once when they come one at a time, and says what was seen', async () => {
    const payload = Uint8Array.from({ length: 200 }, (_, at) => at)
    const wire = [200, ...payload, 7, 8]
    const shown: number[] = []
    const head = await readHead(
      new ListSource(items(...wire.map(byte => [byte]))),
      (bytes, seen) => {
        assert.equal(seen, shown.at(-1) ?? 0)
        assert(bytes.length > seen, 'something new each time')
        shown.push(bytes.length)
        return decode(bytes)
      },
    )
    assert.deepEqual(copyOf(head.value), payload)
    assert.equal(shown.length, 201)
    assert.deepEqual(await rest(head.source), new Uint8Array([7, 8]))
  })

  it('leaves nothing in between when the head ends with its chunk', async () => {
    const source = new ListSource(items([1, 5], [6]))
    const head = await readHead(source, decode)
    assert.equal(head.source, source)
  })

  it('goes on where the source has moved to, in the middle of the head', async () => {
    const source = new ListSource([
      ...items([3, 1]),
      { kind: 'moved', leftover: [] },
      { kind: 'moved', leftover: [new Uint8Array([2]), new Uint8Array(0)] },
      ...items([3, 9]),
    ])
    let calls = 0
    const head = await readHead(source, bytes => {
      calls += 1
      return decode(bytes)
    })
    assert.deepEqual(copyOf(head.value), new Uint8Array([1, 2, 3]))
    assert.equal(calls, 3, 'a handover without bytes is nothing new to decode')
    assert.deepEqual(await rest(head.source), new Uint8Array([9]))
  })

  it('blames the peer when it ends before its head is complete', async () => {
    for (const list of [[], items([3, 1]), items([3], [1], [2])]) {
      await assert.rejects(readHead(new ListSource(list), decode), (thrown: SluiceError) => {
        assert.equal(thrown.code, 'head.cut')
        assert.equal(thrown.blame, 'peer')
        return true
      })
    }
  })

  it('holds no more than it may, and takes a head of exactly that size', async () => {
    const zeros = (size: number): Item[] => items(...Array.from({ length: size }, () => [0]))
    const never = (): Decoded<never> => need(1)
    const whole = (size: number) => (bytes: Bytes) =>
      bytes.length >= size ? done('whole', size) : need(1)
    for (const bytesMax of [1, 511, 512, 513, 2_000]) {
      const source = new ListSource(zeros(bytesMax + 5))
      await assert.rejects(readHead(source, never, bytesMax), (thrown: SluiceError) => {
        assert.equal(thrown.code, 'head.too-large')
        assert.equal(thrown.blame, 'peer')
        return true
      })
      assert.equal((await rest(source)).length, 5, 'not a byte more was read')
      const head = await readHead(new ListSource(zeros(bytesMax)), whole(bytesMax), bytesMax)
      assert.equal(head.value, 'whole')
    }
    const endless = new ListSource(items(Array.from({ length: limits.headBytesMax }, () => 0)))
    await assert.rejects(readHead(endless, never), { code: 'head.too-large' })
  })

  it('throws what the decoder and the source throw', async () => {
    const bad = new SluiceError('test.bad', 'peer', 'no such version')
    const refuse = (): Decoded<never> => {
      throw bad
    }
    await assert.rejects(readHead(new ListSource(items([1])), refuse), bad)
    const broken = (isLate: boolean): Source =>
      new ListSource([...items([3, 1]), { kind: 'fault' }], () => isLate)
    await assert.rejects(readHead(broken(false), decode), fault)
    await assert.rejects(readHead(broken(true), decode), fault)
  })
})

/** The bytes as items: some as they are, some behind a handover, some after an empty one. */
function cut(
  wire: Bytes,
  cuts: readonly { readonly size: number; readonly how: number }[],
): Item[] {
  const list: Item[] = []
  let at = 0
  for (const { size, how } of cuts) {
    const bytes = wire.subarray(at, at + size)
    at += bytes.length
    if (how === 0) list.push({ kind: 'moved', leftover: bytes.length > 0 ? [bytes] : [] })
    else if (how === 1) {
      list.push({ kind: 'moved', leftover: [bytes.subarray(0, 1), bytes.subarray(1)] })
    } else if (bytes.length > 0) list.push({ kind: 'bytes', bytes })
  }
  const last = wire.subarray(at)
  return last.length > 0 ? [...list, { kind: 'bytes', bytes: last }] : list
}

describe('a source with bytes before it', () => {
  it('gives them once, with the handover to what follows', async () => {
    const below = new ListSource(items([3]))
    const source = prefixed(new Uint8Array([1, 2]), below)
    const moved = source.read()
    assert(moved instanceof Moved)
    assert.equal(moved.to, below)
    assert.deepEqual(moved.leftover, [new Uint8Array([1, 2])])
    assert.throws(() => source.read(), { code: 'core.spent' }, 'never twice')
    assert.deepEqual(await rest(below), new Uint8Array([3]))
  })

  it('is the source itself when there are none', () => {
    const below = new ListSource([])
    assert.equal(prefixed(new Uint8Array(0), below), below)
  })

  it('passes on that nothing more is wanted', () => {
    const below = new ListSource([])
    prefixed(new Uint8Array(1), below).cancel(fault)
    assert.deepEqual(below.cancelled, [fault])
  })
})

/** A source whose reads are answered by hand. */
class HandSource implements Source {
  readonly reads: PromiseWithResolvers<Bytes | null | Moved<Source>>[] = []
  cancelled = 0
  read(): Promise<Bytes | null | Moved<Source>> {
    const read = Promise.withResolvers<Bytes | null | Moved<Source>>()
    this.reads.push(read)
    return read.promise
  }
  cancel(): void {
    this.cancelled += 1
  }
}

const notExpected = (thrown: unknown): void => {
  assert.fail(`a fault that was not expected: ${String(thrown)}`)
}

describe('looking ahead at a source', () => {
  it('begins to read before anyone asks, once, and gives what came with the handover', async () => {
    const below = new HandSource()
    const source = new ReadAhead(below, notExpected)
    await settle()
    assert.equal(below.reads.length, 1)
    const lent = new Uint8Array([1, 2, 3])
    below.reads[0]?.resolve(lent)
    await settle()
    assert.equal(below.reads.length, 1, 'one chunk at most')
    lent.fill(0xee)
    const moved = await source.read()
    assert(moved instanceof Moved)
    assert.equal(moved.to, below)
    assert.deepEqual(moved.leftover, [new Uint8Array([1, 2, 3])], 'a copy of its own')
  })

  it('lets a reader wait for the first chunk as long as it takes', async () => {
    const below = new HandSource()
    const source = new ReadAhead(below, notExpected)
    const first = source.read()
    await settle()
    below.reads[0]?.resolve(new Uint8Array([4]))
    const moved = await first
    assert(moved instanceof Moved)
    assert.deepEqual(moved.leftover, [new Uint8Array([4])])
  })

  it('gives the end and a handover as they are', async () => {
    const ended = new ReadAhead(new ListSource([]), notExpected)
    assert.equal(await ended.read(), null)
    assert.equal(await ended.read(), null, 'an end is for ever')
    const moves = new ReadAhead(
      new ListSource([{ kind: 'moved', leftover: [new Uint8Array([7])] }, ...items([8])]),
      notExpected,
    )
    assert.deepEqual(await rest(moves), new Uint8Array([7, 8]))
  })

  it('looks behind what a head left over, which is given at once', async () => {
    const below = new HandSource()
    const faults: unknown[] = []
    const source = new ReadAhead(prefixed(new Uint8Array([7]), below), thrown => {
      faults.push(thrown)
    })
    assert.equal(below.reads.length, 1, 'a reset of the client is noticed while a dial runs')
    const moved = await source.read()
    assert(moved instanceof Moved)
    assert.deepEqual(moved.leftover, [new Uint8Array([7])])
    const next = moved.to.read()
    below.reads[0]?.reject(fault)
    await assert.rejects(async () => next, fault)
    assert.deepEqual(faults, [fault])
  })

  it('tells a failure at once, and again to the reader', async () => {
    for (const isLate of [true, false]) {
      const faults: unknown[] = []
      const source = new ReadAhead(new ListSource([{ kind: 'fault' }], () => isLate), thrown => {
        faults.push(thrown)
      })
      await settle()
      await settle()
      assert.deepEqual(faults, [fault])
      await assert.rejects(async () => source.read(), fault)
      assert.equal(faults.length, 1)
    }
  })

  it('leaves no rejection unhandled when it fails while nobody reads', async () => {
    const unhandled: unknown[] = []
    const note = (thrown: unknown): void => {
      unhandled.push(thrown)
    }
    process.on('unhandledRejection', note)
    try {
      const below = new HandSource()
      let faults = 0
      const source = new ReadAhead(below, () => {
        faults += 1
      })
      below.reads[0]?.reject(fault)
      for (let turn = 0; turn < 5; turn++) await settle()
      assert.equal(faults, 1)
      assert.deepEqual(unhandled, [])
      source.cancel(fault)
    } finally {
      process.off('unhandledRejection', note)
    }
  })

  it('keeps the order of bytes under a head that is read from it', async () => {
    const source = new ReadAhead(new ListSource(items([2, 1], [2, 3], [4])), notExpected)
    const head = await readHead(source, decode)
    assert.deepEqual(copyOf(head.value), new Uint8Array([1, 2]))
    assert.deepEqual(await rest(head.source), new Uint8Array([3, 4]))
  })

  it('passes on that nothing more is wanted', () => {
    const below = new HandSource()
    new ReadAhead(below, notExpected).cancel(fault)
    assert.equal(below.cancelled, 1)
  })
})
