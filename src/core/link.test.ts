import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Bytes } from '../bytes/bytes.ts'
import { FakeClock } from '../testing/index.ts'
import { type Endpoint, parsePort } from './endpoint.ts'
import { SluiceError } from './errors.ts'
import {
  type GoneListener,
  type Halves,
  Link,
  type LinkBody,
  type Moved,
  type Now,
  Owner,
  type Path,
  type Sink,
  type Source,
} from './link.ts'
import { clean, failed, Program, Scope } from './scope.ts'

const why = new SluiceError('test.why', 'stopped', 'ended by the test')
const at = (host: string): Endpoint => ({ host, port: parsePort(7) })
const path: Path = { remote: at('192.0.2.1'), local: at('192.0.2.2') }
const otherPath: Path = { remote: at('198.51.100.1'), local: at('192.0.2.2') }
const spent = { code: 'core.spent', blame: 'bug' }

/** Both halves of a transport: they note each call, and answer at once. */
class Below implements Source, Sink {
  readonly calls: string[] = []
  ends: Sink['ends'] = 'both'
  resets: Sink['resets'] = 'coded'
  waitingBytes = 17
  read(): Now<Bytes | null | Moved<Source>> {
    this.calls.push('read')
    return null
  }
  cancel(reason: SluiceError): void {
    this.calls.push(`cancel ${reason.code}`)
  }
  write(bytes: Bytes | readonly Bytes[]): undefined {
    this.calls.push(`write ${String(bytes.length)}`)
  }
  flush(): undefined {
    this.calls.push('flush')
  }
  closeWrite(): undefined {
    this.calls.push('closeWrite')
  }
  reset(reason: SluiceError, after?: { readonly graceMs: number }): void {
    this.calls.push(`reset ${reason.code} ${String(after?.graceMs)}`)
  }
}

interface Bed {
  readonly root: Scope
  readonly below: Below
  readonly body: LinkBody
  readonly link: Link
  /** The listener that the transport would call. */
  listener(): GoneListener | null
}

function bed(): Bed {
  const root = Scope.root(new Program(new FakeClock()), 'test')
  const below = new Below()
  let listener: GoneListener | null = null
  const body: LinkBody = {
    path,
    scope: root.child('leg', 'leg'),
    onGone: given => {
      listener = given
    },
  }
  return { root, below, body, link: new Link(body, below, below), listener: () => listener }
}

/** Every use of a link and of the halves that were taken from it before. */
function usesOf(link: Link): (() => unknown)[] {
  const { source, sink } = link
  return [
    () => link.source,
    () => link.sink,
    () => link.path,
    () => link.scope,
    () => link.ended,
    () => link.abort(why),
    () => link.handOver(),
    () => link.takeApart(),
    () => {
      link.onGone(() => undefined)
    },
    () => source.read(),
    () => {
      source.cancel(why)
    },
    () => sink.write(new Uint8Array(1)),
    () => sink.flush(),
    () => sink.closeWrite(),
    () => {
      sink.reset(why)
    },
    () => sink.ends,
    () => sink.resets,
    () => sink.waitingBytes,
  ]
}

describe('a link', () => {
  it('passes every call and every answer through its halves', () => {
    const { link, below } = bed()
    assert.equal(link.source.read(), null)
    link.source.cancel(why)
    assert.equal(link.sink.write(new Uint8Array(3)), undefined)
    assert.equal(link.sink.write([new Uint8Array(3), new Uint8Array(1)]), undefined)
    void link.sink.flush()
    void link.sink.closeWrite()
    link.sink.reset(why)
    link.sink.reset(why, { graceMs: 30 })
    assert.equal(link.sink.ends, 'both')
    assert.equal(link.sink.resets, 'coded')
    assert.equal(link.sink.waitingBytes, 17)
    below.waitingBytes = 4
    assert.equal(link.sink.waitingBytes, 4)
    assert.deepEqual(below.calls, [
      'read',
      'cancel test.why',
      'write 3',
      'write 2',
      'flush',
      'closeWrite',
      'reset test.why undefined',
      'reset test.why 30',
    ])
  })

  it('gives the same halves each time, and its path and scope', () => {
    const { link, body } = bed()
    assert.equal(link.source, link.source)
    assert.equal(link.sink, link.sink)
    assert.equal(link.path, path)
    assert.equal(link.scope, body.scope)
    assert.equal(link.isSpent, false)
  })

  it('ends with its scope, and its abort is a failed end', async () => {
    const { link } = bed()
    const ended = link.ended
    const aborted = link.abort(why)
    assert.equal(aborted, ended)
    assert.equal(link.abort(new SluiceError('test.later', 'stopped', 'later')), ended)
    assert.deepEqual(await ended, failed(why))
  })

  it('cannot be used after it was handed over, nor can its halves, and the new one can', () => {
    const { link, below } = bed()
    const uses = usesOf(link)
    const mine = link.handOver()
    assert.equal(link.isSpent, true)
    assert.equal(mine.isSpent, false)
    for (const use of uses) assert.throws(use, spent)
    assert.deepEqual(below.calls, [], 'nothing reached the transport')
    void mine.sink.write(new Uint8Array(1))
    void mine.source.read()
    assert.deepEqual(below.calls, ['write 1', 'read'])
    assert.equal(mine.path, path)
  })

  it('cannot be used after it was taken apart', () => {
    const { link } = bed()
    const uses = usesOf(link)
    link.takeApart()
    assert.equal(link.isSpent, true)
    for (const use of uses) assert.throws(use, spent)
  })

  it('gets no slower with each handover: the halves are not wrapped again and again', () => {
    const { link, below } = bed()
    let at = link
    for (let times = 0; times < 20_000; times++) at = at.handOver()
    void at.sink.write(new Uint8Array(1))
    assert.deepEqual(below.calls, ['write 1'])
    assert.equal(at.takeApart().source, below, 'the very half of the transport')
  })

  it('has one listener for what comes while nobody looks, also in other hands', () => {
    const { link, listener } = bed()
    const heard: string[] = []
    link.onGone(half => void heard.push(`first ${half}`))
    listener()?.('source', why)
    const mine = link.handOver()
    mine.onGone(half => void heard.push(`second ${half}`))
    listener()?.('sink', why)
    assert.deepEqual(heard, ['first source', 'second sink'])
  })
})

describe('a link taken apart', () => {
  it('is put together again with what its halves are then, once', () => {
    const { link, below, body } = bed()
    const halves: Halves = link.takeApart()
    assert.equal(halves.source, below)
    assert.equal(halves.sink, below)
    assert.equal(halves.scope, body.scope)
    const above = new Below()
    halves.sink = above
    const joined = halves.join()
    void joined.sink.write(new Uint8Array(1))
    void joined.source.read()
    assert.deepEqual(above.calls, ['write 1'])
    assert.deepEqual(below.calls, ['read'])
    assert.throws(() => halves.join(), spent)
    assert.equal(joined.path, path)
  })

  it('may get another path, and still hears what comes while nobody looks', () => {
    const { link, listener, body } = bed()
    const joined = link.takeApart().join(otherPath)
    assert.equal(joined.path, otherPath)
    assert.equal(joined.scope, body.scope)
    const heard: string[] = []
    joined.onGone(half => void heard.push(half))
    listener()?.('sink', why)
    assert.deepEqual(heard, ['sink'])
    assert.equal(joined.handOver().path, otherPath)
  })
})

describe('an owner', () => {
  it('takes a link with its scope, and only one', async () => {
    const { root, link, body } = bed()
    const flow = root.child('flow', 'flow')
    const owner: Owner = new Owner(flow)
    assert.equal(owner.isEmpty, true)
    assert.throws(() => owner.link, spent)
    const uses = usesOf(link)
    owner.adopt(link)
    for (const use of uses) assert.throws(use, spent)
    assert.equal(owner.isEmpty, false)
    assert.equal(owner.link.path, path)
    const second = bed().link
    assert.throws(
      () => {
        owner.adopt(second)
      },
      { code: 'core.busy' },
    )
    assert.equal(second.isSpent, false, 'what is refused stays with its holder')
    await flow.end(failed(why))
    assert.deepEqual(body.scope.ending, failed(why), 'it ends with its new owner')
  })

  it('refuses a link that was handed over before', () => {
    const { root, link } = bed()
    link.handOver()
    const owner: Owner = new Owner(root)
    assert.throws(() => {
      owner.adopt(link)
    }, spent)
    assert.equal(owner.isEmpty, true)
  })

  it('ends a link at once that it gets when its scope is over', async () => {
    const { root, link, body } = bed()
    const flow = root.child('flow', 'flow')
    await flow.end(clean)
    const owner: Owner = new Owner(flow)
    owner.adopt(link)
    assert.equal(body.scope.isOpen, false)
    assert.deepEqual(await owner.link.ended, clean)
  })

  it('leaves nothing that compiles to whoever gave the link away', () => {
    const { root, link } = bed()
    const owner: Owner = new Owner(root)
    owner.adopt(link)
    // @ts-expect-error: an adopted link has no source for the one who gave it away
    assert.throws(() => link.source, spent)
    // @ts-expect-error: nor a sink
    assert.throws(() => link.sink, spent)
    // @ts-expect-error: nor can it be given away again by hand
    assert.throws(() => link.handOver(), spent)
    // @ts-expect-error: nor aborted
    assert.throws(() => link.abort(why), spent)
  })
})
