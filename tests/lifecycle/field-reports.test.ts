import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Bytes, copyOf, latin1Text, utf8Bytes } from '../../src/bytes/bytes.ts'
import { type Endpoint, parsePort } from '../../src/core/endpoint.ts'
import { coreError, SluiceError } from '../../src/core/errors.ts'
import type { RelayRecord } from '../../src/core/flow-record.ts'
import {
  type GoneListener,
  Link,
  Moved,
  type Now,
  Owner,
  type Sink,
  type Source,
} from '../../src/core/link.ts'
import { Relay, type RelayPolicy } from '../../src/core/relay.ts'
import { clean, type Ending, failed, type Held, Program, Scope } from '../../src/core/scope.ts'
import { FakeClock, memoryPair, Random, settle, simError } from '../../src/testing/index.ts'

// What broke in other programs, and what must not break here: docs/failures.md.

const nowhere: Endpoint = { host: '192.0.2.1', port: parsePort(1) }
const killed = new SluiceError('test.killed', 'stopped', 'killed by the test')
const resetBy = (name: string, call: 'read' | 'write' = 'read'): SluiceError =>
  simError('peer-reset', { system: 'ECONNRESET', call, detail: { name } })

/** What is at the front of a source: bytes, the end, a failure, a handover. */
type Front = Bytes | null | SluiceError | Moved<Source>

/** A source that is fed by hand; it lends memory that it spoils at the next read. */
class HandSource implements Source {
  reads = 0
  #queue: Front[] = []
  #lent: Uint8Array = new Uint8Array(0)
  #reader: PromiseWithResolvers<Bytes | null | Moved<Source>> | null = null

  read(): Now<Bytes | null | Moved<Source>> {
    if (this.#reader !== null) throw coreError('busy')
    this.reads += 1
    this.#lent.fill(0xee)
    const [front] = this.#queue
    if (front !== undefined) return this.#take(front)
    this.#reader = Promise.withResolvers()
    return this.#reader.promise
  }

  #take(front: Front): Bytes | null | Moved<Source> {
    if (front instanceof SluiceError) throw front
    if (front === null) return null
    this.#queue.shift()
    if (front instanceof Moved) return front
    this.#lent = new Uint8Array(front)
    return this.#lent
  }

  give(...fronts: (Front | string)[]): void {
    for (const front of fronts) {
      this.#queue.push(typeof front === 'string' ? utf8Bytes(front) : front)
    }
    this.#answer()
  }

  /** What comes from now on is this, whatever was left to read. */
  drop(front: Front): void {
    this.#queue = [front]
    this.#answer()
  }

  #answer(): void {
    const reader = this.#reader
    const [front] = this.#queue
    if (reader === null || front === undefined) return
    this.#reader = null
    try {
      reader.resolve(this.#take(front))
    } catch (thrown) {
      reader.reject(thrown)
    }
  }

  cancel(): void {
    this.give(resetBy('cancel'))
  }
}

/** A sink whose writes are done when the test says so; it looks at their memory only then. */
class HandSink implements Sink {
  readonly name: string
  /** Writes, ends and resets of all sinks that share it, in the order in which they came. */
  readonly calls: string[]
  ends: Sink['ends'] = 'half'
  readonly resets = 'plain'
  /** Bytes as they looked when their write was done. */
  taken = ''
  /** True: a write is done at once. */
  isQuick = true
  /** What the next end answers. */
  closing: (() => Now<undefined>) | null = null
  onReset: (why: SluiceError, after?: { readonly graceMs: number }) => void = () => undefined
  fault: SluiceError | null = null
  /** The write after which the sink has moved. */
  moveTo: Sink | null = null
  #writer: {
    readonly bytes: Bytes
    readonly done: PromiseWithResolvers<undefined | Moved<Sink>>
  } | null = null

  constructor(name: string, calls: string[] = []) {
    this.name = name
    this.calls = calls
  }
  get isPending(): boolean {
    return this.#writer !== null
  }
  get waitingBytes(): number {
    return this.#writer?.bytes.length ?? 0
  }

  write(bytes: Bytes | readonly Bytes[]): Now<undefined | Moved<Sink>> {
    if (this.#writer !== null) throw coreError('busy')
    assert(bytes instanceof Uint8Array)
    this.calls.push(`${this.name} write ${String(bytes.length)}`)
    if (this.fault !== null) throw this.fault
    if (this.isQuick) {
      this.taken += latin1Text(bytes)
      return this.#movedNow()
    }
    this.#writer = { bytes, done: Promise.withResolvers() }
    return this.#writer.done.promise
  }

  #movedNow(): undefined | Moved<Sink> {
    return this.moveTo === null ? undefined : new Moved(this.moveTo)
  }

  /** The pending write is done. */
  accept(): void {
    const writer = this.#writer
    this.#writer = null
    if (writer === null) return
    this.taken += latin1Text(copyOf(writer.bytes))
    writer.done.resolve(this.#movedNow())
  }

  /** The pending write fails, and every later one. */
  fail(why: SluiceError): void {
    const writer = this.#writer
    this.#writer = null
    this.fault ??= why
    writer?.done.reject(why)
  }

  flush(): undefined {
    this.calls.push(`${this.name} flush`)
  }
  closeWrite(): Now<undefined> {
    assert.equal(this.#writer, null, 'the end comes after the last write')
    this.calls.push(`${this.name} end`)
    if (this.fault !== null) throw this.fault
    return this.closing?.()
  }
  reset(why: SluiceError, after?: { readonly graceMs: number }): void {
    this.calls.push(`${this.name} reset`)
    this.onReset(why, after)
  }
}

/** A link driven by hand. A reset waits for the pending write, within its grace. */
class HandLink {
  readonly source = new HandSource()
  readonly sink: HandSink
  readonly link: Link
  readonly scope: Scope
  endings: Ending[] = []
  /** False: a transport that leaves pending calls as they are when it ends. */
  isTidy = true
  gone: GoneListener = () => undefined

  constructor(root: Scope, name: string, calls: string[] = []) {
    this.sink = new HandSink(name, calls)
    this.scope = root.child('leg', name)
    this.scope.hold('socket', name, ending => {
      this.endings.push(ending)
      if (!this.isTidy) return
      const why = ending.kind === 'failed' ? ending.why : coreError('spent')
      this.source.drop(why)
      this.sink.fail(why)
    })
    this.sink.onReset = (why, after) => {
      if (after === undefined || !this.sink.isPending) {
        void this.scope.end(failed(why))
        return
      }
      const timer = this.scope.timer('reset', () => {
        void this.scope.end(failed(why))
      })
      timer.setAfter(after.graceMs)
    }
    const path = { remote: nowhere, local: nowhere }
    const onGone = (listener: GoneListener): void => {
      this.gone = listener
    }
    this.link = new Link({ path, scope: this.scope, onGone }, this.source, this.sink)
  }

  get end(): string {
    return this.endings.map(ending => ending.kind).join(' ')
  }

  /** Told while nobody reads or writes; what was received before can still be read. */
  tellGone(why: SluiceError): void {
    this.sink.fault ??= why
    this.source.give(why)
    this.gone('source', why)
  }
}

const policy: RelayPolicy = {
  connIdleMs: 300_000,
  halfCloseIdleMs: 120_000,
  writeStallMs: 300_000,
  resetGraceMs: 1_000,
}

class Bed {
  readonly clock = new FakeClock()
  readonly program = new Program(this.clock)
  readonly root: Scope = Scope.root(this.program, 'test')
  readonly flow: Scope = this.root.child('flow', 'flow')
  readonly calls: string[] = []
  readonly near = new HandLink(this.root, 'near', this.calls)
  readonly far = new HandLink(this.root, 'far', this.calls)
  relay: Relay | null = null
  record: RelayRecord | null = null
  records = 0

  start(near: Link = this.near.link, far: Link = this.far.link): Relay {
    const relay = new Relay(this.flow, policy, near, far)
    this.relay = relay
    void relay.record.then(record => {
      this.records += 1
      this.record = record
    })
    return relay
  }

  /** Simulated time goes on, and everything settles. */
  async pass(ms = 0): Promise<void> {
    const untilMs = this.clock.now() + ms
    await settle()
    while (this.clock.wakeMs <= untilMs) {
      this.clock.jumpTo(this.clock.wakeMs)
      this.clock.wakeDue()
      await settle()
    }
    this.clock.jumpTo(untilMs)
  }

  /** The relay is over: one record, each link released once, nothing left, no bug. */
  async over(): Promise<RelayRecord> {
    await this.pass()
    assert(this.record !== null, 'there is a record')
    assert.equal(this.records, 1, 'one record')
    for (const { endings, scope } of [this.near, this.far]) {
      assert.equal(endings.length, 1, `${scope.name} was released once`)
      assert.equal(scope.isOver, true)
    }
    assert.deepEqual(this.program.bugs, [])
    await this.flow.end(clean)
    assert.equal(this.root.isEmpty, true)
    assert.equal(this.program.wheel.size, 0)
    return this.record
  }
}

describe('field report 1: the layer that was left before its last write had left', () => {
  it('writes nothing below a layer while the last write through it is pending', async () => {
    const bed = new Bed()
    const layer = bed.far.sink
    const raw = new HandSink('raw', bed.calls)
    layer.isQuick = false
    layer.moveTo = raw
    bed.start()
    bed.near.source.give('last', 'first', 'second', null)
    await bed.pass(1_000)
    assert.deepEqual(bed.calls, ['far write 4'], 'the layer is not done')
    assert.equal(bed.near.source.reads, 1, 'nor is more read: the memory is still looked at')
    layer.accept()
    await bed.pass()
    assert.equal(layer.taken, 'last')
    assert.equal(raw.taken, 'firstsecond')
    assert.deepEqual(bed.calls, ['far write 4', 'raw write 5', 'raw write 6', 'raw end'])
    bed.far.source.give(null)
    assert.equal((await bed.over()).reason, 'clean')
  })

  it('writes what was read ahead first, and to where the sink is by then', async () => {
    const bed = new Bed()
    const below = new HandSource()
    const raw = new HandSink('raw', bed.calls)
    const relay = bed.start()
    bed.near.source.give('head', new Moved(below, [utf8Bytes('ahead'), utf8Bytes('more')]))
    bed.far.sink.moveTo = null
    below.give('below', null)
    await bed.pass()
    assert.equal(bed.far.sink.taken, 'headaheadmorebelow')
    assert.equal(relay.upBytes, 18)
    bed.near.sink.moveTo = raw
    const behind = new HandSource()
    bed.far.source.give(new Moved(behind, [utf8Bytes('one'), utf8Bytes('two')]))
    behind.give('three', null)
    await bed.pass()
    assert.equal(bed.near.sink.taken, 'one', 'the write of a leftover may move the sink too')
    assert.equal(raw.taken, 'twothree')
    const record = await bed.over()
    assert.equal(record.reason, 'clean')
    assert.deepEqual(record.down, { read: 11, written: 11 })
  })

  it('ends, resets and fails where the sink is now, not where it was', async () => {
    const bed = new Bed()
    const raw = new HandSink('raw', bed.calls)
    raw.onReset = why => {
      void bed.far.scope.end(failed(why))
    }
    bed.far.sink.moveTo = raw
    bed.start()
    bed.near.source.give('x')
    await bed.pass()
    bed.near.source.give(resetBy('near'))
    await bed.pass()
    assert.deepEqual(bed.calls, ['far write 1', 'raw reset'])
    assert.equal((await bed.over()).side, 'near')
  })

  it('reads no further into borrowed memory while a write of it is pending', async () => {
    const bed = new Bed()
    bed.far.sink.isQuick = false
    bed.start()
    bed.near.source.give('one', 'two', 'three', null)
    for (let turn = 1; turn <= 3; turn++) {
      await bed.pass(10)
      assert.equal(bed.near.source.reads, turn)
      bed.far.sink.accept()
    }
    await bed.pass()
    assert.equal(bed.far.sink.taken, 'onetwothree', 'as it looked when each write was done')
    bed.far.source.give(null)
    assert.equal((await bed.over()).reason, 'clean')
  })
})

describe('field reports 2 and 3: the clean-up that ran twice or never', () => {
  it('closes a body once that is finished, cancelled and torn down at the same time', async () => {
    for (const roads of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]) {
      for (const isSlow of [false, true]) {
        const { root, program } = new Bed()
        const connection = root.child('leg', 'connection')
        const body = connection.child('stream', 'body')
        const slow = Promise.withResolvers<void>()
        const closings: Ending[] = []
        let open = 1
        body.hold('socket', 'body', ending => {
          closings.push(ending)
          open -= 1
          void body.end(clean)
          return isSlow ? slow.promise : undefined
        })
        const ends = [
          () => body.end(clean),
          () => body.end(failed(killed)),
          () => connection.end(failed(resetBy('connection'))),
        ]
        const ended = roads.map(road => ends[road]?.() ?? Promise.reject(killed))
        assert.equal(closings.length, 1)
        assert.equal(open, 0)
        slow.resolve()
        await Promise.all(ended)
        assert.equal(closings.length, 1)
        await root.end(clean)
        assert.deepEqual(program.bugs, [])
      }
    }
  })

  it('ends every stream and its task when the connection under them goes', async () => {
    const { root, program, clock } = new Bed()
    const connection = root.child('leg', 'connection')
    const closed: string[] = []
    let tasksOver = 0
    for (let id = 0; id < 50; id++) {
      const stream = connection.child('stream', String(id))
      const readable = Promise.withResolvers<void>()
      stream.hold('socket', String(id), ending => {
        closed.push(String(id))
        readable.reject(ending.kind === 'failed' ? ending.why : coreError('spent'))
      })
      stream.timer('ping', () => assert.fail('a timer of a stream that is gone')).setAfter(500)
      stream.task('serve', async () => {
        try {
          await readable.promise
        } finally {
          tasksOver += 1
        }
      })
    }
    void connection.end(failed(resetBy('connection')))
    await settle()
    assert.equal(closed.length, 50)
    assert.equal(new Set(closed).size, 50)
    assert.equal(tasksOver, 50)
    assert.deepEqual(
      [...root.rows()].map(row => row.name),
      ['test', 'flow', 'near', 'near', 'far', 'far'],
    )
    clock.jumpTo(10_000)
    clock.wakeDue()
    assert.deepEqual(program.bugs, [])
  })

  it('leaves nothing of a relay in a scope that lives on', async () => {
    const bed = new Bed()
    const hooks: Held[] = []
    const onEnd = bed.flow.onEnd.bind(bed.flow)
    bed.flow.onEnd = release => {
      const held = onEnd(release)
      hooks.push(held)
      return held
    }
    bed.start()
    bed.near.source.give(null)
    bed.far.source.give(null)
    await bed.pass()
    assert.equal(bed.record?.reason, 'clean')
    assert(hooks.length > 0)
    for (const hook of hooks) assert.equal(hook.holder, null, 'the hook went with the relay')
    await bed.over()
  })
})

/** Writes frames one after the other, as a protocol does that answers many requests at once. */
class Outbox {
  #sink: Sink
  #tail: Promise<void> = Promise.resolve()
  constructor(sink: Sink) {
    this.#sink = sink
  }
  send(frame: Bytes): Promise<void> {
    const sent = this.#tail.then(async () => {
      const moved = await this.#sink.write(frame)
      if (moved instanceof Moved) this.#sink = moved.to
    })
    this.#tail = sent
    sent.catch(() => undefined)
    return sent
  }
}

describe('field report 4: the frame that was sent to another peer', () => {
  it('sends nothing through a link that was handed over, whatever was queued for it', async () => {
    const { root, program } = new Bed()
    const old = new HandLink(root, 'old')
    old.sink.isQuick = false
    const outbox = new Outbox(old.link.sink)
    const frames = ['a', 'b', 'c'].map(text => outbox.send(utf8Bytes(text)))
    await settle()
    assert.deepEqual(old.sink.calls, ['old write 1'])
    const next: Owner = new Owner(root.child('flow', 'next'))
    const { link } = old
    next.adopt(link)
    old.sink.accept()
    await frames[0]
    for (const frame of frames.slice(1)) await assert.rejects(frame, { code: 'core.spent' })
    await assert.rejects(outbox.send(utf8Bytes('d')), { code: 'core.spent' })
    assert.equal(old.sink.taken, 'a')
    old.sink.isQuick = true
    await next.link.sink.write(utf8Bytes('mine'))
    assert.equal(old.sink.taken, 'amine', 'the new owner writes on the same wire')
    await root.end(clean)
    assert.deepEqual(program.bugs, [])
  })

  it('sends nothing to the link that took the place of the one that ended', async () => {
    const { root, program } = new Bed()
    const table = new Map<number, Link>()
    const [first, firstPeer] = memoryPair(root, 4)
    table.set(7, first)
    const outbox = new Outbox(first.sink)
    const frames = ['aaaa', 'bbbb', 'cccc'].map(text => outbox.send(utf8Bytes(text)))
    await settle()
    await first.abort(killed)
    const [second, secondPeer] = memoryPair(root)
    table.set(7, second)
    const outcomes = await Promise.allSettled(frames)
    assert.deepEqual(
      outcomes.map(outcome => outcome.status),
      ['fulfilled', 'rejected', 'rejected'],
    )
    await second.sink.write(utf8Bytes('hello'))
    const got = await secondPeer.source.read()
    assert(got instanceof Uint8Array)
    assert.equal(latin1Text(got), 'hello', 'and nothing before it')
    assert.equal(firstPeer.scope.isOpen, true)
    await root.end(clean)
    assert.deepEqual(program.bugs, [])
  })

  it('gives a relay to one owner: a link is taken once', async () => {
    const bed = new Bed()
    const { link } = bed.near
    bed.start(link)
    const more = new HandLink(bed.root, 'more')
    assert.throws(() => new Relay(bed.flow, policy, link, more.link), { code: 'core.spent' })
    assert.throws(() => new Relay(bed.flow, policy, more.link, more.link), { code: 'core.spent' })
    assert.equal(more.scope.isOpen, true, 'it stands under the flow, which ends it')
    bed.near.source.give(null)
    bed.far.source.give(null)
    await bed.pass()
    assert.equal(bed.record?.reason, 'clean')
    await bed.over()
    assert.equal(more.scope.isOver, true)
  })
})

describe('field report 5: the relay that cut, leaked or lied', () => {
  for (const [id, waitMs] of [
    ['R01', 300],
    ['R02', 119_000],
  ] as const) {
    it(`${id} passes the end of the client on and waits ${String(waitMs)} ms for the reply`, async () => {
      const bed = new Bed()
      bed.start()
      bed.near.source.give('req', null)
      await bed.pass(waitMs)
      assert.deepEqual(bed.calls, ['far write 3', 'far end'])
      bed.far.source.give('REPLY:', 'req', null)
      await bed.pass()
      assert.equal(bed.near.sink.taken, 'REPLY:req')
      assert.deepEqual(bed.calls.slice(2), ['near write 6', 'near write 3', 'near end'])
      const record = await bed.over()
      assert.equal(record.reason, 'clean')
      assert.deepEqual([bed.near.end, bed.far.end], ['clean', 'clean'])
    })
  }

  it('R03 carries a reply of many slow writes after the end of the client', async () => {
    const bed = new Bed()
    bed.near.sink.isQuick = false
    bed.start()
    bed.near.source.give('req', null)
    const chunk = 'x'.repeat(1_024)
    for (let count = 0; count < 100; count++) bed.far.source.give(chunk)
    bed.far.source.give(null)
    for (let count = 0; count < 100; count++) {
      await bed.pass(2_000)
      bed.near.sink.accept()
    }
    const record = await bed.over()
    assert.equal(record.reason, 'clean')
    assert.deepEqual(record.down, { read: 102_400, written: 102_400 })
    assert.equal(bed.near.sink.taken.length, 102_400)
  })

  it('R04 carries an upload after the end of the server', async () => {
    const bed = new Bed()
    bed.start()
    bed.far.source.give('bye', null)
    await bed.pass(60_000)
    assert.deepEqual(bed.calls, ['near write 3', 'near end'])
    bed.near.source.give('an upload', null)
    await bed.pass()
    assert.equal(bed.far.sink.taken, 'an upload')
    assert.equal((await bed.over()).reason, 'clean')
  })

  it('R18 delivers both last bytes when both sides end in one turn', async () => {
    for (const slow of ['neither', 'near', 'far', 'both']) {
      const bed = new Bed()
      bed.near.sink.isQuick = slow !== 'near' && slow !== 'both'
      bed.far.sink.isQuick = slow !== 'far' && slow !== 'both'
      bed.start()
      bed.near.source.give('c', null)
      bed.far.source.give('v', null)
      await bed.pass(20)
      bed.near.sink.accept()
      bed.far.sink.accept()
      await bed.pass()
      assert.deepEqual([bed.near.sink.taken, bed.far.sink.taken], ['v', 'c'])
      const record = await bed.over()
      assert.equal(record.reason, 'clean')
      assert.equal(record.laterFaults, 0)
      assert.equal(bed.calls.filter(call => call.endsWith('end')).length, 2)
      assert.equal(bed.calls.filter(call => call.endsWith('reset')).length, 0)
    }
  })

  it('R19 passes the end on after the last byte, read ahead or not, however slow that is', async () => {
    for (const isAhead of [true, false]) {
      const bed = new Bed()
      bed.far.sink.isQuick = false
      bed.start()
      const behind = new HandSource()
      behind.give(null)
      if (isAhead) bed.near.source.give(new Moved(behind, [utf8Bytes('one'), utf8Bytes('two')]))
      else bed.near.source.give('one', 'two', null)
      for (const done of ['', 'one']) {
        await bed.pass(1_000)
        assert.equal(bed.far.sink.taken, done)
        assert(!bed.calls.includes('far end'))
        bed.far.sink.accept()
      }
      await bed.pass()
      assert.deepEqual(bed.calls, ['far write 3', 'far write 3', 'far end'])
      assert.equal(bed.far.sink.taken, 'onetwo')
      bed.far.source.give(null)
      assert.equal((await bed.over()).reason, 'clean')
    }
  })

  it('R20 is over in the turn in which both have ended without a byte', async () => {
    const bed = new Bed()
    bed.start()
    bed.near.source.give(null)
    bed.far.source.give(null)
    assert.equal((await bed.over()).reason, 'clean')
  })

  it('R25 cleans up once when it is ended three times in one turn', async () => {
    const bed = new Bed()
    const relay = bed.start()
    bed.near.source.give('x')
    await bed.pass()
    const first = bed.flow.end(failed(killed))
    const second = bed.flow.end(clean)
    const third = bed.flow.end(failed(resetBy('late')))
    assert.equal(second, first)
    assert.equal(third, first)
    assert.equal(relay.record, relay.record)
    await first
    const record = await bed.over()
    assert.deepEqual([record.reason, record.side, record.code], ['stopped', 'local', 'test.killed'])
    assert.deepEqual(bed.near.endings, [failed(killed)])
    assert.deepEqual(bed.far.endings, [failed(killed)])
  })

  it('R25 makes its record also when its scope was over before it began', async () => {
    const bed = new Bed()
    await bed.flow.end(failed(killed))
    bed.start()
    const record = await bed.over()
    assert.deepEqual([record.reason, record.code], ['stopped', 'test.killed'])
    assert.deepEqual(bed.calls, [], 'nothing was written, and nothing was told an end')
  })

  it('R39 is over once when one link closes by itself before the other knows its end', async () => {
    const bed = new Bed()
    const closing = Promise.withResolvers<undefined>()
    bed.far.sink.closing = () => closing.promise
    bed.start()
    bed.far.source.give('v', null)
    bed.near.source.give('c', null)
    await bed.pass()
    // The transport of near has seen both ends and is gone before far's end has left.
    void bed.near.scope.end(clean)
    await bed.pass(10)
    assert.equal(bed.record, null)
    closing.resolve(undefined)
    const record = await bed.over()
    assert.equal(record.reason, 'clean')
    assert.deepEqual([record.upState, record.downState], ['ended', 'ended'])
  })

  it('R43 makes one record of a client that resets under a stream of writes', async () => {
    const bed = new Bed()
    bed.near.sink.isQuick = false
    bed.start()
    for (let count = 0; count < 100; count++) bed.far.source.give('data')
    await bed.pass()
    bed.near.source.give(resetBy('near'))
    bed.near.sink.fail(resetBy('near', 'write'))
    for (let count = 0; count < 100; count++) bed.near.tellGone(resetBy('near'))
    const record = await bed.over()
    assert.deepEqual([record.reason, record.side], ['reset', 'near'])
    assert.deepEqual(record.down, { read: 4, written: 0 })
    assert.deepEqual([bed.near.end, bed.far.end], ['failed', 'failed'])
    assert.equal(bed.calls.filter(call => call === 'far reset').length, 1)
  })

  it('R45 delivers every byte of a server that ends and resets at once', async () => {
    for (const isSlow of [false, true]) {
      const bed = new Bed()
      bed.near.sink.isQuick = !isSlow
      bed.start()
      bed.far.source.give('all of it', null)
      bed.far.gone('sink', resetBy('far'))
      await bed.pass(100)
      bed.near.sink.accept()
      await bed.pass(100)
      assert.equal(bed.near.sink.taken, 'all of it')
      const record = await bed.over()
      assert.deepEqual([record.reason, record.side], ['reset', 'far'])
      assert.equal(bed.near.end, 'failed')
    }
  })

  it('R26 resets the client whose server fails after the client has ended', async () => {
    const bed = new Bed()
    bed.start()
    bed.near.source.give('req', null)
    await bed.pass(300)
    bed.far.source.give(resetBy('far'))
    const record = await bed.over()
    assert.deepEqual([record.reason, record.side, record.call], ['reset', 'far', 'read'])
    assert.deepEqual(bed.calls, ['far write 3', 'far end', 'near reset'])
    assert.deepEqual([record.upState, record.downState], ['ended', 'failed'])
  })

  it('does not cut what a dead side had sent when its pending end fails too', async () => {
    const bed = new Bed()
    const closing = Promise.withResolvers<undefined>()
    bed.far.sink.closing = () => closing.promise
    bed.near.sink.isQuick = false
    bed.start()
    bed.far.source.give('one', 'two', 'three')
    bed.near.source.give('req', null)
    await bed.pass()
    // Far is gone: told first while nobody reads it, then by the end that was on its way.
    bed.far.tellGone(resetBy('far'))
    await bed.pass(10)
    closing.reject(resetBy('far', 'write'))
    for (let count = 0; count < 3; count++) {
      await bed.pass(500)
      bed.near.sink.accept()
    }
    await bed.pass()
    assert.equal(bed.near.sink.taken, 'onetwothree')
    const record = await bed.over()
    assert.deepEqual([record.reason, record.side], ['reset', 'far'])
    assert.deepEqual(record.down, { read: 11, written: 11 })
    assert.equal(bed.near.end, 'failed', 'and then the reset')
  })

  it('does not mind an end that leaves after its link was told to be gone', async () => {
    const bed = new Bed()
    const closing = Promise.withResolvers<undefined>()
    bed.far.sink.closing = () => closing.promise
    bed.near.sink.isQuick = false
    bed.start()
    bed.far.source.give('one')
    bed.near.source.give('req', null)
    await bed.pass()
    bed.far.tellGone(resetBy('far'))
    await bed.pass(10)
    closing.resolve(undefined)
    await bed.pass(10)
    bed.near.sink.accept()
    const record = await bed.over()
    assert.deepEqual([record.reason, record.side], ['reset', 'far'])
    assert.equal(bed.near.sink.taken, 'one')
    assert.deepEqual([record.upState, record.downState], ['failed', 'failed'])
  })

  it('waits for the last bytes of a side that takes nothing more, but only for the grace', async () => {
    const bed = new Bed()
    bed.start()
    bed.far.sink.fault = resetBy('far', 'write')
    bed.near.source.give('req')
    await bed.pass(990)
    assert.equal(bed.record, null)
    bed.far.source.give('last words')
    await bed.pass(990)
    assert.equal(bed.near.sink.taken, 'last words')
    assert.equal(bed.record, null)
    await bed.pass(10)
    const record = await bed.over()
    assert.deepEqual([record.reason, record.side, record.call], ['reset', 'far', 'write'])
    assert.deepEqual([bed.near.end, bed.far.end], ['failed', 'failed'])
  })

  it('names the first failure in its record, and only counts the later ones', async () => {
    const bed = new Bed()
    bed.start()
    bed.far.sink.fault = resetBy('far', 'write')
    bed.near.source.give('req')
    await bed.pass(10)
    bed.far.source.give('x', simError('injected', { system: 'EIO', call: 'read' }))
    await bed.pass(10)
    void bed.flow.end(failed(killed))
    const { reason, side, call, system, code, laterFaults } = await bed.over()
    assert.deepEqual(
      { reason, side, call, system, code, laterFaults },
      {
        reason: 'reset',
        side: 'far',
        call: 'write',
        system: 'ECONNRESET',
        code: 'sim.peer-reset',
        laterFaults: 1,
      },
    )
  })

  it('tells a held end within its grace when the link does not let it out', async () => {
    const bed = new Bed()
    bed.far.sink.ends = 'both'
    bed.far.sink.closing = () => new Promise(() => undefined)
    bed.start()
    bed.near.source.give('req', null)
    await bed.pass(120_000)
    assert.deepEqual(bed.calls, ['far write 3', 'far end'])
    assert.equal(bed.record, null, 'the end is on its way')
    await bed.pass(1_000)
    const record = await bed.over()
    assert.equal(record.reason, 'half-close-idle')
  })

  it('makes its record also when a transport throws at the reset', async () => {
    const bed = new Bed()
    const thrown = new Error('a transport that is broken')
    bed.near.sink.onReset = () => {
      throw thrown
    }
    bed.start()
    bed.far.source.give('x', resetBy('far'))
    await bed.pass()
    assert.equal(bed.record?.reason, 'reset')
    assert.equal(bed.records, 1)
    assert.deepEqual([bed.near.end, bed.far.end], ['failed', 'failed'])
    assert.deepEqual(
      bed.program.bugs.map(bug => bug.cause),
      [thrown],
    )
  })

  it('ends a write that stalls for ever on a link whose end stalls for ever', async () => {
    const bed = new Bed()
    bed.far.sink.closing = () => new Promise(() => undefined)
    bed.start()
    bed.near.source.give(null)
    bed.far.source.give(null)
    await bed.pass(119_990)
    assert.equal(bed.record, null)
    await bed.pass(10)
    assert.equal((await bed.over()).reason, 'half-close-idle')
  })
})

describe('after the record (R47)', () => {
  it('nothing moves any more, whatever the transports still say', async () => {
    for (let seed = 1; seed <= 400; seed++) {
      try {
        await playLate(new Random(seed))
      } catch (thrown) {
        throw new Error(`seed ${String(seed)}`, { cause: thrown })
      }
    }
  })
})

/** A random life, an end by force if need be, and then all that comes too late. */
async function playLate(random: Random): Promise<void> {
  const bed = new Bed()
  const relay = bed.start()
  const links = [bed.near, bed.far] as const
  for (const { sink } of links) {
    sink.isQuick = random.chance(0.5)
    sink.ends = random.pick(['half', 'half', 'both', 'nothing'])
  }
  const closings: PromiseWithResolvers<undefined>[] = []
  const act = (isLate: boolean): void => {
    const link = random.pick(links)
    const { source, sink } = link
    const slowEnd = (): Promise<undefined> => {
      const closing = Promise.withResolvers<undefined>()
      closings.push(closing)
      return closing.promise
    }
    random.pick<() => void>([
      () => {
        source.give('bytes')
      },
      () => {
        source.give('more', 'bytes')
      },
      () => {
        sink.accept()
      },
      () => {
        sink.accept()
      },
      () => {
        sink.closing = slowEnd
      },
      () => {
        closings.pop()?.resolve(undefined)
      },
      () => {
        if (random.chance(isLate ? 1 : 0.4)) source.give(null)
      },
      () => {
        if (random.chance(isLate ? 1 : 0.2)) source.give(resetBy('late'))
      },
      () => {
        if (random.chance(isLate ? 1 : 0.2)) sink.fail(resetBy('late', 'write'))
      },
      () => {
        if (random.chance(isLate ? 1 : 0.2)) closings.pop()?.reject(resetBy('late', 'write'))
      },
      () => {
        if (random.chance(isLate ? 1 : 0.2)) link.tellGone(resetBy('late'))
      },
      () => {
        if (isLate) void link.scope.end(failed(resetBy('late')))
      },
      () => {
        if (isLate) void bed.flow.end(failed(killed))
      },
    ])()
  }
  // A transport that forgets its pending calls when it ends: they are answered too late.
  for (const link of links) link.isTidy = random.chance(0.5)
  for (let count = random.whole(0, 12); count > 0; count--) {
    act(false)
    await bed.pass(random.pick([0, 0, 10, 900]))
  }
  if (bed.record === null) void bed.flow.end(failed(killed))
  await bed.pass(2_000)
  assert(bed.record !== null)
  const seen = (): unknown =>
    structuredClone({
      record: { ...bed.record, why: bed.record?.code },
      calls: bed.calls,
      up: relay.upBytes,
      down: relay.downBytes,
      states: relay.states,
      ends: [bed.near.end, bed.far.end],
      reads: [bed.near.source.reads, bed.far.source.reads],
    })
  const before = seen()
  for (let count = 0; count < 20; count++) {
    act(true)
    if (random.chance(0.3)) await bed.pass(random.pick([0, 10, 300_000]))
  }
  for (const link of links) link.sink.accept()
  await bed.pass(1_000_000)
  assert.deepEqual(seen(), before)
  await bed.over()
}
