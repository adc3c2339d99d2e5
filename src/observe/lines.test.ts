import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parsePort } from '../core/endpoint.ts'
import { SluiceError } from '../core/errors.ts'
import type { FlowRecord } from './events.ts'
import { accessFields, accessLine, eventLine, formatBytes, formatDuration } from './lines.ts'

const record: FlowRecord = {
  id: 17,
  inbound: 'mixed',
  source: { host: '127.0.0.1', port: parsePort(5_123) },
  user: 'ann',
  network: 'tcp',
  target: { host: 'example.com', port: parsePort(443) },
  outbound: 'direct',
  stage: 'relaying',
  startedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  durationMs: 1_250,
  reason: 'clean',
  side: 'local',
  call: null,
  code: null,
  system: null,
  why: null,
  up: { read: 1_200, written: 1_200 },
  down: { read: 3_400_000, written: 3_400_000 },
  upState: 'ended',
  downState: 'ended',
  laterFaults: 0,
}

const reset: FlowRecord = {
  ...record,
  reason: 'reset',
  side: 'far',
  call: 'read',
  system: 'ECONNRESET',
  code: 'net.reset',
  why: new SluiceError('net.reset', 'network', 'the connection was reset'),
}

describe('an access line', () => {
  it('tells the whole life of a flow', () => {
    assert.equal(
      accessLine(record),
      '03:04:06.250 #17 mixed ann  127.0.0.1:5123 -> tcp:example.com:443 via direct  up 1.2 kB down 3.4 MB in 1.3 s  clean',
    )
  })

  it('names the side, the call and the reason of the first failure', () => {
    assert.match(
      accessLine(reset),
      / {2}reset by far side in read ECONNRESET: the connection was reset$/,
    )
    assert.match(accessLine({ ...reset, stage: 'dialing' }), / ECONNRESET while dialing: /)
  })

  it('cannot be forged by what a client chose', () => {
    const target = { host: 'a\r\n03:04 #18', port: parsePort(1) }
    const line = accessLine({ ...record, user: 'x\u001b[2Jy', target })
    assert.equal(/\p{Cc}/u.test(line), false)
  })

  it('has the same facts as fields for programs', () => {
    const fields = accessFields(reset)
    assert.equal(fields['target'], 'example.com:443')
    assert.equal(fields['message'], 'the connection was reset')
    assert.equal(JSON.parse(JSON.stringify(fields)).reason, 'reset')
  })
})

describe('numbers for people', () => {
  it('shows bytes in powers of ten, and never 1000.0 of a unit', () => {
    const shown = [0, 999, 1_000, 999_949, 999_950, 16_777_216, 5e15].map(formatBytes)
    assert.deepEqual(shown, ['0 B', '999 B', '1.0 kB', '999.9 kB', '1.0 MB', '16.8 MB', '5.0 PB'])
  })

  it('shows durations in the two largest units', () => {
    const shown = [0, 999, 1_000, 59_999, 60_000, 303_000, 7_500_000].map(formatDuration)
    assert.deepEqual(shown, [
      '0 ms',
      '999 ms',
      '1.0 s',
      '60.0 s',
      '1 min 0 s',
      '5 min 3 s',
      '2 h 5 min',
    ])
  })
})

describe('other events', () => {
  it('end with the number of connections and what is left', () => {
    const line = eventLine({ kind: 'stopped', flows: 3, durationMs: 65_000, left: 0 })
    assert.equal(line, 'closed 3 connections in 1 min 5 s, 0 left')
  })

  it('say nothing of a drain without connections', () => {
    assert.equal(eventLine({ kind: 'draining', flows: 0, graceMs: 10_000 }), null)
    assert.equal(
      eventLine({ kind: 'draining', flows: 2, graceMs: 10_000 }),
      'stopping: 2 connections have 10.0 s to end',
    )
  })
})
