import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkInvariants, type Outcome, play, type Schedule } from './schedule.ts'

/** A part of what relay.test.ts plays, in a second: for the mutations, and with one rule more. */
const schedules = Number(process.env['SLUICE_SCHEDULES'] ?? 1_500)

describe('the relay in some hundred schedules', () => {
  it('keeps its invariants, and delivers what a side had sent before it failed', async t => {
    let played = 0
    let rescued = 0
    for (let seed = 50_001; played < schedules; seed++) {
      const first = await play(seed, 0)
      check(seed, 0, () => {
        checkInvariants(first, first.schedule.isGentle)
        rescued += checkLastWords(first)
      })
      played += 1
      const toFail = seed % 10 === 0 ? first.sim.calls : 0
      for (let call = 1; call <= toFail && played < schedules; call++) {
        const next = await play(seed, call)
        check(seed, call, () => {
          checkInvariants(next, false)
        })
        played += 1
      }
    }
    t.diagnostic(`${String(played)} schedules, ${String(rescued)} with last words`)
    assert(rescued > schedules / 100)
  })
})

/**
 * Contract 11: a reset does not cut what was received before it, as long as the living side goes on
 * taking bytes. Gives how many sides this could be asked of.
 */
function checkLastWords(outcome: Outcome & { readonly schedule: Schedule }): number {
  const { record, schedule } = outcome
  if (record.reason !== 'reset') return 0
  let count = 0
  for (const [dead, living, name] of [
    ['near', 'far', 'up'],
    ['far', 'near', 'down'],
  ] as const) {
    const { peer } = outcome[living]
    const hasRoom = schedule[living].takeBytes > 0
    if (record.side !== dead || !hasRoom || peer.hasReset) continue
    assert.equal(peer.received, outcome[dead].peer.sent, `every byte that ${dead} sent`)
    assert.equal(record[name].written, outcome[dead].peer.sent)
    if (peer.received > 0) count += 1
  }
  return count
}

function check(seed: number, call: number, run: () => void): void {
  try {
    run()
  } catch (thrown) {
    throw new Error(`seed ${String(seed)}, failed call ${String(call)}`, { cause: thrown })
  }
}
