import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { asError, assert as sluiceAssert, coreError, errorArea, SluiceError } from './errors.ts'
import { reasonOf } from './flow-record.ts'

const toyError = errorArea('toy', {
  'bad-version': ['peer', 'this is not a toy'],
  away: ['network', 'the toy is away'],
} as const)

describe('an error', () => {
  it('has the code, the blame and the text of its row in the table of its area', () => {
    const error = toyError('bad-version', { detail: { version: 9, name: 'x' } })
    assert(error instanceof SluiceError)
    assert(error instanceof Error)
    assert.equal(error.code, 'toy.bad-version')
    assert.equal(error.blame, 'peer')
    assert.equal(error.message, 'this is not a toy (version 9, name x)')
    assert.deepEqual(error.detail, { version: 9, name: 'x' })
    assert.equal(error.name, 'SluiceError')
  })

  it('carries the call, the name that the system gave it, and its cause', () => {
    const cause = new Error('below')
    const error = toyError('away', { call: 'read', system: 'ECONNRESET', cause })
    assert.equal(error.message, 'the toy is away')
    assert.equal(error.call, 'read')
    assert.equal(error.system, 'ECONNRESET')
    assert.equal(error.cause, cause)
    const bare = toyError('away')
    assert.equal(bare.call, null)
    assert.equal(bare.system, null)
    assert.deepEqual(bare.detail, {})
    assert.equal(bare.cause, undefined)
  })

  it('is a bug of ours when its area does not know it', () => {
    const make = toyError as (what: string) => SluiceError
    assert.equal(make('no-such').code, 'core.bug')
    assert.equal(make('no-such').blame, 'bug')
  })

  it('stays as it is when it is one, and keeps anything else as its cause', () => {
    const known = toyError('away')
    assert.equal(asError(known), known)
    const thrown = new TypeError('x is not a function')
    const wrapped = asError(thrown)
    assert.equal(wrapped.code, 'core.unknown')
    assert.equal(wrapped.blame, 'bug')
    assert.equal(wrapped.cause, thrown)
    assert.match(wrapped.message, /x is not a function/)
    for (const odd of [undefined, null, 'text with a secret', 7]) {
      const error = asError(odd)
      assert.equal(error.code, 'core.unknown')
      assert.equal(error.cause, odd)
      assert(!error.message.includes('secret'), 'what it says may be a secret')
    }
  })

  it('is thrown by an invariant that does not hold, as a bug', () => {
    sluiceAssert(true, 'holds')
    assert.throws(
      () => {
        sluiceAssert(false, 'one and one are two')
      },
      { code: 'core.bug', blame: 'bug', message: 'one and one are two' },
    )
  })
})

describe('the reason that an error stands for', () => {
  it('is read from what the system said, else from who is to blame', () => {
    const of = (
      context: ConstructorParameters<typeof SluiceError>[3],
      blame = 'network' as const,
    ) => reasonOf(new SluiceError('test.x', blame, 'x', context))
    assert.equal(of({ system: 'ECONNRESET', call: 'read' }), 'reset')
    assert.equal(of({ system: 'EPIPE', call: 'write' }), 'reset')
    assert.equal(of({ system: 'ETIMEDOUT', call: 'connect' }), 'connect-timeout')
    assert.equal(of({ system: 'ETIMEDOUT', call: 'read' }), 'keepalive')
    assert.equal(of({ system: 'ECONNREFUSED', call: 'connect' }), 'refused')
    assert.equal(of({}), 'error')
    assert.equal(reasonOf(new SluiceError('test.x', 'stopped', 'x')), 'stopped')
    assert.equal(reasonOf(new SluiceError('test.x', 'refused', 'x')), 'refused')
    assert.equal(reasonOf(coreError('busy')), 'error')
  })
})
