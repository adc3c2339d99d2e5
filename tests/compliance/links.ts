import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Bytes, copyOf } from '../../src/bytes/bytes.ts'
import { SystemClock } from '../../src/core/clock.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { type Link, Moved, type Sink, type Source } from '../../src/core/link.ts'
import { clean, Program, Scope } from '../../src/core/scope.ts'
import { patternByte, patternBytes } from '../../src/testing/index.ts'

/** Two links that are each other's far end, and what must be undone after the test. */
export interface Pair {
  readonly near: Link
  readonly far: Link
  readonly tidy?: () => Promise<void>
}

export interface Candidate {
  readonly name: string
  readonly ends: Sink['ends']
  readonly resets: Sink['resets']
  /** Bytes that may be under way in one direction while nobody reads; a bound, not a guess. */
  readonly underWayMax: number
  make(root: Scope): Promise<Pair>
}

/** Reads from a source that may move, as a pump does. */
export class Reader {
  #source: Source
  #leftover: Bytes[] = []
  constructor(source: Source) {
    this.#source = source
  }
  async read(): Promise<Bytes | null> {
    for (;;) {
      const kept = this.#leftover.shift()
      if (kept !== undefined && kept.length > 0) return kept
      const got = await this.#source.read()
      if (!(got instanceof Moved)) return got
      this.#source = got.to
      this.#leftover = got.leftover.map(copyOf)
    }
  }
  /** Reads `size` bytes of the pattern that starts at `from`. */
  async expect(salt: number, from: number, size: number): Promise<void> {
    let at = from
    while (at < from + size) {
      const bytes = await this.read()
      assert(bytes !== null, `the end came at ${String(at)} of ${String(from + size)}`)
      for (const byte of bytes) {
        assert.equal(byte, patternByte(salt, at), `byte ${String(at)}`)
        at += 1
      }
    }
    assert.equal(at, from + size, 'not a byte more')
  }
}

export class Writer {
  sink: Sink
  constructor(sink: Sink) {
    this.sink = sink
  }
  async write(bytes: Bytes | readonly Bytes[]): Promise<void> {
    const moved = await this.sink.write(bytes)
    if (moved instanceof Moved) this.sink = moved.to
  }
}

const why = new SluiceError('test.abort', 'stopped', 'aborted by the test')

/** The contract of a link, a test a line; every transport and layer must pass it. */
export function linkCompliance(candidate: Candidate): void {
  const test = (name: string, run: (pair: Pair) => Promise<void>): void => {
    it(name, async () => {
      const program = new Program(new SystemClock())
      const root = Scope.root(program, 'compliance')
      const pair = await candidate.make(root)
      try {
        await run(pair)
      } finally {
        await pair.tidy?.()
        await root.end(clean)
      }
      assert.deepEqual(program.bugs, [], 'no broken invariant')
      assert.equal(root.isEmpty, true, 'the ledger is empty')
      assert.equal(program.wheel.size, 0, 'no timer is left')
    })
  }

  describe(`a link: ${candidate.name}`, () => {
    test('carries bytes both ways, in order, each once', async ({ near, far }) => {
      await Promise.all([
        stream(new Writer(near.sink), 3, 300_000),
        stream(new Writer(far.sink), 5, 200_000),
        new Reader(far.source).expect(3, 0, 300_000),
        new Reader(near.source).expect(5, 0, 200_000),
      ])
    })

    test('refuses a second read while one is pending', async ({ near }) => {
      const first = near.source.read()
      assert(first instanceof Promise)
      first.catch(() => undefined)
      await assert.rejects(
        async () => near.source.read(),
        (thrown: SluiceError) => thrown.code === 'core.busy',
      )
      await near.abort(why)
    })

    test('lets a writer wait when nobody reads, within its bound', async ({ near, far }) => {
      const writer = new Writer(near.sink)
      let written = 0
      let isPending = false
      while (!isPending && written <= candidate.underWayMax) {
        const put = writer.sink.write(patternBytes(3, written, 16_384))
        written += 16_384
        isPending = put instanceof Promise && !(await settlesSoon(put))
        if (isPending && put instanceof Promise) put.catch(() => undefined)
      }
      assert(isPending, `${String(written)} bytes were taken while nobody read`)
      await assert.rejects(
        async () => near.sink.write(new Uint8Array(1)),
        (thrown: SluiceError) => thrown.code === 'core.busy',
      )
      await new Reader(far.source).expect(3, 0, written)
    })

    test('does not look at written memory after the write is done', async ({ near, far }) => {
      const bytes = patternBytes(3, 0, 5_000)
      await new Writer(near.sink).write(bytes)
      bytes.fill(0)
      await new Reader(far.source).expect(3, 0, 5_000)
    })

    test('takes several arrays as one write', async ({ near, far }) => {
      await new Writer(near.sink).write([
        patternBytes(3, 0, 10),
        patternBytes(3, 10, 1),
        patternBytes(3, 11, 4_000),
      ])
      await new Reader(far.source).expect(3, 0, 4_011)
    })

    if (candidate.ends === 'half') {
      test('ends one direction after its last byte, and the other goes on', async pair => {
        const { near, far } = pair
        const writer = new Writer(near.sink)
        await stream(writer, 3, 50_000)
        await writer.sink.closeWrite()
        const reader = new Reader(far.source)
        await reader.expect(3, 0, 50_000)
        assert.equal(await reader.read(), null)
        assert.equal(await reader.read(), null, 'an end is for ever')
        await Promise.all([
          stream(new Writer(far.sink), 5, 70_000).then(() => far.sink.closeWrite()),
          new Reader(near.source).expect(5, 0, 70_000),
        ])
      })
    } else {
      test('ends both directions with its end, after the last byte', async ({ near, far }) => {
        const writer = new Writer(near.sink)
        const reader = new Reader(far.source)
        await Promise.all([
          stream(writer, 3, 50_000).then(() => writer.sink.closeWrite()),
          reader.expect(3, 0, 50_000),
        ])
        assert.equal(await reader.read(), null)
      })
    }

    test('settles `ended` once both directions are over', async ({ near, far }) => {
      const ended = Promise.all([near.ended, far.ended])
      await near.sink.closeWrite()
      assert.equal(await new Reader(far.source).read(), null)
      if (candidate.ends === 'half') {
        await far.sink.closeWrite()
        assert.equal(await new Reader(near.source).read(), null)
      }
      const [a, b] = await ended
      assert.equal(a.kind, 'clean')
      assert.equal(b.kind, 'clean')
    })

    test('fails pending and later calls with the reason of its abort', async ({ near }) => {
      const read = near.source.read()
      assert(read instanceof Promise)
      const failed = assert.rejects(read, why)
      await near.abort(why)
      await failed
      await assert.rejects(async () => near.source.read(), why)
      await assert.rejects(async () => near.sink.write(new Uint8Array(1)), why)
      await near.abort(new SluiceError('test.second', 'stopped', 'too late'))
      assert.deepEqual(await near.ended, { kind: 'failed', why }, 'the first reason stays')
    })

    if (candidate.resets !== 'closes') {
      test('never shows a failure as an end', async ({ near, far }) => {
        await new Writer(near.sink).write(patternBytes(3, 0, 1_000))
        const reader = new Reader(far.source)
        await reader.expect(3, 0, 1_000)
        await near.abort(why)
        await assert.rejects(async () => reader.read())
      })

      test('resets after what is owed when it is given time', async ({ near, far }) => {
        const writer = new Writer(near.sink)
        await writer.write(patternBytes(3, 0, 15_000))
        writer.sink.reset(why, { graceMs: 5_000 })
        const reader = new Reader(far.source)
        await reader.expect(3, 0, 15_000)
        await assert.rejects(async () => reader.read())
        assert.deepEqual(await near.ended, { kind: 'failed', why })
      })
    }

    test('is spent once it was handed over', async ({ near, far }) => {
      const { source, sink } = near
      const mine = near.handOver()
      for (const use of [
        () => near.source,
        () => near.handOver(),
        () => near.abort(why),
        () => source.read(),
        () => sink.write(new Uint8Array(1)),
        () => sink.closeWrite(),
      ]) {
        assert.throws(use, (thrown: SluiceError) => thrown.code === 'core.spent')
      }
      await new Writer(mine.sink).write(patternBytes(3, 0, 10))
      await new Reader(far.source).expect(3, 0, 10)
    })
  })
}

async function stream(writer: Writer, salt: number, size: number): Promise<void> {
  for (let at = 0; at < size; at += 7_000) {
    await writer.write(patternBytes(salt, at, Math.min(7_000, size - at)))
  }
}

/** Whether `work` settles within the next turns of the loop, while nobody reads at the other end. */
async function settlesSoon(work: Promise<unknown>): Promise<boolean> {
  let isSettled = false
  work.then(
    () => {
      isSettled = true
    },
    () => {
      isSettled = true
    },
  )
  for (let turn = 0; turn < 50 && !isSettled; turn++) {
    await new Promise(resolve => {
      setTimeout(resolve, turn < 40 ? 0 : 5)
    })
  }
  return isSettled
}
