import assert from 'node:assert/strict'
import net from 'node:net'
import { it } from 'node:test'
import { SystemClock } from '../core/clock.ts'
import { parsePort } from '../core/endpoint.ts'
import { SluiceError } from '../core/errors.ts'
import { failed, Program, Scope } from '../core/scope.ts'
import { dial, interleave } from './dial.ts'
import { network } from './network.ts'

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

it('leaves no connection behind when its owner ends in the very turn of the connect', async () => {
  const server = net.createServer()
  const accepted = new Promise<net.Socket>(resolve => {
    server.once('connection', resolve)
  })
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  assert(typeof address === 'object' && address !== null)
  const root = Scope.root(new Program(new SystemClock()), 'dial')
  const why = new SluiceError('test.late', 'stopped', 'too late')
  // The last thing a dial does before it gives its socket away.
  const { setNoDelay } = net.Socket.prototype
  net.Socket.prototype.setNoDelay = function (this: net.Socket, isOn?: boolean) {
    queueMicrotask(() => {
      void root.end(failed(why))
    })
    return setNoDelay.call(this, isOn)
  }
  try {
    const nobody = { resolve: () => Promise.reject(new Error('no names here')) }
    const target = { host: '127.0.0.1', port: parsePort(address.port) }
    await assert.rejects(dial(network(nobody), root, target, { connectTimeoutMs: 5_000 }))
  } finally {
    net.Socket.prototype.setNoDelay = setNoDelay
  }
  const peer = await accepted
  peer.resume()
  await new Promise(resolve => {
    peer.once('close', resolve)
  })
  server.close()
})
