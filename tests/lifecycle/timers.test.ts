import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { RelayRecord } from '../../src/core/flow-record.ts'
import { Relay, type RelayPolicy } from '../../src/core/relay.ts'
import { clean } from '../../src/core/scope.ts'
import {
  type PeerStep,
  type PeerView,
  Random,
  ScriptedLink,
  type ScriptedOptions,
  Simulation,
} from '../../src/testing/index.ts'

/** Leaves nothing to chance: whole chunks, no delays of the links' own, so that times are exact. */
class NoChance extends Random {
  override chance(): boolean {
    return true
  }
  override whole(min: number, max: number): number {
    return min === 0 ? 0 : max
  }
}
class ExactSimulation extends Simulation {
  override readonly random: Random = new NoChance(0)
}

const policy: RelayPolicy = {
  connIdleMs: 2_000,
  halfCloseIdleMs: 1_500,
  writeStallMs: 5_000,
  resetGraceMs: 300,
}

const calmSide: ScriptedOptions = {
  steps: [],
  roomBytes: 1_000_000,
  takeBytes: 1_000_000,
  takeEveryMs: 1,
  ends: 'half',
  resets: 'plain',
  closeMs: 0,
  tellsGone: true,
  tellsResetOnce: false,
}

interface Played {
  readonly record: RelayRecord
  /** From the start to the record. */
  readonly endedMs: number
  readonly near: PeerView
  readonly far: PeerView
  /** When each side learned how it ended, from the start. */
  readonly nearEndMs: number
  readonly farEndMs: number
}

/** What each peer does at which time from the start. */
type Plan = readonly (readonly [atMs: number, what: number | 'end' | 'reset'])[]

function stepsOf(plan: Plan): PeerStep[] {
  let lastMs = 0
  return plan.map(([atMs, what]) => {
    const afterMs = atMs - lastMs
    lastMs = atMs
    return typeof what === 'number'
      ? { kind: 'send', afterMs, size: what }
      : { kind: what, afterMs }
  })
}

type SidePlan = { readonly does: Plan } & Partial<Omit<ScriptedOptions, 'steps'>>

async function play(
  nearPlan: SidePlan,
  farPlan: SidePlan,
  changes: Partial<RelayPolicy> = {},
): Promise<Played> {
  const sim = new ExactSimulation(0)
  const startMs = sim.clock.now()
  const flow = sim.root.child('flow', 'relay')
  const sideOf = (
    name: 'near' | 'far',
    { does, ...options }: SidePlan,
    salts: { readonly out: number; readonly in: number },
  ): ScriptedLink =>
    new ScriptedLink(sim, sim.root, name, salts, { ...calmSide, ...options, steps: stepsOf(does) })
  const near = sideOf('near', nearPlan, { out: 11, in: 77 })
  const far = sideOf('far', farPlan, { out: 77, in: 11 })
  const relay = new Relay(flow, { ...policy, ...changes }, near.link, far.link)
  let endedMs = -1
  const recorded = relay.record.then(record => {
    endedMs = sim.clock.now() - startMs
    void flow.end(clean)
    return record
  })
  await sim.run()
  assert(endedMs >= 0, 'the relay never ended')
  const record = await recorded
  assert.deepEqual(sim.program.bugs, [])
  assert.equal(sim.root.isEmpty, true)
  assert.equal(sim.program.wheel.size, 0)
  for (const { peer } of [near, far]) assert.equal(peer.firstWrongAt, -1)
  return {
    record,
    endedMs,
    near: near.peer,
    far: far.peer,
    nearEndMs: near.peer.endedAtMs - startMs,
    farEndMs: far.peer.endedAtMs - startMs,
  }
}

/** How both ends are told when a timer has ended an open relay. */
function assertBothReset(played: Played): void {
  assert.equal(played.near.end, 'reset')
  assert.equal(played.far.end, 'reset')
}

describe('the idle timer', () => {
  it('ends a relay in which no byte ever came after exactly its time', async () => {
    const played = await play({ does: [] }, { does: [] })
    assert.equal(played.endedMs, 2_000)
    const { reason, side, call, code, upState, downState } = played.record
    assert.deepEqual(
      { reason, side, call, code, upState, downState },
      {
        reason: 'idle',
        side: 'local',
        call: null,
        code: 'relay.idle',
        upState: 'failed',
        downState: 'failed',
      },
    )
    assertBothReset(played)
  })

  it('counts from the last byte in either direction', async () => {
    const up = await play(
      {
        does: [
          [500, 10],
          [1_900, 10],
        ],
      },
      { does: [[700, 10]] },
    )
    assert.equal(up.endedMs, 3_900)
    const down = await play({ does: [[500, 10]] }, { does: [[1_990, 10]] })
    assert.equal(down.endedMs, 3_990)
    assert.equal(down.record.reason, 'idle')
    assert.deepEqual(down.record.down, { read: 10, written: 10 })
  })

  it('R29 never ends a relay in which one side speaks and the other is silent', async () => {
    const drips: Plan = Array.from({ length: 30 }, (_, at) => [at * 1_990, 1])
    const byFar = await play({ does: [] }, { does: drips })
    assert.equal(byFar.endedMs, 29 * 1_990 + 2_000)
    assert.equal(byFar.near.received, 30)
    const byNear = await play({ does: drips }, { does: [] })
    assert.equal(byNear.endedMs, 29 * 1_990 + 2_000)
    assert.equal(byNear.far.received, 30)
  })

  it('counts a byte when it is taken, not only when it is read', async () => {
    // The byte is read at 0; half of the chunk is taken at 1_000, the rest at 2_000.
    const slow = { roomBytes: 500, takeBytes: 500, takeEveryMs: 1_000 }
    const played = await play({ does: [[0, 1_500]] }, { does: [], ...slow })
    assert.equal(played.far.received, 1_500)
    assert.equal(played.endedMs, 4_000)
  })

  it('is at most one tick late when its time is no whole number of ticks', async () => {
    for (const connIdleMs of [1, 9, 10, 11, 1_995, 1_999.5, 2_001]) {
      const { endedMs } = await play({ does: [] }, { does: [] }, { connIdleMs })
      assert(endedMs >= connIdleMs && endedMs <= connIdleMs + 10, `${String(endedMs)} ms`)
    }
  })

  it('may be switched off with an infinite time', async () => {
    const never = Number.POSITIVE_INFINITY
    const played = await play(
      {
        does: [
          [100_000_000, 3],
          [100_000_001, 'end'],
        ],
      },
      { does: [[100_000_002, 'end']] },
      { connIdleMs: never, halfCloseIdleMs: never, writeStallMs: never },
    )
    assert.equal(played.record.reason, 'clean')
    assert.deepEqual(played.record.up, { read: 3, written: 3 })
  })
})

describe('the half-close timer', () => {
  it('R06 ends a relay whose other side is silent, exactly, from the end that came last', async () => {
    const played = await play(
      {
        does: [
          [100, 3],
          [400, 'end'],
        ],
      },
      { does: [[200, 5]] },
    )
    assert.equal(played.endedMs, 400 + 1_500)
    const { reason, side, code } = played.record
    assert.deepEqual([reason, side, code], ['half-close-idle', 'local', 'relay.half-close-idle'])
    assert.equal(played.far.end, 'end', 'it was told the end, at once')
    assert.equal(played.farEndMs, 400)
    assert.equal(played.near.end, 'reset', 'it was never told one')
    assert.deepEqual([played.record.upState, played.record.downState], ['ended', 'failed'])
  })

  it('counts from the last byte when that comes after the end', async () => {
    const played = await play(
      { does: [[400, 'end']] },
      {
        does: [
          [900, 5],
          [1_890, 5],
        ],
      },
    )
    assert.equal(played.endedMs, 1_890 + 1_500)
    assert.equal(played.near.received, 10)
    const other = await play({ does: [[1_890, 10]] }, { does: [[400, 'end']] })
    assert.equal(other.endedMs, 1_890 + 1_500)
  })

  it('R05 never ends a direction that still drips, however long after the end', async () => {
    const drips: Plan = Array.from({ length: 25 }, (_, at) => [(at + 1) * 1_490, 1])
    const played = await play({ does: [[0, 'end']] }, { does: [...drips, [40_000 - 1_400, 'end']] })
    assert.equal(played.record.reason, 'clean')
    assert.equal(played.near.received, 25)
    assert.equal(played.near.end, 'end')
    assert.equal(played.endedMs, 38_600)
  })

  it('R48 says nothing before one side has ended, however short it is', async () => {
    const played = await play(
      {
        does: [
          [0, 1],
          [1_900, 1],
          [3_800, 'end'],
        ],
      },
      { does: [[3_850, 'end']] },
      { halfCloseIdleMs: 100 },
    )
    assert.equal(played.record.reason, 'clean')
    assert.equal(played.endedMs, 3_850)
  })

  it('rules alone once a side has ended, also when the idle timer is shorter', async () => {
    const played = await play({ does: [[500, 'end']] }, { does: [] }, { halfCloseIdleMs: 3_000 })
    assert.equal(played.endedMs, 3_500)
    assert.equal(played.record.reason, 'half-close-idle')
  })

  it('does not wait for a side that is gone: R07 a chatty one learns it with its next byte', async () => {
    const chat: Plan = Array.from({ length: 30 }, (_, at) => [at * 100, 1])
    const leaves: Plan = [
      [0, 'end'],
      [1_050, 'reset'],
    ]
    const byWrite = await play({ does: leaves, tellsGone: false }, { does: chat })
    assert.equal(byWrite.far.end, 'end', 'it had the end before')
    assert.equal(byWrite.record.reason, 'reset')
    assert.deepEqual([byWrite.record.side, byWrite.record.call], ['near', 'write'])
    assert.equal(byWrite.endedMs, 1_100)
    const byNotice = await play({ does: leaves, tellsGone: true }, { does: chat })
    assert.equal(byNotice.endedMs, 1_050)
    assert.deepEqual([byNotice.record.reason, byNotice.record.side], ['reset', 'near'])
  })
})

describe('the timers of one direction that is left', () => {
  it('is downlinkOnly after the end of the near side, uplinkOnly after that of the far side', async () => {
    const times = { uplinkOnlyMs: 700, downlinkOnlyMs: 900 }
    const nearEnds = await play({ does: [[100, 'end']] }, { does: [[150, 1]] }, times)
    assert.equal(nearEnds.endedMs, 150 + 900)
    assert.equal(nearEnds.record.reason, 'half-close-idle')
    const farEnds = await play({ does: [[150, 1]] }, { does: [[100, 'end']] }, times)
    assert.equal(farEnds.endedMs, 150 + 700)
  })

  it('is the half-close timer where only the other one is set', async () => {
    const up = await play({ does: [] }, { does: [[100, 'end']] }, { downlinkOnlyMs: 200 })
    assert.equal(up.endedMs, 1_600)
    const down = await play({ does: [[100, 'end']] }, { does: [] }, { uplinkOnlyMs: 200 })
    assert.equal(down.endedMs, 1_600)
  })

  it('closes in the next tick when it is 0, after the end was passed on', async () => {
    const played = await play(
      {
        does: [
          [105, 3],
          [105, 'end'],
        ],
      },
      { does: [] },
      { downlinkOnlyMs: 0 },
    )
    assert.equal(played.far.received, 3)
    assert.equal(played.far.end, 'end')
    assert.equal(played.farEndMs, 105)
    assert.equal(played.endedMs, 110)
  })

  it('never ends a direction that drips faster', async () => {
    const drips: Plan = Array.from({ length: 40 }, (_, at) => [100 + at * 190, 1])
    const far = { does: [...drips, [8_000, 'end']] as Plan }
    const played = await play({ does: [[50, 'end']] }, far, { downlinkOnlyMs: 300 })
    assert.equal(played.near.received, 40)
    assert.equal(played.endedMs, 100 + 39 * 190 + 300)
  })
})

/** A peer that takes so many bytes at once and then nothing. */
const stuckAfter = (roomBytes: number): Partial<ScriptedOptions> => ({
  roomBytes,
  takeBytes: 0,
  takeEveryMs: 0,
})

describe('the write-stall timer', () => {
  it('R17 is exact when nothing is taken, whatever the other timers are', async () => {
    for (const connIdleMs of [900, 1_000, 20_000]) {
      for (const startsMs of [0, 10, 500, 790, 810]) {
        const played = await play(
          { does: [[startsMs, 1_000]] },
          { does: [], ...stuckAfter(0) },
          { writeStallMs: 800, connIdleMs },
        )
        const { reason, side, code, call } = played.record
        assert.deepEqual(
          { reason, side, code, call, endedMs: played.endedMs },
          {
            reason: 'write-stall',
            side: 'far',
            code: 'relay.write-stall',
            call: null,
            endedMs: startsMs + 800,
          },
        )
        assert.equal(played.far.received, 0)
        assert.deepEqual(played.record.up, { read: 1_000, written: 0 })
        assertBothReset(played)
      }
    }
  })

  it('runs for the second write that stalls as for the first', async () => {
    const played = await play(
      {
        does: [
          [100, 50],
          [700, 50],
          [1_350, 50],
        ],
      },
      { does: [], ...stuckAfter(100) },
      { writeStallMs: 800, connIdleMs: 20_000 },
    )
    assert.equal(played.endedMs, 1_350 + 800)
    assert.deepEqual(played.record.up, { read: 150, written: 100 })
  })

  it('is not put off by the other direction, which goes on', async () => {
    const chat: Plan = Array.from({ length: 100 }, (_, at) => [at * 50, 1])
    const played = await play(
      { does: [[100, 1_000]] },
      { does: chat, ...stuckAfter(0) },
      { writeStallMs: 800 },
    )
    assert.equal(played.endedMs, 900)
    assert.equal(played.record.reason, 'write-stall')
  })

  it('never comes while bytes trickle, however slowly the whole goes', async () => {
    const slow = { roomBytes: 10, takeBytes: 1, takeEveryMs: 790 }
    const played = await play(
      {
        does: [
          [0, 60],
          [100, 'end'],
        ],
      },
      { does: [], ...slow },
      { writeStallMs: 800, connIdleMs: 1_000, halfCloseIdleMs: 1_000 },
    )
    assert.equal(played.far.received, 60)
    assert.equal(played.far.end, 'end')
    assert.equal(played.record.reason, 'half-close-idle', 'the silence of the far side ends it')
    assert(played.endedMs > 49 * 790)
  })

  it('comes between one and two times its time after a trickle has dried up', async () => {
    for (const startsMs of [0, 250, 799]) {
      // The first ten bytes are taken a moment after the write has begun.
      const played = await play(
        { does: [[startsMs, 60]] },
        { does: [], ...stuckAfter(10) },
        { writeStallMs: 800, connIdleMs: 20_000 },
      )
      assert.equal(played.record.reason, 'write-stall')
      assert.equal(played.far.received, 10)
      const stalledMs = played.endedMs - startsMs
      assert(stalledMs >= 800 && stalledMs <= 1_600, `${String(stalledMs)} ms`)
    }
  })
})

describe('a reset that waits for what is owed', () => {
  const slowReader = { roomBytes: 100, takeBytes: 100, takeEveryMs: 50 }

  it('R12 comes after the queued bytes, and not before', async () => {
    for (const tellsGone of [true, false]) {
      const far: Plan = [
        [0, 1_000],
        [200, 'reset'],
      ]
      const played = await play({ does: [], ...slowReader }, { does: far, tellsGone })
      assert.equal(played.near.received, 1_000, 'every byte')
      assert.equal(played.near.end, 'reset', 'and never an end')
      assert.equal(played.nearEndMs, 450, 'the very moment at which the last one was taken')
      assert.deepEqual([played.record.reason, played.record.side], ['reset', 'far'])
      assert.deepEqual(played.record.down, { read: 1_000, written: 1_000 })
    }
  })

  it('R09 comes at once when nothing is owed', async () => {
    const played = await play(
      { does: [] },
      {
        does: [
          [0, 1_000],
          [200, 'reset'],
        ],
      },
    )
    assert.equal(played.nearEndMs, 200)
    assert.equal(played.near.received, 1_000)
    assert.equal(played.near.end, 'reset')
    assert.equal(played.record.call, 'read')
  })

  it('comes within its grace when the reader takes nothing', async () => {
    // Noticed while a write is pending: what is owed gets its time once as the last bytes of the
    // failed side, and once as the queue of the living one.
    const far: Plan = [
      [0, 1_000],
      [200, 'reset'],
    ]
    const noticed = await play({ does: [], ...stuckAfter(0) }, { does: far, tellsGone: true })
    assert.equal(noticed.near.received, 0)
    assert.equal(noticed.near.end, 'reset')
    assert.equal(noticed.nearEndMs, 200 + 2 * 300)
    assert.equal(noticed.record.reason, 'reset')
    assert.deepEqual(noticed.record.down, { read: 1_000, written: 0 })
  })

  it('waits as long as a slow reader takes something in each grace', async () => {
    const far: Plan = [
      [0, 500],
      [10, 500],
      [200, 'reset'],
    ]
    const crawls = { roomBytes: 100, takeBytes: 20, takeEveryMs: 290 }
    const played = await play({ does: [], ...crawls }, { does: far })
    assert.equal(played.near.received, 1_000)
    assert.equal(played.near.end, 'reset')
    assert(played.nearEndMs > 40 * 290)
  })

  it('R27 gives the last bytes of a side that takes nothing more, also when it fails twice', async () => {
    for (const tellsResetOnce of [true, false]) {
      for (const tellsGone of [true, false]) {
        // Far resets at 100, unread bytes of it are here; near meets it by writing at 120.
        const far: Plan = [
          [0, 500],
          [10, 500],
          [100, 'reset'],
        ]
        const played = await play(
          { does: [[120, 10]], ...slowReader },
          { does: far, tellsResetOnce, tellsGone },
        )
        assert.equal(played.near.received, 1_000)
        assert.equal(played.near.end, 'reset', 'an end after a failure is not believed')
        assert.equal(played.nearEndMs, 450)
        assert.deepEqual([played.record.reason, played.record.side], ['reset', 'far'])
      }
    }
  })
})

describe('an end that cannot be told alone', () => {
  it('R41 waits toward a link whose end ends both, until the other direction is over', async () => {
    for (const ends of ['both', 'nothing'] as const) {
      const far: Plan = [
        [500, 600],
        [1_300, 600],
        [2_700, 'end'],
      ]
      const played = await play(
        {
          does: [
            [100, 5],
            [200, 'end'],
          ],
        },
        { does: far, ends },
      )
      assert.equal(played.record.reason, 'clean')
      assert.equal(played.near.received, 1_200, 'the late reply came')
      assert.equal(played.near.end, 'end')
      assert.equal(played.far.end, 'end')
      assert.equal(played.farEndMs, 2_700, 'not before the reply was over')
      assert.equal(played.endedMs, 2_700)
    }
  })

  it('is told when the half-close timer runs out, and the side that was silent is no longer awaited', async () => {
    const played = await play({ does: [[200, 'end']] }, { does: [[900, 5]], ends: 'both' })
    assert.equal(played.record.reason, 'half-close-idle')
    assert.equal(played.endedMs, 900 + 1_500)
    assert.equal(played.far.end, 'end', 'the end was true')
    assert.equal(played.farEndMs, 2_400)
    assert.equal(played.near.end, 'reset', 'nobody told it an end')
    assert.equal(played.near.received, 5)
  })

  it('waits on both sides at once without waiting for each other', async () => {
    for (const [nearEnds, farEnds] of [
      ['both', 'both'],
      ['both', 'nothing'],
      ['nothing', 'both'],
      ['nothing', 'nothing'],
    ] as const) {
      for (const [nearMs, farMs] of [
        [200, 300],
        [300, 200],
        [250, 250],
      ] as const) {
        const played = await play(
          {
            does: [
              [100, 5],
              [nearMs, 'end'],
            ],
            ends: nearEnds,
          },
          {
            does: [
              [100, 7],
              [farMs, 'end'],
            ],
            ends: farEnds,
          },
        )
        assert.equal(played.record.reason, 'clean')
        assert.deepEqual([played.far.received, played.near.received], [5, 7])
        assert.deepEqual([played.near.end, played.far.end], ['end', 'end'])
        assert.equal(played.endedMs, Math.max(nearMs, farMs))
      }
    }
  })

  it('never becomes an end when the other side fails meanwhile', async () => {
    const far: Plan = [
      [500, 5],
      [700, 'reset'],
    ]
    const played = await play({ does: [[200, 'end']] }, { does: far, ends: 'both' })
    assert.equal(played.record.reason, 'reset')
    assert.equal(played.near.end, 'reset')
    assert.equal(played.near.received, 5)
    assert.equal(played.endedMs, 700)
    const nearDies: Plan = [
      [200, 'end'],
      [700, 'reset'],
    ]
    const other = await play({ does: nearDies }, { does: [[800, 5]], ends: 'both' })
    assert.equal(other.far.end, 'reset', 'who must know that its reply arrived nowhere')
    assert.equal(other.record.side, 'near')
  })
})
