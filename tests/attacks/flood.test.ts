import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Bench, said } from '../support/proxy-bench.ts'
import type { Client } from '../support/proxy-client.ts'
import type { Standing } from '../support/proxy-small.ts'
import { becomes, within } from '../support/proxy-wait.ts'

const floodSeconds = 5
const mixed = { tag: 'in', protocol: 'mixed' }

describe('a flood of connections without authentication', () => {
  it('leaves room for a client beside it all the time, and nothing behind', async t => {
    await using bench = new Bench()
    const echo = await bench.echo()
    const proxy = await bench.proxy({ inbounds: [mixed], policy: { handshakeMs: 500 } })
    const settled = await bench.client(proxy.port())
    await converse(settled, echo.port)
    const child = bench.script(import.meta.resolve('../support/proxy-flood.ts'), [
      String(proxy.port()),
      String(floodSeconds),
    ])
    const over = within(
      said<{ made: number; failed: number }>(child, 'how it went'),
      'the flood to end',
      undefined,
      60_000,
    )
    let isOver = false
    const flood = over.finally(() => {
      isOver = true
    })
    let served = 0
    let slowestMs = 0
    while (!isOver) {
      const startedMs = performance.now()
      const client = await bench.client(proxy.port())
      await converse(client, echo.port)
      client.end()
      assert.equal(await client.over, 'end')
      slowestMs = Math.max(slowestMs, performance.now() - startedMs)
      served += 1
      await say(settled, `still here ${String(served)}`)
    }
    const { made } = await flood
    settled.end()
    assert.ok(await becomes(() => proxy.engine.flows === 0))
    await proxy.rests()
    const { records, faults } = proxy
    t.diagnostic(
      `${String(Math.round(made / floodSeconds))} connections a second, ` +
        `${String(served)} honest ones beside them, the slowest took ${slowestMs.toFixed(0)} ms`,
    )
    assert.ok(made > 1_000, `${String(made)} connections are no flood`)
    assert.ok(served >= 10, `${String(served)} conversations`)
    assert.equal(records.filter(({ reason }) => reason === 'clean').length, served + 1)
    assert.ok(records.length <= made + served + 1)
    const reasons = new Set(records.map(({ reason }) => reason))
    for (const reason of reasons) {
      assert.ok(['clean', 'error', 'reset', 'handshake-timeout'].includes(reason), reason)
    }
    assert.deepEqual(faults, [])
  })
})

describe('an engine without descriptors left', () => {
  it('serves who is there, turns others away, and takes new ones again afterwards', async t => {
    await using bench = new Bench()
    const echo = await bench.echo()
    const child = bench.script(
      import.meta.resolve('../support/proxy-small.ts'),
      [JSON.stringify({ inbounds: [mixed], policy: { handshakeMs: 60_000 } })],
      120,
    )
    const { port } = await said<{ port: number }>(child, 'its port')
    const ask = async (): Promise<Standing> => {
      const answer = said<Standing>(child, 'how it stands')
      child.send('?')
      return answer
    }
    const before = await ask()
    const settled = await bench.client(port)
    await converse(settled, echo.port)

    const crowd: Client[] = []
    for (let at = 0; at < 300; at++) crowd.push(await bench.client(port))
    // Whoever is turned away hears an end; the rest sits there and says nothing.
    let turnedAway = 0
    for (const client of crowd) {
      void client.over.then(() => {
        turnedAway += 1
      })
    }
    assert.ok(await becomes(() => turnedAway >= 150), String(turnedAway))
    t.diagnostic(`${String(turnedAway)} of ${String(crowd.length)} turned away`)
    const full = await ask()
    assert.ok(full.flows > 20 && full.flows <= 120, String(full.flows))
    await say(settled, 'still here')

    for (const client of crowd) client.reset()
    assert.ok(await becomesAsync(async () => (await ask()).flows === 1))
    await say(settled, 'and after')
    const late = await Promise.all(Array.from({ length: 20 }, () => bench.client(port)))
    for (const client of late) {
      await converse(client, echo.port)
      client.end()
      assert.equal(await client.over, 'end')
    }
    settled.end()
    assert.equal(await settled.over, 'end')
    assert.ok(await becomesAsync(async () => (await ask()).flows === 0))
    const after = await ask()
    assert.deepEqual(after.bugs, [])
    assert.equal(after.descriptors, before.descriptors)
    t.diagnostic(`records ${JSON.stringify(after.ended)}`)
  })

  it('refuses a request that it cannot dial for, and serves it when it can', async t => {
    await using bench = new Bench()
    const echo = await bench.echo()
    const child = bench.script(
      import.meta.resolve('../support/proxy-small.ts'),
      [JSON.stringify({ inbounds: [mixed] })],
      100,
    )
    const { port } = await said<{ port: number }>(child, 'its port')
    // Each conversation takes two descriptors, one for each side, so the last one lacks one.
    const talking: Client[] = []
    let refusal = ''
    while (refusal === '' && talking.length < 200) {
      const client = await bench.client(port)
      client.send(connectTo(echo.port))
      const answer = await Promise.race([client.read(12), client.over])
      if (typeof answer === 'string') break
      const text = answer.toString('hex')
      if (text === granted) talking.push(client)
      else refusal = text
    }
    t.diagnostic(`${String(talking.length)} served, then ${refusal === '' ? 'closed' : refusal}`)
    assert.ok(talking.length > 10, String(talking.length))
    if (refusal !== '') assert.equal(refusal, '050005010001000000000000')
    for (const client of talking) await say(client, 'there')
    for (const client of talking.splice(0, 5)) {
      client.end()
      assert.equal(await client.over, 'end')
    }
    const again = await bench.client(port)
    await converse(again, echo.port)
  })
})

const granted = '050005000001000000000000'

function connectTo(port: number): Buffer {
  return Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255])
}

/** Asks for the echo and says a word. */
async function converse(client: Client, port: number): Promise<void> {
  client.send(connectTo(port))
  assert.equal((await client.read(12)).toString('hex'), granted)
  await say(client, 'hello')
}

async function say(client: Client, word: string): Promise<void> {
  client.send(word)
  assert.equal((await client.read(word.length)).toString(), word)
}

async function becomesAsync(isTrue: () => Promise<boolean>): Promise<boolean> {
  for (let round = 0; round < 1_000; round++) if (await isTrue()) return true
  return false
}
