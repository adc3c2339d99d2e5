import assert from 'node:assert/strict'
import { it } from 'node:test'
import { interleave } from './dial.ts'

it('takes the families of a name in turn, beginning with the preferred one', () => {
  assert.deepEqual(interleave(['2001:db8::1', '2001:db8::2', '192.0.2.1']), [
    '2001:db8::1',
    '192.0.2.1',
    '2001:db8::2',
  ])
  assert.deepEqual(interleave(['192.0.2.1', '2001:db8::1', '2001:db8::2']), [
    '192.0.2.1',
    '2001:db8::1',
    '2001:db8::2',
  ])
  assert.deepEqual(interleave(['192.0.2.1']), ['192.0.2.1'])
  assert.deepEqual(interleave([]), [])
})
