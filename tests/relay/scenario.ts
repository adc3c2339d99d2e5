import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { whyNoNamespaces } from '../support/namespace.ts'
import type { FlowRecord } from '../../src/index.ts'
import type { PeerConn, ReadResult } from '../support/peer.ts'
import type { SeenRecord } from '../support/tunnel.ts'

export interface Scenario {
  readonly id: string
  readonly name: string
  readonly area: string
}

const vectors: { readonly scenarios: readonly Scenario[] } = JSON.parse(
  readFileSync(new URL('../vectors/relay-scenarios.json', import.meta.url), 'utf8'),
)
/** The scenarios of the relay, R01 and on. */
export const scenarios: readonly Scenario[] = vectors.scenarios.filter(
  ({ area }) => area === 'relay',
)

export interface ScenarioOptions {
  /** Which of several ways to run it. */
  readonly variant?: string
  /** It makes network namespaces of its own, which takes root and two programs. */
  readonly namespaces?: boolean
}

const testTimeoutMs = 60_000

/** A test of the scenario with this number; its name is `R01 half-close then reply`. */
export function scenario(
  id: string,
  body: (t: TestContext) => Promise<void>,
  { variant, namespaces = false }: ScenarioOptions = {},
): void {
  const name = scenarios.find(known => known.id === id)?.name ?? 'is not on the list'
  const title = `${id} ${name}${variant === undefined ? '' : `, ${variant}`}`
  test(title, { timeout: testTimeoutMs }, async t => {
    const missing = whyNoPython() ?? (namespaces ? whyNoNamespaces() : null)
    if (missing === null) {
      await body(t)
      return
    }
    assert.notEqual(process.env['CI'], 'true', missing)
    t.skip(missing)
  })
}

let hasPython: boolean | undefined
function whyNoPython(): string | null {
  hasPython ??= spawnSync('python3', ['-c', '']).status === 0
  return hasPython ? null : 'no python3 here'
}

export interface Expected {
  readonly reason: FlowRecord['reason']
  /** Where several are right, any of them. */
  readonly side: FlowRecord['side']
  readonly call: FlowRecord['call'] | readonly FlowRecord['call'][]
  readonly system: string | null | readonly string[]
  readonly up?: number
  readonly down?: number
  readonly stage?: FlowRecord['stage']
}

/** How a flow ends in which nothing has failed. */
export const cleanly = { reason: 'clean', side: 'local', call: null, system: null } as const

/** Looks at a record as a whole; numbers stand for "read and written". */
export function checkRecord(record: SeenRecord, expected: Expected): void {
  const seen = `${JSON.stringify(record)}`
  assert.equal(record.reason, expected.reason, seen)
  assert.equal(record.side, expected.side, seen)
  assertOneOf(record.call, expected.call, seen)
  assertOneOf(record.system, expected.system, seen)
  assert.equal(record.stage, expected.stage ?? 'relaying', seen)
  assert.equal(record.network, 'tcp', seen)
  assert.equal(record.code === null, expected.reason === 'clean', seen)
  for (const [counted, size] of [
    [record.up, expected.up],
    [record.down, expected.down],
  ] as const) {
    checkCounted(counted, seen)
    if (size !== undefined) assert.deepEqual(counted, { read: size, written: size }, seen)
  }
  if (expected.reason === 'clean') {
    assert.deepEqual([record.upState, record.downState], ['ended', 'ended'], seen)
    assert.equal(record.up.read, record.up.written, seen)
    assert.equal(record.down.read, record.down.written, seen)
  }
}

function checkCounted({ read, written }: FlowRecord['up'], seen: string): void {
  assert.ok(read >= written && written >= 0, `nothing is written that was not read: ${seen}`)
}

function assertOneOf<T>(value: T, allowed: T | readonly T[], seen: string): void {
  const list = Array.isArray(allowed) ? allowed : [allowed]
  assert.ok(list.includes(value), `${String(value)} is one of ${list.join(', ')}: ${seen}`)
}

/** A read that got exactly so many bytes, in order, and then the true end. */
export function checkWhole(read: ReadResult, bytes: number): void {
  assert.equal(read.end, 'eof')
  assert.equal(read.bytes, bytes)
  assert.ok(read.isRight, 'every byte in its place')
}

/** A read that ended with a reset; gives how many bytes came before it. */
export function checkReset(read: ReadResult): number {
  assert.equal(read.end, 'ECONNRESET')
  assert.ok(read.isRight, 'every byte before it in its place')
  return read.bytes
}

/** Holds up the event loop, so that all that comes meanwhile is seen in one turn. */
export function holdLoop(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** `what` took at least `leastMs`, and not ten times as long as the specification allows. */
export function checkTook(tookMs: number, leastMs: number, statedMs: number, what: string): void {
  const text = `${what}: ${tookMs.toFixed(0)} ms`
  assert.ok(tookMs >= leastMs, `${text}, not before ${String(leastMs)}`)
  assert.ok(tookMs <= 10 * statedMs, `${text}, at most ten times ${String(statedMs)}`)
}

/** Ends what is still open at both ends of a flow. */
export async function closeAll(...conns: readonly PeerConn[]): Promise<void> {
  await Promise.all(conns.map(conn => conn.close()))
}
