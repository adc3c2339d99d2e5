import assert from 'node:assert/strict'
import { type FlowRecord, formatEndpoint } from '../../src/index.ts'

/** What a test says about a record; ends as `host:port`. */
export interface Expected {
  readonly inbound?: string
  readonly source?: string
  readonly user?: string | null
  readonly network?: 'tcp' | 'udp'
  readonly target?: string | null
  readonly outbound?: string | null
  readonly stage?: FlowRecord['stage']
  readonly reason?: FlowRecord['reason']
  readonly side?: FlowRecord['side']
  readonly call?: FlowRecord['call']
  readonly code?: FlowRecord['code']
  /** Bytes read and written, near to far. */
  readonly up?: number
  readonly down?: number
}

/** Each thing that `expected` names is so in the record. */
export function expectRecord(record: FlowRecord, expected: Expected): void {
  const { reason, side, call, code, stage, outbound, user, inbound, network } = record
  const all: Required<Expected> = {
    inbound,
    source: formatEndpoint(record.source),
    user,
    network,
    target: record.target === null ? null : formatEndpoint(record.target),
    outbound,
    stage,
    reason,
    side,
    call,
    code,
    up: record.up.written,
    down: record.down.written,
  }
  const keys = new Set(Object.keys(expected))
  const found = Object.fromEntries(Object.entries(all).filter(([key]) => keys.has(key)))
  assert.deepEqual(found, { ...expected }, `record ${JSON.stringify(record)}`)
  if (reason !== 'clean') return
  assert.equal(record.up.read, record.up.written, 'a clean flow has delivered all it read')
  assert.equal(record.down.read, record.down.written, 'a clean flow has delivered all it read')
}
