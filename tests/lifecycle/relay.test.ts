import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { afterEvent, wayEvents, wayStates, wayTable } from '../../src/core/relay-states.ts'
import { checkInvariants, play } from './schedule.ts'

const schedules = Number(process.env['SLUICE_SCHEDULES'] ?? 10_000)

describe('the relay in simulated time', () => {
  it('keeps its invariants in thousands of schedules, with each call failing in turn', async t => {
    const seen = new Set<string>()
    let played = 0
    let calls = 0
    let seeds = 0
    let failedCalls = 0
    const onStep = (_way: string, from: string, event: string): void => {
      seen.add(`${from} + ${event}`)
    }
    for (let seed = 1; played < schedules; seed++) {
      seeds += 1
      const first = await play(seed, 0, onStep)
      checkOf(seed, 0, () => {
        checkInvariants(first, first.schedule.isGentle)
      })
      played += 1
      calls += first.sim.calls
      // One seed in twelve has each of its calls failed in turn; the others add other schedules.
      const toFail = seed % 12 === 0 ? first.sim.calls : 0
      for (let call = 1; call <= toFail && played < schedules; call++) {
        const next = await play(seed, call, onStep)
        checkOf(seed, call, () => {
          checkInvariants(next, false)
        })
        played += 1
        failedCalls += 1
      }
    }
    const legal = wayStates.flatMap(state =>
      Object.keys(wayTable[state]).map(event => `${state} + ${event}`),
    )
    t.diagnostic(
      `${String(played)} schedules of ${String(seeds)} seeds, ${String(calls)} calls in the unfailed runs, ` +
        `${String(failedCalls)} runs with one call failed, ` +
        `${String(seen.size)} of ${String(legal.length)} legal (state x event) pairs seen`,
    )
    assert.deepEqual(
      legal.filter(pair => !seen.has(pair)),
      [],
      'every legal pair of the table is reached',
    )
    assert.deepEqual(
      [...seen].filter(pair => !legal.includes(pair)),
      [],
      'no illegal pair is reached',
    )
  })

  it('has no way out of a state that is over, and calls every pair outside the table illegal', () => {
    for (const event of wayEvents) {
      assert.equal(afterEvent('ended', event), null)
      assert.equal(afterEvent('failed', event), null)
      for (const state of wayStates) {
        assert.equal(afterEvent(state, event) === null, !(event in wayTable[state]))
      }
    }
  })
})

function checkOf(seed: number, call: number, check: () => void): void {
  try {
    check()
  } catch (thrown) {
    throw new Error(`seed ${String(seed)}, failed call ${String(call)}`, { cause: thrown })
  }
}
