import assert from 'node:assert/strict'
import type { RelayRecord } from '../../src/core/flow-record.ts'
import { Relay, type RelayPolicy, type StepListener } from '../../src/core/relay.ts'
import { clean } from '../../src/core/scope.ts'
import {
  type PeerStep,
  type Random,
  ScriptedLink,
  type ScriptedOptions,
  Simulation,
} from '../../src/testing/index.ts'

/** Short times, so that every timer has its turn within a schedule. */
const policy: RelayPolicy = {
  connIdleMs: 2_000,
  halfCloseIdleMs: 1_500,
  writeStallMs: 1_800,
  resetGraceMs: 300,
}

export interface Schedule {
  readonly near: ScriptedOptions
  readonly far: ScriptedOptions
  /** Nothing in it can go wrong by itself: it must end clean. */
  readonly isGentle: boolean
}

export interface Outcome {
  readonly sim: Simulation
  readonly near: ScriptedLink
  readonly far: ScriptedLink
  readonly record: RelayRecord
  readonly records: number
}

/** A schedule drawn from a seed. A third of them is gentle; the others reset, stall and fall silent. */
function drawSchedule(random: Random): Schedule {
  const isGentle = random.chance(0.34)
  return { near: drawSide(random, isGentle), far: drawSide(random, isGentle), isGentle }
}

function drawSide(random: Random, isGentle: boolean): ScriptedOptions {
  const steps: PeerStep[] = []
  const count = random.whole(0, 4)
  for (let at = 0; at < count; at++) {
    steps.push({ kind: 'send', afterMs: random.whole(0, 200), size: random.whole(1, 3_000) })
  }
  const last = isGentle ? 0.1 : random.next()
  const afterMs = random.whole(0, isGentle ? 300 : 1_900)
  if (last < 0.5) steps.push({ kind: 'end', afterMs })
  else if (last < 0.8) steps.push({ kind: 'reset', afterMs })
  if (!isGentle && random.chance(0.2)) {
    steps.push({ kind: 'reset', afterMs: random.whole(0, 400) })
  }
  const isSlow = random.chance(0.4)
  const neverTakes = !isGentle && random.chance(0.12)
  return {
    steps,
    roomBytes: isSlow ? random.whole(100, 900) : 1_000_000,
    takeBytes: neverTakes ? 0 : random.whole(300, 1_000),
    takeEveryMs: random.whole(1, isGentle ? 20 : 60),
    ends: isGentle ? 'half' : random.pick(['half', 'half', 'half', 'both', 'nothing']),
    resets: 'plain',
    closeMs: random.pick([0, 0, 1, 20]),
    tellsGone: random.chance(0.7),
    tellsResetOnce: random.chance(0.5),
  }
}

/** Plays a schedule of this seed; `failCall` is the number of the call that fails, 0 for none. */
export async function play(
  seed: number,
  failCall: number,
  onStep: StepListener | null = null,
): Promise<Outcome & { readonly schedule: Schedule }> {
  const sim = new Simulation(seed, failCall)
  const schedule = drawSchedule(sim.random)
  return { ...(await playSchedule(sim, schedule, onStep)), schedule }
}

async function playSchedule(
  sim: Simulation,
  schedule: Schedule,
  onStep: StepListener | null = null,
  times: RelayPolicy = policy,
): Promise<Outcome> {
  const flow = sim.root.child('flow', 'relay')
  const near = new ScriptedLink(sim, sim.root, 'near', { out: 11, in: 77 }, schedule.near)
  const far = new ScriptedLink(sim, sim.root, 'far', { out: 77, in: 11 }, schedule.far)
  const relay = new Relay(flow, times, near.link, far.link, onStep)
  let records = 0
  let record: RelayRecord | null = null
  relay.record.then(
    made => {
      records += 1
      record = made
      void flow.end(clean)
    },
    () => {
      records += 100
    },
  )
  await sim.run()
  assert(record !== null, 'the relay never ended')
  return { sim, near, far, record, records }
}

/** The invariants that hold for every schedule, whatever fails in it. */
export function checkInvariants(outcome: Outcome, isGentle: boolean): void {
  const { sim, near, far, record } = outcome
  // I1, I6: one record, nothing left, no broken invariant.
  assert.equal(outcome.records, 1, 'one record')
  assert.deepEqual(
    [...sim.root.rows()].slice(1).map(row => `${row.kind} ${row.name}`),
    [],
    'the ledger is empty',
  )
  assert.equal(sim.program.wheel.size, 0, 'no timer is left')
  assert.deepEqual(sim.program.bugs, [], 'no broken invariant')
  for (const [from, to, counted] of [
    [near.peer, far.peer, record.up],
    [far.peer, near.peer, record.down],
  ] as const) {
    // I2: a prefix, in order, each once.
    assert.equal(to.firstWrongAt, -1, 'bytes arrive in order, unchanged')
    assert(to.received <= from.sent, 'nothing is invented')
    assert(counted.written <= counted.read, 'written is at most read')
    assert(counted.written <= to.received, 'what counts as written has been taken')
    assert(counted.read <= from.sent, 'read is at most sent')
    // I3: an end means every byte of a true end.
    if (to.end === 'end') {
      assert(from.hasSentEnd, 'an end is seen only after a true end')
      assert.equal(to.received, from.sent, 'an end is seen only after the last byte')
    }
    assert.notEqual(to.end, 'none', 'each side learns how it ended')
  }
  if (record.reason === 'clean') {
    // I9
    assert.equal(record.up.read, record.up.written)
    assert.equal(record.down.read, record.down.written)
    assert.equal(record.why, null)
  } else assert.notEqual(record.why, null, 'a failure is named')
  // I4, I7: nothing that could end well is cut.
  if (isGentle) assert.equal(record.reason, 'clean', record.why?.message ?? '')
}
