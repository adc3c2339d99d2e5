import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FakeClock, settle } from '../testing/index.ts'
import { coreError, SluiceError } from './errors.ts'
import {
  clean,
  type Ending,
  errorOf,
  failed,
  type Held,
  Program,
  Scope,
  type Timer,
} from './scope.ts'

const why = new SluiceError('test.why', 'stopped', 'the first reason')
const later = new SluiceError('test.later', 'stopped', 'a later reason')

interface Bed {
  readonly clock: FakeClock
  readonly program: Program
  readonly root: Scope
}

function bed(): Bed {
  const clock = new FakeClock()
  const program = new Program(clock)
  return { clock, program, root: Scope.root(program, 'test') }
}

function advance(clock: FakeClock, ms: number): void {
  const untilMs = clock.now() + ms
  while (clock.wakeMs <= untilMs) {
    clock.jumpTo(clock.wakeMs)
    clock.wakeDue()
  }
  clock.jumpTo(untilMs)
}

function rowsOf(scope: Scope): string[] {
  return [...scope.rows()].map(row => `${String(row.depth)} ${row.kind} ${row.name} ${row.state}`)
}

function codeOf(call: () => unknown): string {
  try {
    call()
  } catch (thrown) {
    return thrown instanceof SluiceError ? thrown.code : 'no code'
  }
  return 'nothing thrown'
}

describe('a scope', () => {
  it('releases what it holds once, last made first, with the reason', async () => {
    const { root, program } = bed()
    const scope = root.child('flow', 'one')
    const seen: string[] = []
    const note = (name: string) => (ending: Ending) => {
      assert.equal(errorOf(ending), why)
      seen.push(name)
    }
    scope.hold('socket', 'a', note('a'))
    const child = scope.child('leg', 'leg')
    child.hold('socket', 'b', note('b'))
    scope.onEnd(note('hook'))
    child.hold('socket', 'c', note('c'))
    scope.hold('socket', 'd', note('d'))
    const over = scope.end(failed(why))
    assert.deepEqual(seen, ['d', 'hook', 'c', 'b', 'a'], 'all of it in the turn of the call')
    assert.equal(scope.isOver, true)
    assert.equal(child.isOver, true)
    assert.deepEqual(await over, failed(why))
    await scope.end(clean)
    assert.equal(seen.length, 5)
    assert.deepEqual(rowsOf(root), ['0 program test open'])
    assert.deepEqual(program.bugs, [])
  })

  it('gives the same promise from every end, and the first ending counts', async () => {
    const { root } = bed()
    const scope = root.child('flow', 'one')
    let release: () => void = () => undefined
    const given: Ending[] = []
    scope.hold('socket', 'slow', ending => {
      given.push(ending)
      return new Promise(resolve => {
        release = resolve
      })
    })
    const first = scope.end(failed(why))
    assert.equal(scope.end(clean), first)
    assert.equal(scope.end(failed(later)), first)
    assert.equal(scope.ended, first)
    assert.equal(root.isOpen, true)
    assert.deepEqual(scope.ending, failed(why))
    release()
    assert.deepEqual(await first, failed(why))
    assert.equal(scope.end(clean), first, 'also when it is over')
    assert.deepEqual(given, [failed(why)])
  })

  it('gives the ending to who asks before it, during it and after it', async () => {
    const { root } = bed()
    const scope = root.child('flow', 'one')
    const before = scope.ended
    void scope.end(clean)
    assert.equal(scope.ended, before)
    assert.deepEqual(await before, clean)
    const other = root.child('flow', 'two')
    void other.end(failed(why))
    assert.equal(other.isOver, true)
    assert.deepEqual(await other.ended, failed(why), 'asked for the first time when it was over')
  })

  it('keeps a resource in the ledger until its release has settled', async () => {
    const { root } = bed()
    const scope = root.child('flow', 'one')
    const leg = scope.child('leg', 'leg')
    const slow = Promise.withResolvers<void>()
    leg.hold('socket', 'slow', () => slow.promise)
    leg.hold('socket', 'quick', () => undefined)
    const over = scope.end(clean)
    let isOver = false
    void over.then(() => {
      isOver = true
    })
    await settle()
    assert.equal(isOver, false)
    assert.deepEqual(rowsOf(root), [
      '0 program test open',
      '1 flow one ending',
      '2 leg leg ending',
      '3 socket slow ending',
    ])
    slow.resolve()
    await over
    assert.deepEqual(rowsOf(root), ['0 program test open'])
  })

  it('waits for a child that was ending already, without ending it twice', async () => {
    const { root } = bed()
    const scope = root.child('flow', 'one')
    const leg = scope.child('leg', 'leg')
    const slow = Promise.withResolvers<void>()
    const given: Ending[] = []
    leg.hold('socket', 'slow', ending => {
      given.push(ending)
      return slow.promise
    })
    const legOver = leg.end(failed(why))
    const over = scope.end(clean)
    await settle()
    assert.equal(scope.isOver, false)
    slow.resolve()
    assert.deepEqual(await legOver, failed(why))
    assert.deepEqual(await over, clean)
    assert.deepEqual(given, [failed(why)])
    assert.equal(scope.isOver, true)
  })

  it('forgets a child and a resource that ended by themselves', () => {
    const { root } = bed()
    const scope = root.child('flow', 'one')
    void scope.child('leg', 'leg').end(clean)
    const held = scope.hold('socket', 'a', () => {
      assert.fail('it had ended before')
    })
    held.drop()
    held.drop()
    assert.deepEqual(rowsOf(scope), ['0 flow one open'])
    assert.equal(scope.isEmpty, true)
    void scope.end(clean)
    held.drop()
    assert.equal(scope.isOver, true)
  })

  it('takes a drop in the middle of its list, and releases the others in order', () => {
    const { root } = bed()
    const seen: string[] = []
    const helds = ['a', 'b', 'c', 'd', 'e'].map(name =>
      root.hold('socket', name, () => {
        seen.push(name)
      }),
    )
    for (const at of [2, 0, 4]) helds[at]?.drop()
    assert.deepEqual(rowsOf(root).slice(1), ['1 socket b open', '1 socket d open'])
    void root.end(clean)
    assert.deepEqual(seen, ['d', 'b'])
  })

  it('is not over while a release runs that ends the last of the others', async () => {
    const { root, program } = bed()
    const scope = root.child('flow', 'one')
    const held = scope.hold('socket', 'a', () => assert.fail('it was dropped'))
    const timer = scope.timer('t', () => undefined)
    const leg = scope.child('leg', 'leg')
    const slow = Promise.withResolvers<void>()
    scope.hold('socket', 'slow', () => {
      timer.drop()
      held.drop()
      void leg.end(clean)
      return slow.promise
    })
    let isOver = false
    void scope.end(failed(why)).then(() => {
      isOver = true
    })
    await settle()
    assert.equal(isOver, false)
    assert.deepEqual(rowsOf(root).slice(1), ['1 flow one ending', '2 socket slow ending'])
    slow.resolve()
    assert.deepEqual(await scope.ended, failed(why))
    assert.equal(root.isEmpty, true)
    assert.deepEqual(program.bugs, [])
  })

  it('ignores a drop from within the release, and while the release is pending', async () => {
    const { root, program } = bed()
    const slow = Promise.withResolvers<void>()
    const held: Held = root.hold('socket', 'a', () => {
      held.drop()
      return slow.promise
    })
    const over = root.end(clean)
    held.drop()
    await settle()
    assert.equal(root.isOver, false)
    slow.resolve()
    await over
    assert.deepEqual(program.bugs, [])
  })

  it('releases at once what is held after its end, with the first ending', async () => {
    const { root } = bed()
    const scope = root.child('flow', 'one')
    const slow = Promise.withResolvers<void>()
    const slower = Promise.withResolvers<void>()
    scope.hold('socket', 'slow', () => slow.promise)
    void scope.end(failed(why))
    const given: Ending[] = []
    scope.hold('socket', 'late', ending => {
      given.push(ending)
      return slower.promise
    })
    assert.deepEqual(given, [failed(why)])
    slow.resolve()
    await settle()
    assert.equal(scope.isOver, false, 'it waits for what came late, too')
    slower.resolve()
    await scope.ended
    scope.hold('socket', 'too late', ending => {
      given.push(ending)
    })
    assert.deepEqual(given, [failed(why), failed(why)])
    assert.deepEqual(rowsOf(scope), ['0 flow one ending'])
  })

  it('releases what a release makes, and goes on with the others', () => {
    const { root, program } = bed()
    const scope = root.child('flow', 'one')
    const seen: string[] = []
    scope.hold('socket', 'a', () => void seen.push('a'))
    scope.hold('socket', 'b', () => {
      seen.push('b')
      scope.hold('socket', 'made', () => void seen.push('made'))
      assert.equal(
        codeOf(() => scope.child('leg', 'no')),
        'scope.ended',
      )
      scope.timer('never', () => assert.fail('it fires in an ending scope')).setAfter(0)
    })
    scope.hold('socket', 'c', () => void seen.push('c'))
    void scope.end(clean)
    assert.deepEqual(seen, ['c', 'b', 'made', 'a'])
    assert.equal(scope.isOver, true)
    assert.equal(program.wheel.size, 0)
    assert.deepEqual(program.bugs, [])
  })

  it('gives no child once it is ending, and says why', () => {
    const { root } = bed()
    void root.end(failed(why))
    try {
      root.child('flow', 'one')
      assert.fail('it gave a child')
    } catch (thrown) {
      assert(thrown instanceof SluiceError)
      assert.equal(thrown.code, 'scope.ended')
      assert.equal(thrown.blame, 'stopped')
      assert.equal(thrown.cause, why)
    }
  })

  it('may be ended from within a release of its own, of a sibling and of its parent', async () => {
    const { root, program } = bed()
    const parent = root.child('flow', 'parent')
    const a = parent.child('leg', 'a')
    const b = parent.child('leg', 'b')
    const seen: string[] = []
    for (const scope of [a, b]) {
      for (const at of [1, 2, 3]) {
        scope.hold('socket', String(at), ending => {
          seen.push(`${scope.name}${String(at)}`)
          assert.deepEqual(ending, failed(scope === b ? why : later))
          void a.end(clean)
          void b.end(clean)
          void parent.end(failed(later))
        })
      }
    }
    const legOver = b.end(failed(why))
    // b ended first; its release asked for a's end with `clean`, but b's own release came before.
    assert.deepEqual(await legOver, failed(why))
    assert.equal(root.isEmpty, true)
    assert.equal(new Set(seen).size, seen.length, 'none of them twice')
    assert.equal(program.bugs.length, seen.filter(name => name.startsWith('a')).length)
  })

  it('reports a release that throws or rejects, and ends all the others all the same', async () => {
    const { root, program } = bed()
    const scope = root.child('flow', 'one')
    const seen: string[] = []
    scope.hold('socket', 'a', () => void seen.push('a'))
    scope.hold('socket', 'throws', () => {
      seen.push('throws')
      throw new Error('thrown by a release')
    })
    scope.hold('socket', 'b', () => void seen.push('b'))
    scope.hold('socket', 'rejects', () => {
      seen.push('rejects')
      return Promise.reject(why)
    })
    scope.hold('socket', 'c', () => void seen.push('c'))
    assert.deepEqual(await scope.end(clean), clean)
    assert.deepEqual(seen, ['c', 'rejects', 'b', 'throws', 'a'])
    assert.deepEqual(
      program.bugs.map(bug => bug.code),
      ['core.unknown', 'test.why'],
    )
    assert.equal(root.isEmpty, true)
  })

  it('ends all the same when the listener for bugs throws', async () => {
    const { root, program } = bed()
    program.onBug(() => {
      throw new Error('thrown by the listener')
    })
    const seen: string[] = []
    const scope = root.child('flow', 'one')
    scope.hold('socket', 'a', () => void seen.push('a'))
    scope.hold('socket', 'throws', () => {
      throw new Error('thrown by a release')
    })
    scope.hold('socket', 'rejects', () => Promise.reject(why))
    assert.deepEqual(await scope.end(clean), clean)
    assert.deepEqual(seen, ['a'])
    assert.equal(program.bugsTotal, 2)
  })

  it('ends a hundred thousand resources and children, in time that grows with their number only', async () => {
    const { root } = bed()
    const count = 100_000
    let released = 0
    for (let at = 0; at < count; at++) {
      const owner = at % 2 === 0 ? root : root.child('flow', '')
      owner.hold(
        'socket',
        '',
        at % 7 === 0 ? () => settled(() => (released += 1)) : () => void released++,
      )
    }
    await root.end(clean)
    assert.equal(released, count)
  })

  it('keeps only the first hundred bugs, and counts all', () => {
    const { program } = bed()
    for (let at = 0; at < 250; at++) program.report(new Error(String(at)))
    assert.equal(program.bugs.length, 100)
    assert.equal(program.bugsTotal, 250)
  })

  it('says of itself what its note says, and how old it is', () => {
    const { root, clock } = bed()
    const scope = root.child('flow', 'one')
    scope.setNote(() => 'relaying')
    scope.hold(
      'socket',
      'a',
      () => undefined,
      () => 'in 3 out 4',
    )
    const timer = scope.timer('t', () => undefined)
    advance(clock, 250)
    const [, flow, socket, paused] = [...root.rows()]
    assert.deepEqual(flow, {
      kind: 'flow',
      name: 'one',
      depth: 1,
      ageMs: 250,
      state: 'open',
      note: 'relaying',
    })
    assert.equal(socket?.note, 'in 3 out 4')
    assert.equal(paused?.note, 'paused')
    timer.setAfter(10)
    assert.match([...scope.rows()][2]?.note ?? '', /^due tick \d+$/)
  })
})

async function settled(run: () => void): Promise<void> {
  await Promise.resolve()
  run()
}

describe('a timer of a scope', () => {
  it('fires once for each time it is set, and not when it is paused', () => {
    const { root, clock, program } = bed()
    const fired: number[] = []
    const timer = root.timer('t', nowMs => void fired.push(nowMs))
    assert.equal(timer.isArmed, false)
    timer.setAfter(100)
    timer.setAfter(200)
    assert.equal(timer.isArmed, true)
    advance(clock, 150)
    assert.deepEqual(fired, [])
    advance(clock, 50)
    assert.deepEqual(fired, [1_200])
    timer.setAt(1_300)
    timer.pause()
    timer.pause()
    advance(clock, 1_000)
    assert.deepEqual(fired, [1_200])
    timer.setAfter(10)
    advance(clock, 10)
    assert.deepEqual(fired, [1_200, 2_210])
    timer.drop()
    timer.drop()
    timer.setAfter(10)
    advance(clock, 1_000)
    assert.equal(fired.length, 2)
    assert.equal(program.wheel.size, 0)
    assert.equal(root.isEmpty, true)
  })

  it('may drop itself and end its scope when it fires', () => {
    const { root, clock, program } = bed()
    const scope = root.child('flow', 'one')
    let fired = 0
    for (const name of ['a', 'b', 'c']) {
      const timer: Timer = scope.timer(name, () => {
        fired += 1
        timer.drop()
        void scope.end(clean)
        timer.setAfter(5)
      })
      timer.setAfter(10)
    }
    advance(clock, 50)
    assert.equal(fired, 1, 'the others ended with their scope, though due in the same tick')
    assert.equal(scope.isOver, true)
    assert.equal(program.wheel.size, 0)
    assert.deepEqual(program.bugs, [])
  })

  it('never fires once its scope is ending, also while a release is pending', async () => {
    const { root, clock, program } = bed()
    const slow = Promise.withResolvers<void>()
    root.hold('socket', 'slow', () => slow.promise)
    const timer = root.timer('t', () => assert.fail('it fires in an ending scope'))
    timer.setAfter(10)
    const over = root.end(clean)
    timer.setAfter(10)
    root.timer('new', () => assert.fail('it fires in an ending scope')).setAfter(10)
    root.deadline(10, 'deadline', () => why)
    advance(clock, 100)
    assert.equal(program.wheel.size, 0)
    slow.resolve()
    assert.deepEqual(await over, clean)
  })

  it('reports what it throws, and the other timers go on', () => {
    const { root, clock, program } = bed()
    const fired: string[] = []
    for (const name of ['a', 'b', 'c']) {
      root
        .timer(name, () => {
          fired.push(name)
          if (name === 'b') throw why
        })
        .setAfter(10)
    }
    advance(clock, 10)
    assert.deepEqual(fired.sort(), ['a', 'b', 'c'])
    assert.deepEqual(program.bugs, [why])
  })

  it('ends the scope at a deadline with its error, and not when it was disarmed', async () => {
    const { root, clock } = bed()
    const scope = root.child('flow', 'one')
    const disarm = (): void => {
      using _deadline = scope.deadline(100, 'handshake', () => later)
      advance(clock, 90)
    }
    disarm()
    advance(clock, 1_000)
    assert.equal(scope.isOpen, true)
    scope.deadline(100, 'handshake', () => why)
    advance(clock, 90)
    assert.equal(scope.isOpen, true)
    advance(clock, 10)
    assert.equal(scope.isOver, true)
    assert.deepEqual(await scope.ended, failed(why))
  })
})

describe('a task of a scope', () => {
  it('stands in the ledger until it is over, and its failure ends the scope', async () => {
    const { root, program } = bed()
    const scope = root.child('flow', 'one')
    const work = Promise.withResolvers<void>()
    scope.task('pump', () => work.promise)
    assert.deepEqual(rowsOf(scope), ['0 flow one open', '1 task pump open'])
    work.resolve()
    await settle()
    assert.deepEqual(rowsOf(scope), ['0 flow one open'])
    assert.equal(scope.isOpen, true)
    scope.task('fails', () => Promise.reject(why))
    assert.deepEqual(await scope.ended, failed(why))
    const other = root.child('flow', 'two')
    other.task('throws', () => {
      throw new Error('thrown at once')
    })
    const ending = await other.ended
    assert.equal(errorOf(ending).code, 'core.unknown')
    assert.deepEqual(program.bugs, [])
  })

  it('is waited for by the end of its scope', async () => {
    const { root, program } = bed()
    const scope = root.child('flow', 'one')
    const work = Promise.withResolvers<void>()
    scope.task('pump', () => work.promise)
    const over = scope.end(failed(why))
    await settle()
    assert.equal(scope.isOver, false)
    assert.deepEqual(rowsOf(scope), ['0 flow one ending', '1 task pump ending'])
    work.reject(later)
    assert.deepEqual(await over, failed(why), 'a failure after the end is no news')
    assert.deepEqual(program.bugs, [])
  })
})

describe('a scope that moves', () => {
  it('goes with all that is in it, to the end of the new list', async () => {
    const { root } = bed()
    const from = root.child('flow', 'from')
    const to = root.child('flow', 'to')
    const seen: string[] = []
    const leg = from.child('leg', 'leg')
    leg.hold('socket', 'in leg', () => void seen.push('in leg'))
    to.hold('socket', 'in to', () => void seen.push('in to'))
    leg.moveTo(to)
    leg.moveTo(to)
    assert.deepEqual(rowsOf(root), [
      '0 program test open',
      '1 flow from open',
      '1 flow to open',
      '2 socket in to open',
      '2 leg leg open',
      '3 socket in leg open',
    ])
    await from.end(failed(later))
    assert.deepEqual(seen, [])
    await to.end(failed(why))
    assert.deepEqual(seen, ['in leg', 'in to'])
    assert.deepEqual(leg.ending, failed(why))
  })

  it('ends at once under an owner that is ending, and under one that is over', async () => {
    const { root } = bed()
    const owner = root.child('flow', 'owner')
    const slow = Promise.withResolvers<void>()
    owner.hold('socket', 'slow', () => slow.promise)
    void owner.end(failed(why))
    const leg = root.child('leg', 'leg')
    const legSlow = Promise.withResolvers<void>()
    leg.hold('socket', 'slow', () => legSlow.promise)
    leg.moveTo(owner)
    assert.deepEqual(leg.ending, failed(why))
    slow.resolve()
    await settle()
    assert.equal(owner.isOver, false, 'the owner waits for it')
    legSlow.resolve()
    await owner.ended
    const last = root.child('leg', 'last')
    const lastSlow = Promise.withResolvers<void>()
    last.hold('socket', 'slow', () => lastSlow.promise)
    last.moveTo(owner)
    assert.deepEqual(last.ending, failed(why))
    assert.deepEqual(rowsOf(root).slice(1), ['1 leg last ending', '2 socket slow ending'])
    lastSlow.resolve()
    await last.ended
    assert.equal(root.isEmpty, true)
  })

  it('leaves an owner that waits only for it, which is over then', async () => {
    const { root } = bed()
    const from = root.child('flow', 'from')
    const to = root.child('flow', 'to')
    const leg = from.child('leg', 'leg')
    const slow = Promise.withResolvers<void>()
    leg.hold('socket', 'slow', () => slow.promise)
    const over = from.end(clean)
    assert.equal(from.isOver, false)
    leg.moveTo(to)
    await over
    assert.deepEqual(rowsOf(to), ['0 flow to open', '1 leg leg ending', '2 socket slow ending'])
    const toOver = to.end(clean)
    assert.equal(to.isOver, false)
    slow.resolve()
    await toOver
    assert.equal(root.isEmpty, true)
  })

  it('stays nowhere once it is over', async () => {
    const { root } = bed()
    const leg = root.child('leg', 'leg')
    const to = root.child('flow', 'to')
    await leg.end(clean)
    leg.moveTo(to)
    assert.deepEqual(rowsOf(to), ['0 flow to open'])
  })

  it('may move to another owner from within its own release', async () => {
    for (const isSlow of [false, true]) {
      const { root, program } = bed()
      const from = root.child('flow', 'from')
      const to = root.child('flow', 'to')
      to.hold('socket', 'before', () => undefined)
      const leg = from.child('leg', 'leg')
      const slow = Promise.withResolvers<void>()
      leg.hold('socket', 'a', () => {
        leg.moveTo(to)
        return isSlow ? slow.promise : undefined
      })
      const over = from.end(failed(why))
      to.hold('socket', 'behind', () => undefined)
      assert.equal(from.isOver, true, 'it has left')
      assert.deepEqual(await over, failed(why))
      const inside = ['1 leg leg ending', '2 socket a ending']
      assert.deepEqual(rowsOf(to), [
        '0 flow to open',
        '1 socket before open',
        ...(isSlow ? inside : []),
        '1 socket behind open',
      ])
      slow.resolve()
      await leg.ended
      assert.deepEqual(rowsOf(to).length, 3)
      await root.end(clean)
      assert.deepEqual(program.bugs, [])
    }
  })

  it('may ask from within its own release to stay where it is', async () => {
    const { root, program } = bed()
    const flow = root.child('flow', 'flow')
    const leg = flow.child('leg', 'leg')
    const slow = Promise.withResolvers<void>()
    leg.hold('socket', 'a', () => {
      leg.moveTo(flow)
      return slow.promise
    })
    const over = flow.end(failed(why))
    assert.deepEqual(rowsOf(flow), ['0 flow flow ending', '1 leg leg ending', '2 socket a ending'])
    slow.resolve()
    await over
    assert.equal(root.isEmpty, true)
    assert.deepEqual(program.bugs, [])
  })

  it('cannot move into itself, nor into what is inside it', () => {
    const { root } = bed()
    const flow = root.child('flow', 'flow')
    const leg = flow.child('leg', 'leg')
    const stream = leg.child('stream', 'stream')
    for (const owner of [flow, leg, stream]) {
      assert.equal(
        codeOf(() => {
          flow.moveTo(owner)
        }),
        'core.bug',
      )
    }
    assert.deepEqual(rowsOf(root).length, 4, 'all of it is still in the ledger')
  })
})

describe('an ending', () => {
  it('is the error that later calls meet', () => {
    assert.equal(errorOf(failed(why)), why)
    assert.equal(errorOf(clean).code, 'scope.ended')
    assert.equal(errorOf(failed(coreError('busy'))).code, 'core.busy')
  })
})

// Random trees.

type Act =
  | { readonly kind: 'child' | 'end' | 'end-clean' | 'settle' | 'drop'; readonly at: number }
  | { readonly kind: 'timer' | 'task'; readonly at: number; readonly how: number }
  | { readonly kind: 'move'; readonly at: number; readonly to: number }
  | {
      readonly kind: 'hold'
      readonly at: number
      readonly how: 'sync' | 'slow' | 'throws' | 'rejects' | 'soon'
      /** Done from within the release. */
      readonly inside: readonly Act[]
    }
  | { readonly kind: 'wait'; readonly ms: number }

const any = fc.nat({ max: 1_000 })
const plainAct: fc.Arbitrary<Act> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('child' as const), at: any }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('end' as const, 'end-clean'), at: any }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('settle' as const, 'drop'), at: any }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('timer' as const, 'task'), at: any, how: any }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('move' as const), at: any, to: any }) },
)
/** Time passes only between turns, never inside a release. */
const wait: fc.Arbitrary<Act> = fc.record({ kind: fc.constant('wait' as const), ms: any })
const anyHold = (inside: fc.Arbitrary<Act[]>): fc.Arbitrary<Act> =>
  fc.record({
    kind: fc.constant('hold' as const),
    at: any,
    how: fc.constantFrom('sync' as const, 'sync', 'slow', 'soon', 'throws', 'rejects'),
    inside,
  })
const anyAct: fc.Arbitrary<Act> = fc.oneof(
  { weight: 1, arbitrary: wait },
  { weight: 6, arbitrary: plainAct },
  {
    weight: 6,
    arbitrary: anyHold(fc.array(fc.oneof(plainAct, anyHold(fc.constant([]))), { maxLength: 3 })),
  },
)

interface ScopeModel {
  readonly scope: Scope
  parent: ScopeModel | null
  /** What it holds, in the order of making or arrival. */
  readonly list: (ScopeModel | HeldModel)[]
  promise: Promise<Ending> | null
  isLate: boolean
}

interface HeldModel {
  readonly held: Held
  readonly owner: ScopeModel
  releases: number
  isPending: boolean
  isDropped: boolean
}

/** A tree of scopes, what it should be, and every rule that holds at any time. */
class Tree {
  readonly clock = new FakeClock()
  readonly program = new Program(this.clock)
  readonly root: ScopeModel
  readonly scopes: ScopeModel[] = []
  readonly helds: HeldModel[] = []
  readonly #pending: { settle: () => void; model: HeldModel }[] = []
  readonly #tasks: PromiseWithResolvers<void>[] = []
  faults = 0
  #actsLeft = 400

  constructor() {
    this.root = this.#model(Scope.root(this.program, 'root'), null)
  }

  #model(scope: Scope, parent: ScopeModel | null): ScopeModel {
    const model: ScopeModel = { scope, parent, list: [], promise: null, isLate: false }
    this.scopes.push(model)
    parent?.list.push(model)
    return model
  }

  #at<T>(list: readonly T[], at: number): T | undefined {
    return list[at % Math.max(1, list.length)]
  }

  do(act: Act): void {
    this.#actsLeft -= 1
    if (this.#actsLeft < 0) return
    if (act.kind === 'wait') {
      advance(this.clock, act.ms)
      return
    }
    if (act.kind === 'settle') {
      const [next] = this.#pending.splice(act.at % Math.max(1, this.#pending.length), 1)
      next?.settle()
      this.#at(this.#tasks, act.at)?.resolve()
      return
    }
    if (act.kind === 'drop') {
      const model = this.#at(this.helds, act.at)
      if (model === undefined) return
      if (model.releases === 0) model.isDropped = true
      model.held.drop()
      return
    }
    const model = this.#at(this.scopes, act.at) ?? this.root
    if (act.kind === 'child') this.#makeChild(model)
    else if (act.kind === 'hold') this.#hold(model, act.how, act.inside)
    else if (act.kind === 'timer') this.#timer(model, act.how)
    else if (act.kind === 'task') this.#task(model, act.how)
    else if (act.kind === 'move') this.#move(model, this.#at(this.scopes, act.to) ?? this.root)
    else this.#end(model, act.kind === 'end' ? failed(why) : clean)
  }

  #makeChild(model: ScopeModel): void {
    if (model.scope.isOpen) this.#model(model.scope.child('leg', ''), model)
    else
      assert.equal(
        codeOf(() => model.scope.child('leg', '')),
        'scope.ended',
      )
  }

  #hold(
    owner: ScopeModel,
    how: 'sync' | 'slow' | 'throws' | 'rejects' | 'soon',
    inside: readonly Act[],
  ): void {
    const wasEnding = !owner.scope.isOpen
    let model: HeldModel | null = null
    let early = 0
    const release = (ending: Ending): void | Promise<void> => {
      assert.deepEqual(ending, owner.scope.ending, 'with the first ending of its scope')
      if (model === null) {
        assert(wasEnding, 'released at once only under an owner that is ending')
        early += 1
      } else this.#onRelease(model)
      for (const act of inside) this.do(act)
      if (how === 'sync') return undefined
      if (how === 'throws') {
        this.faults += 1
        throw why
      }
      if (how === 'rejects') {
        this.faults += 1
        return Promise.reject(later)
      }
      if (how === 'soon') return Promise.resolve()
      const { promise, resolve } = Promise.withResolvers<void>()
      const late: HeldModel | null = model
      if (late !== null) {
        late.isPending = true
        this.#pending.push({
          model: late,
          settle: () => {
            late.isPending = false
            resolve()
          },
        })
      } else setImmediate(resolve)
      return promise
    }
    const held = owner.scope.hold('socket', '', release)
    model = { held, owner, releases: early, isPending: false, isDropped: false }
    this.helds.push(model)
    assert.equal(early, wasEnding ? 1 : 0, 'at once, and only then')
    if (!wasEnding) owner.list.push(model)
  }

  /** Last made first: all that was made or came later has begun to end before. */
  #onRelease(model: HeldModel): void {
    model.releases += 1
    assert.equal(model.releases, 1, 'released once')
    assert.equal(model.isDropped, false, 'what was dropped is not released')
    const { list } = model.owner
    for (let at = list.indexOf(model) + 1; at < list.length; at++) {
      const other = list[at]
      if (other === undefined) continue
      const hasBegun =
        'scope' in other ? !other.scope.isOpen : other.releases > 0 || other.isDropped
      assert(hasBegun, 'last made first')
    }
  }

  #timer(model: ScopeModel, how: number): void {
    const timer = model.scope.timer('', () => {
      assert.equal(model.scope.isOpen, true, 'no timer fires in an ending scope')
      if (how % 3 === 0) this.#end(model, failed(later))
      if (how % 3 === 1) timer.setAfter(how)
    })
    timer.setAfter(how)
    if (how % 5 === 0) timer.drop()
  }

  #task(model: ScopeModel, how: number): void {
    const work = Promise.withResolvers<void>()
    if (how % 4 === 0) work.resolve()
    else if (how % 4 === 1) work.reject(later)
    else this.#tasks.push(work)
    model.scope.task('', () => work.promise)
  }

  #isInside(model: ScopeModel, owner: ScopeModel): boolean {
    for (let at: ScopeModel | null = owner; at !== null; at = at.parent) {
      if (at === model) return true
    }
    return false
  }

  #move(model: ScopeModel, to: ScopeModel): void {
    if (this.#isInside(model, to)) return
    const wasOpen = model.scope.isOpen
    const stays = model.scope.isOver || model.parent === to
    if (!stays && !to.scope.isOver) {
      const list = model.parent?.list ?? []
      if (list.includes(model)) list.splice(list.indexOf(model), 1)
      model.parent = to
      to.list.push(model)
    }
    const { ending } = to.scope
    model.scope.moveTo(to.scope)
    if (stays || ending === null) return
    if (wasOpen) assert.deepEqual(model.scope.ending, ending, 'ended with its new owner')
    assert.equal(model.scope.isOpen, false)
  }

  #end(model: ScopeModel, ending: Ending): void {
    const first = model.scope.ending
    const promise = model.scope.end(ending)
    assert.equal(model.promise ?? promise, promise, 'the same promise from every end')
    model.promise = promise
    assert.equal(model.scope.ended, promise)
    if (first !== null) assert.equal(model.scope.ending, first, 'the first ending stays')
    assert.equal(model.scope.isOpen, false)
  }

  /** What holds between any two steps. */
  check(): void {
    for (const model of this.scopes) {
      if (!model.scope.isOver) continue
      for (const entry of model.list) {
        if ('scope' in entry) assert(entry.scope.isOver, 'over only when all in it is over')
        else assert(!entry.isPending, 'over only when all in it is released')
      }
    }
  }

  /** Settles everything and ends the root; then nothing may be left. */
  async finish(): Promise<void> {
    this.#actsLeft = 0
    const over = this.root.scope.end(failed(why))
    for (const model of this.scopes)
      assert.equal(model.scope.isOpen, false, 'all ended in one turn')
    await settle()
    this.check()
    for (const task of this.#tasks) task.resolve()
    for (const { settle: release } of this.#pending.splice(0)) release()
    await over
    await settle()
    for (const { cause } of this.program.bugs) {
      if (cause instanceof assert.AssertionError) throw cause
    }
    for (const { scope, promise } of this.scopes) {
      assert.equal(scope.isOver, true)
      const ended = await scope.ended
      assert.equal(ended, scope.ending)
      if (promise !== null) assert.equal(await promise, scope.ending)
      assert.deepEqual(rowsOf(scope).length, 1, 'nothing is left in the ledger')
    }
    for (const model of this.helds) {
      assert.equal(model.releases, model.isDropped ? 0 : 1, 'each is released once')
    }
    assert.equal(this.program.wheel.size, 0)
    assert.equal(this.clock.wakeMs, Number.POSITIVE_INFINITY)
    assert.equal(this.program.bugsTotal, this.faults, 'bugs only for releases that fail')
  }
}

describe('random trees of scopes', () => {
  it('release everything once, in order, with the first ending, and leave nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(anyAct, fc.boolean()), { maxLength: 50 }), async acts => {
        const tree = new Tree()
        for (const [act, isLast] of acts) {
          tree.do(act)
          if (isLast) await settle()
          tree.check()
        }
        await tree.finish()
      }),
      { numRuns: 2_000 },
    )
  })
})
