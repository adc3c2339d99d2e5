import type { Scope } from '../../src/core/scope.ts'
import type { Link } from '../../src/core/link.ts'
import { parsePort } from '../../src/core/endpoint.ts'
import { dial } from '../../src/net/dial.ts'
import { listen } from '../../src/net/listen.ts'
import { network } from '../../src/net/network.ts'
import { memoryPair } from '../../src/testing/index.ts'
import { linkCompliance, type Pair } from './links.ts'
import { ToyLayer } from './toy-layer.ts'
import { ToyMux } from './toy-mux.ts'

linkCompliance({
  name: 'the pair in memory',
  ends: 'half',
  resets: 'plain',
  underWayMax: 100_000,
  make: root => {
    const [near, far] = memoryPair(root)
    return Promise.resolve({ near, far })
  },
})

linkCompliance({
  name: 'a TCP socket (portable plane)',
  ends: 'half',
  resets: 'plain',
  underWayMax: 40_000_000,
  make: socketPair,
})

linkCompliance({
  name: 'a toy layer that can be left',
  ends: 'half',
  resets: 'plain',
  underWayMax: 200_000,
  make: root => {
    const [near, far] = memoryPair(root)
    return Promise.resolve({ near: new ToyLayer(near).link, far: new ToyLayer(far).link })
  },
})

linkCompliance({
  name: 'a stream of a toy mux, whose end ends both directions',
  ends: 'both',
  resets: 'coded',
  underWayMax: 60_000,
  make: root => {
    const [a, b] = memoryPair(root)
    const near = new ToyMux(a)
    const far = new ToyMux(b)
    const pair: Pair = {
      near: near.open(1),
      far: far.open(1),
      tidy: async () => {
        await near.end()
        await far.end()
      },
    }
    return Promise.resolve(pair)
  },
})

async function socketPair(root: Scope): Promise<Pair> {
  const noNames = { resolve: () => Promise.reject(new Error('no names here')) }
  const net4 = network(noNames)
  const accepted = Promise.withResolvers<Link>()
  const where = { host: '127.0.0.1', port: parsePort(0) }
  const listener = await listen(net4, root, where, {
    onLink: accepted.resolve,
    onFault: accepted.reject,
  })
  const far = await dial(net4, root, listener.local, { connectTimeoutMs: 5_000 })
  const near = await accepted.promise
  await listener.stop()
  return { near, far }
}
